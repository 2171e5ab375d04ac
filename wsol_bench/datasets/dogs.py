"""Stanford Dogs as unpacked from its archives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.datasets.listed import Corners, Listing
from wsol_bench.datasets.matlab import read_variable
from wsol_bench.datasets.official import OfficialDataset
from wsol_bench.datasets.voc_xml import read_voc
from wsol_bench.errors import DataError


class Dogs(OfficialDataset):
    """Stanford Dogs; a tenth of each training class (10 of 100 images) is held out as val.

    Boxes come from the VOC files under ``Annotation``, several per image where there are several dogs, clipped to the
    image. The photographs are ImageNet's: a backbone trained there has seen them.

    Args:
        root: the folder that holds ``Images``, ``Annotation`` and the unpacked ``lists.tar``.
        metadata: four-file metadata, where somebody made any.
        frame: side in pixels of the square in which maps are scored.
    """

    name = "dogs"
    metadata_name = "Dogs"
    layout = "Images/<class>/*.jpg, Annotation/<class>/*, train_list.mat, test_list.mat"
    places = tuple(("", prefix) for prefix in ("Images/", "images/Images/", ""))

    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        lists = self._first_file("train_list.mat", "lists/train_list.mat")
        if lists is None:
            return {}, None
        annotations = self._first_dir("Annotation", "annotation/Annotation", "annotations/Annotation")
        self._annotation = annotations or self.root / "Annotation"
        firewall.protect_folder(self._annotation)
        names: dict[int, str] = {}
        labels = {split: _read_list(lists.with_name(f"{split}_list.mat"), names) for split in ("train", "test")}
        listings = self._train_and_val(labels["train"], wanted) | {"test": Listing.of(labels["test"])}
        return listings, [names.get(label, f"class {label}") for label in range(max(names) + 1)]

    def _archive_annotated(self, split: str) -> bool:
        return self._annotation.is_dir()

    def _archive_boxes(self, split: str) -> Mapping[str, Sequence[Corners]]:
        return {
            image_id: read_voc(self._annotation / image_id.rpartition(".")[0]).boxes
            for image_id in self.split(split).ids
        }


def _read_list(path: Path, names: dict[int, str]) -> dict[str, int]:
    """Reads ids and labels of one list, and adds class names to ``names``."""
    files, numbers = read_variable(path, "file_list"), read_variable(path, "labels")
    if files.shape != numbers.shape:
        raise DataError(f"Expected one label per file but got {len(files)} files and {len(numbers)} labels.", path)
    labels: dict[str, int] = {}
    for file, label in zip(map(str, files), (int(value) - 1 for value in numbers), strict=True):
        folder, _, name = file.partition("/")
        problem = id_problem(file) or ("it occurs twice" if file in labels else None)
        if problem is not None or not name or label < 0:
            raise DataError(
                f"Expected '<class>/<image>.jpg' with a label from 1 on but got '{file}' ({problem}).", path
            )
        labels[file] = label
        names[label] = folder.partition("-")[2].replace("_", " ") or folder
    return labels
