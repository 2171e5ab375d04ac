"""CUB-200-2011 as unpacked from its archive, with CUBV2 as validation set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.datasets.listed import Corners, Listing
from wsol_bench.datasets.official import OfficialDataset, is_photograph
from wsol_bench.datasets.text_lines import number, read_fields, read_pairs
from wsol_bench.errors import DataError

_BOX_FORM = "image_number x y width height"
_FOLDERS = ("CUB_200_2011/images", "images", "CUB", "CUBV2", "CUBV2/CUBV2", "CUBV2/images", ".")


class Cub(OfficialDataset):
    """CUB-200-2011: train and test of the official archive, CUBV2 (1,000 other photographs) as val.

    Official boxes are ``x, y, width, height``; here they are ``x, y, x + width, y + height``, clipped to the image, as
    in the metadata of Choe et al. (2020). CUBV2 is found in class folders of its own, or mixed into those of CUB; its
    boxes are in the metadata folder ``CUB/val`` only.

    Args:
        root: the folder that holds ``CUB_200_2011`` (or is it), and ``CUBV2`` where there is one.
        metadata: the field's metadata, ``.../CUB``.
        frame: side in pixels of the square in which maps are scored.
    """

    name = "cub"
    metadata_name = "CUB"
    layout = (
        "CUB_200_2011/{images.txt, train_test_split.txt, image_class_labels.txt, classes.txt, bounding_boxes.txt, "
        "images/}, CUBV2/"
    )
    places = tuple(
        ("", prefix) for prefix in ("CUB_200_2011/images/", "images/", "CUB/", "CUBV2/", "CUBV2/images/", "")
    )

    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        index = self._first_file("CUB_200_2011/images.txt", "images.txt")
        if index is None:
            return {}, None
        self._archive = index.parent
        firewall.protect(self._archive / "bounding_boxes.txt")
        names = read_pairs(self._archive / "classes.txt", "class_number class_name")
        label_of = {number: label for label, number in enumerate(names)}
        files = self._files()
        classes = read_pairs(self._archive / "image_class_labels.txt", "image_number class_number")
        in_train = read_pairs(self._archive / "train_test_split.txt", "image_number is_training_image")
        labels: dict[str, dict[str, int]] = {"train": {}, "test": {}}
        for image, image_id in files.items():
            if classes.get(image) not in label_of or in_train.get(image) not in ("0", "1"):
                raise DataError(
                    f"Expected class and split of image {image} ('{image_id}') but got class '{classes.get(image)}' "
                    f"and is_training_image '{in_train.get(image)}'; fix: unpack CUB_200_2011.tgz again.",
                    self._archive,
                )
            labels["train" if in_train[image] == "1" else "test"][image_id] = label_of[classes[image]]
        listings = {split: Listing.of(labels[split]) for split in labels if labels[split]}
        if "val" in wanted:
            val = self._photographs_of_cubv2({name: label_of[key] for key, name in names.items()}, set(files.values()))
            listings |= {"val": Listing.of(val)} if val else {}
        return listings, [name.partition(".")[2].replace("_", " ") or name for name in names.values()]

    def _files(self) -> dict[str, str]:
        path = self._archive / "images.txt"
        files = read_pairs(path, "image_number image_name")
        for line, image_id in enumerate(files.values(), 1):
            problem = id_problem(image_id)
            if problem is not None:
                raise DataError(f"Expected a path under images/ but got '{image_id}': {problem}.", path, line)
        return files

    def _photographs_of_cubv2(self, label_of: Mapping[str, int], official: set[str]) -> dict[str, int]:
        """Lists files in class folders that ``images.txt`` does not name."""
        for _, prefix in self.places:
            found = {}
            for name, label in label_of.items():
                folder = self.root / prefix / name
                for file in sorted(folder.iterdir()) if folder.is_dir() else ():
                    if is_photograph(file.name) and f"{name}/{file.name}" not in official:
                        found[f"{name}/{file.name}"] = label
            if found:
                return found
        return {}

    def _archive_annotated(self, split: str) -> bool:
        return split != "val"

    def _archive_boxes(self, split: str) -> Mapping[str, Sequence[Corners]]:
        path: Path = self._archive / "bounding_boxes.txt"
        files = self._files()
        boxes: dict[str, list[Corners]] = {}
        for line, (image, *fields) in enumerate(read_fields(path, _BOX_FORM), 1):
            if image not in files:
                raise DataError(f"Expected an image number of images.txt but got '{image}'.", path, line)
            x, y, width, height = (number(text, f"a field of '{_BOX_FORM}'", path) for text in fields)
            boxes.setdefault(files[image], []).append((x, y, x + width, y + height))
        return boxes

    def _absent(self, split: str) -> str:
        if split != "val":
            return super()._absent(split)
        return (
            "Expected the split 'val' (CUBV2) but no photograph of it is here; fix: unpack CUBV2.tar into CUBV2/ under "
            "--root, or into the class folders of CUB, and give the field's metadata with --metadata for its boxes."
        )
