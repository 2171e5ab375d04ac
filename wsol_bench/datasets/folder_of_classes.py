"""A plain folder with one folder of images per class, and nothing else."""

from __future__ import annotations

from pathlib import Path

from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.datasets.hold_out import hold_out_tenth
from wsol_bench.datasets.listed import Listing
from wsol_bench.datasets.unannotated import IMAGE_SUFFIXES, UnannotatedDataset, split_by_digest
from wsol_bench.errors import DataError

_SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


class FolderOfClasses(UnannotatedDataset):
    """A folder per class, or ``train``, ``val`` and ``test`` with a folder per class; no boxes.

    Class names are folder names; labels their ranks. Images may lie deeper. Without split folders the images of each
    class are shared out (``val``, ``test``, the rest is train), by the SHA-256 of their path; with ``train`` but no
    ``val``, a tenth of each class of train becomes val.

    Args:
        root: the folder.
        name: what results call this dataset.
        frame: side in pixels of the square in which maps are drawn.
        val: share of each class for val, where there are no split folders.
        test: share of each class for test; 0 for no test.
        exif: ``apply`` turns images as their EXIF orientation says.

    Raises:
        DataError: there is no class folder, or a class has no image.
    """

    name = "folder-of-classes"

    def __init__(
        self,
        root: Path,
        *,
        name: str = "folder-of-classes",
        frame: int = 224,
        val: float = 0.1,
        test: float = 0.1,
        exif: str = "ignore",
    ) -> None:
        self._call(name)
        self._turn(exif)
        self._at(root)
        self._left_out: list[str] = []
        tops = {split: self._first(names) for split, names in _SPLIT_FOLDERS.items()}
        if tops["train"] is None:
            names, labels = self._read(self.root, None)
            listings = split_by_digest(labels, val, test)
        else:
            names = sorted({folder.name for top in tops.values() if top is not None for folder in _folders(top)})
            parts = {split: self._read(top, names)[1] for split, top in tops.items() if top is not None}
            if "val" not in parts:
                parts["train"], parts["val"] = hold_out_tenth(parts["train"])
            listings = {split: Listing.of(parts[split]) for split in ("train", "val", "test") if parts.get(split)}
        self._list(self.root, listings, names, frame=frame)
        if self._left_out:
            self.notes = (f"{len(self._left_out)} files are no images by their name, first {self._left_out[0]}",)

    def _first(self, names: tuple[str, ...]) -> Path | None:
        return next((self.root / name for name in names if (self.root / name).is_dir()), None)

    def _read(self, top: Path, names: list[str] | None) -> tuple[list[str], dict[str, int]]:
        """Returns class names and ``{id: label}`` of the images below ``top``."""
        folders = _folders(top)
        if not folders:
            raise DataError("Expected a folder of images for each class but there is no folder here.", top)
        names = [folder.name for folder in folders] if names is None else names
        labels: dict[str, int] = {}
        for folder in folders:
            before = len(labels)
            for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."):
                image_id = file.relative_to(self.root).as_posix()
                if file.suffix.lower() not in IMAGE_SUFFIXES:
                    self._left_out.append(image_id)
                    continue
                problem = id_problem(image_id)
                if problem is not None:
                    raise DataError(f"Expected a plain file name but {problem}; fix: rename the file.", file)
                labels[image_id] = names.index(folder.name)
            if len(labels) == before:
                raise DataError("Expected images of a class in this folder but there is none; fix: remove it.", folder)
        return names, labels


def _folders(top: Path) -> list[Path]:
    return sorted(path for path in top.iterdir() if path.is_dir() and path.name[0] != ".")
