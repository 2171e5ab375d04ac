"""A table of images and labels, and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path

from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.annotations.metadata_lines import MetadataLines
from wsol_bench.datasets.base import SPLITS
from wsol_bench.datasets.listed import Listing
from wsol_bench.datasets.unannotated import UnannotatedDataset, split_by_digest
from wsol_bench.errors import DataError

_COLUMNS = {
    "image": ("image", "file", "filename", "file_name", "path", "image_id"),
    "label": ("label", "class", "category", "class_name"),
    "split": ("split", "set", "subset"),
}


class CsvLabels(UnannotatedDataset):
    """A CSV file with the columns ``image``, ``label`` and, if you like, ``split``; no boxes.

    Labels are names; their ranks are the class indices (whole numbers are ranked as numbers). Without a column
    ``split`` the images of each class are shared out as :class:`FolderOfClasses` does. Commas, semicolons and tabs
    separate; the header tells which.

    Args:
        root: images are paths under this folder.
        file: the table; ``labels.csv`` under the root when not given.
        name: what results call this dataset.
        frame: side in pixels of the square in which maps are drawn.
        val: share of each class for val, where there is no column ``split``.
        test: share of each class for test; 0 for no test.
        exif: ``apply`` turns images as their EXIF orientation says.

    Raises:
        DataError: the table is missing or malformed; names the line.
    """

    name = "csv"

    def __init__(
        self,
        root: Path,
        *,
        file: str = "labels.csv",
        name: str = "csv",
        frame: int = 224,
        val: float = 0.1,
        test: float = 0.1,
        exif: str = "ignore",
    ) -> None:
        self._call(name)
        self._turn(exif)
        self._at(root)
        inside = self.root / file
        path = inside if inside.is_file() else Path(file).expanduser()
        if not path.is_file():
            raise DataError(
                f"Expected a table of images and labels but it does not exist; fix: {self.name}:file=...", inside
            )
        rows = _read(path)
        names = sorted({label for _, label, _ in rows}, key=_rank)
        labels = {image: names.index(label) for image, label, _ in rows}
        if rows[0][2] is None:
            listings = split_by_digest(labels, val, test)
        else:
            listings = {
                split: Listing.of({image: labels[image] for image, _, own in rows if own == split})
                for split in SPLITS
                if any(own == split for _, _, own in rows)
            }
        self._list(path, listings, names, frame=frame)


def _rank(label: str) -> tuple[int, str]:
    return (int(label), "") if label.isdecimal() else (1 << 62, label)


def _read(path: Path) -> list[tuple[str, str, str | None]]:
    """Returns image, label and split (None without that column) of every line."""
    lines = MetadataLines.read(path)
    header = lines.rows[0] if len(lines) else ""
    delimiter = max(",;\t", key=header.count)
    cells = [[cell.strip() for cell in row] for row in csv.reader(lines.rows, delimiter=delimiter)]
    columns = [name.casefold() for name in cells[0]] if cells else []
    place = {
        key: next((columns.index(name) for name in known if name in columns), None) for key, known in _COLUMNS.items()
    }
    image_at, label_at, split_at = place["image"], place["label"], place["split"]
    if image_at is None or label_at is None:
        raise DataError(f"Expected a header with the columns image and label but got '{header}'.", path, 1)
    if len(cells) < 2:
        raise DataError("Expected lines below the header but there is none.", path)
    seen: set[str] = set()
    found: list[tuple[str, str, str | None]] = []
    for row, fields in enumerate(cells[1:], 1):
        if len(fields) != len(columns) or not fields[label_at]:
            lines.fail(row, f"Expected '{header}' but got '{lines.rows[row]}'.")
        image, split = fields[image_at], None if split_at is None else fields[split_at].lower()
        problem = id_problem(image) or ("it is listed twice" if image in seen else None)
        if problem is not None:
            lines.fail(row, f"Expected the path of an image under --root but got '{image}': {problem}.")
        if split is not None and split not in SPLITS:
            lines.fail(row, f"Expected a split of ({', '.join(SPLITS)}) but got '{split}'.")
        seen.add(image)
        found.append((image, fields[label_at], split))
    return found
