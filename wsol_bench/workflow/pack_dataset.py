"""Packs the images of a dataset: decoded and squashed once, for all sweeps of a workspace."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from wsol_bench.datasets.base import SPLITS, Dataset
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.datasets.packed import PackedSplit, is_packed, pack, packed_bytes
from wsol_bench.errors import DataError, WorkspaceError
from wsol_bench.training.batches import training_side
from wsol_bench.training.parallel import main_first
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.workspace import Workspace

Row = dict[str, Any]


def pack_split(
    dataset: Dataset, split: str, workspace: Workspace, on_bad_image: OnBadImage, screen: Screen
) -> PackedSplit:
    """Packs one split as training wants it, once per workspace; of several processes, the first one does."""
    side = _side(dataset, split)
    with main_first(), screen.bar(f"packing {split} of {dataset.name} at {side} px") as progress:
        return pack(dataset, split, side, cache_dir=workspace.packed, on_bad_image=on_bad_image, progress=progress)


def pack_dataset(
    dataset: Dataset, workspace: Workspace, *, on_bad_image: OnBadImage = "error", screen: Screen
) -> list[Row]:
    """Packs all splits that the dataset has here.

    Args:
        dataset: images and labels.
        workspace: where the packed images are written.
        on_bad_image: ``error`` or ``skip``.
        screen: progress.

    Returns:
        One row per split: ``split``; ``side`` in pixels; ``images``; ``skipped`` images that could not be decoded;
        ``megabytes`` (10^6 bytes); ``seconds``, with the check of what was there; ``made``, whether it was not there
        before.

    Raises:
        DataError: an image cannot be decoded (``error``), or none can (``skip``).
        WorkspaceError: the disk has no room for what is missing.
    """
    splits = [split for split in SPLITS if _is_there(dataset, split)]
    missing = [split for split in splits if not is_packed(dataset, split, _side(dataset, split), workspace.packed)]
    _check_room(workspace.packed, sum(packed_bytes(dataset, split, _side(dataset, split)) for split in missing))
    rows = []
    for split in splits:
        started = time.perf_counter()
        packed = pack_split(dataset, split, workspace, on_bad_image, screen)
        rows.append(
            {
                "split": split,
                "side": packed.images.shape[1],
                "images": len(packed),
                "skipped": len(packed.skipped),
                "megabytes": packed.images.nbytes / 1e6,
                "seconds": time.perf_counter() - started,
                "made": split in missing,
            }
        )
    return rows


def _is_there(dataset: Dataset, split: str) -> bool:
    try:
        dataset.split(split)
    except DataError:
        return False
    return True


def _side(dataset: Dataset, split: str) -> int:
    return training_side(dataset.frame) if split == "train" else dataset.frame


def _check_room(folder: Path, needed: int) -> None:
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise WorkspaceError(
            f"Expected {needed / 1e9:.1f} GB of room for packed images but the disk of {folder} has "
            f"{free / 1e9:.1f} GB left; fix: free some, or choose another --workspace."
        )
