"""Base of the histology datasets, whose shared metadata are folds with two validation sets each."""

from __future__ import annotations

from pathlib import Path

from wsol_bench.datasets.official import FRAME, OfficialDataset
from wsol_bench.errors import unknown_choice

_VALS = ("valcl", "valpx")


class FoldDataset(OfficialDataset):
    """A dataset with masks and folds ``train``, ``valcl``, ``valpx``, ``test``.

    Args:
        root: the folder under which the files lie.
        metadata: one fold.
        frame: side in pixels of the square in which maps are scored.
        val: which part of a fold is val: ``valcl`` (class labels) or ``valpx`` (the few images whose masks may select).

    Raises:
        UsageError: ``val`` is neither.
    """

    masks = True

    def __init__(self, root: Path, metadata: Path | None = None, *, frame: int = FRAME, val: str = _VALS[0]) -> None:
        if val not in _VALS:
            raise unknown_choice(f"{self.name}:val", val, _VALS)
        self.split_folders = {"train": ("train",), "val": (val, "val"), "test": ("test",)}
        super().__init__(root, metadata, frame=frame)
