"""Patches of CAMELYON16, described by the split files of the field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.datasets.folds import FoldDataset
from wsol_bench.datasets.listed import Listing
from wsol_bench.datasets.official import FRAME
from wsol_bench.errors import DataError

_CLASSES = ("normal", "tumor")


class Camelyon16(FoldDataset):
    """CAMELYON16, 512 x 512 patches with or without metastases, masks of the tumour.

    There is no official archive of patches: they are cut from the slides, and only the split files know which patch
    belongs where, so the metadata folder is needed. A patch whose line names no mask is background everywhere.

    Args:
        root: the folder that holds ``camelyon16/w-512xh-512`` or ``w-512xh-512``.
        metadata: split files of the field, ``.../CAMELYON512/fold-0``.
        frame: side in pixels of the square in which maps are scored.
        val: which part of a fold is val: ``valcl`` (class labels) or ``valpx`` (the few images whose masks may select).

    Raises:
        UsageError: ``val`` is neither.
    """

    name = "camelyon16"
    metadata_name = "CAMELYON512"
    background_classes = (_CLASSES.index("normal"),)
    layout = "camelyon16/w-512xh-512/{metastatic-patches, normal-patches}/, and split files with --metadata"
    places = (("", ""), ("camelyon16/", ""), ("", "camelyon16/"))

    def __init__(self, root: Path, metadata: Path | None = None, *, frame: int = FRAME, val: str = "valcl") -> None:
        super().__init__(root, metadata, frame=frame, val=val)
        # The mask of a tumour patch lies beside it under this name; which patches have one is written in the file
        # that only the judge opens.
        for name, split in self._splits.items():
            for image_id in split.ids:
                mask = image_id.replace("/Patch_", "/mask_")
                if mask != image_id:
                    firewall.protect(self.root / self._relative(name, mask))

    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        if len(wanted) == 3:
            raise DataError(
                "Expected the split files of the patches, because their folders do not tell train from val; fix: give "
                "the folder of a fold (.../CAMELYON512/fold-0) with --metadata.",
                self.root,
            )
        return {}, _CLASSES
