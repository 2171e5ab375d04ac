"""GLaS (Warwick-QU) as unpacked from its archive."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.annotations.masks import MaskTable
from wsol_bench.annotations.metadata_lines import MetadataLines
from wsol_bench.datasets.folds import FoldDataset
from wsol_bench.datasets.listed import Listing
from wsol_bench.datasets.official import FRAME
from wsol_bench.errors import DataError

_OFFICIAL = "Warwick QU Dataset (Released 2016_07_08)/"
_FIELD = "Warwick_QU_Dataset_(Released_2016_07_08)/"
_CLASSES = ("benign", "malignant")


class Glas(FoldDataset):
    """GLaS: benign and malignant colon glands, masks of all glands.

    Train is the official training part, test its parts A and B. Without fold files, a tenth of each training class is
    held out as val; with them (``folds/.../GLAS/fold-0``), splits are those of the fold. Mask values are gland numbers:
    anything above 0 is gland, in both classes.

    Args:
        root: the folder that holds the official folder, with spaces or underscores in its name, or is it.
        metadata: a fold of the field, ``.../GLAS/fold-0``.
        frame: side in pixels of the square in which maps are scored.
        val: which part of a fold is val: ``valcl`` (class labels) or ``valpx`` (the few images whose masks may select).

    Raises:
        UsageError: ``val`` is neither.
    """

    name = "glas"
    metadata_name = "GLAS"
    layout = f"{_OFFICIAL}{{Grade.csv, train_*.bmp, testA_*.bmp, testB_*.bmp, *_anno.bmp}}"
    places = ((_FIELD, _OFFICIAL), (_FIELD, _FIELD), (_FIELD, ""))

    def __init__(self, root: Path, metadata: Path | None = None, *, frame: int = FRAME, val: str = "valcl") -> None:
        super().__init__(root, metadata, frame=frame, val=val)
        for split in self._splits:
            for image_id in self.split(split).ids:
                firewall.protect(self.root / self._relative(split, _mask_of(image_id)))

    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        path = self._first_file(f"{_OFFICIAL}Grade.csv", f"{_FIELD}Grade.csv", "Grade.csv")
        if path is None:
            return {}, _CLASSES
        train: dict[str, int] = {}
        test: dict[str, int] = {}
        for image, label in _grades(path).items():
            (train if image.startswith("train_") else test)[f"{_FIELD}{image}.bmp"] = label
        return self._train_and_val(train, wanted) | ({"test": Listing.of(test)} if test else {}), _CLASSES

    def _archive_masks(self, split: str) -> MaskTable:
        ids = self.split(split).ids
        masks = [[self._relative(split, _mask_of(image_id))] for image_id in ids]
        return MaskTable.from_lists(ids, masks, ("",) * len(ids))


def _mask_of(image_id: str) -> str:
    return image_id.removesuffix(".bmp") + "_anno.bmp"


def _grades(path: Path) -> dict[str, int]:
    """Reads ``{image: label}`` from ``Grade.csv``; names and values carry blanks."""
    lines = MetadataLines.read(path)
    rows = [[field.strip() for field in row] for row in csv.reader(lines.rows)]
    header = rows[0] if rows else []
    if "name" not in header or "grade (GlaS)" not in header:
        raise DataError(f"Expected the columns 'name' and 'grade (GlaS)' but got {header}.", path, 1)
    name, grade = header.index("name"), header.index("grade (GlaS)")
    labels: dict[str, int] = {}
    for row, fields in enumerate(rows[1:], 1):
        if len(fields) <= max(name, grade) or fields[grade] not in _CLASSES:
            lines.fail(row, f"Expected an image with the grade benign or malignant but got '{lines.rows[row]}'.")
        problem = id_problem(fields[name]) or ("it occurs twice" if fields[name] in labels else None)
        if problem is not None:
            lines.fail(row, f"Expected the name of an image but got '{fields[name]}': {problem}.")
        labels[fields[name]] = _CLASSES.index(fields[grade])
    return labels
