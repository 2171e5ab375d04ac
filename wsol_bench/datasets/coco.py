"""Anybody's images with annotations in COCO's JSON format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.masks import MaskSet
from wsol_bench.datasets.base import SPLITS
from wsol_bench.datasets.card import Card
from wsol_bench.datasets.coco_file import CocoFile, CocoImage, CocoObject, read_coco
from wsol_bench.datasets.coco_masks import CocoMasks
from wsol_bench.datasets.listed import Corners, ListedDataset, Listing
from wsol_bench.errors import DataError, UsageError, unknown_choice

_SEVERAL = ("error", "largest", "drop")


class Coco(ListedDataset):
    """Any images with annotation files in COCO's format: ``train.json``, ``val.json``, ``test.json``.

    Localization needs one class per image. It is ``category_id`` of the image where the file labels images, else the
    category of its annotations. An image with annotations of several categories is an error, unless ``several`` says
    what to do; one without any is left out. Only annotations of the image's class are its ground truth.

    Boxes are the pixels they touch: ``[10, 20, 5, 5]`` is 10..14, 20..24. Boxes of crowds are no ground truth; boxes
    without area are left out, boxes that reach outside are clipped, and ``notes`` count both.

    Args:
        root: image files are under it: ``file_name`` itself, or in ``images``, in a folder of the split's name, or in
            one of the annotation file's (``train2017`` for ``instances_train2017.json``).
        metadata: folder of the annotation files; ``<root>/annotations`` or ``root`` when not given.
        name: what results call this dataset.
        frame: side in pixels of the square in which maps are scored.
        masks: score segmentations (polygons, RLE), not boxes; crowd regions are ignored.
        several: an image with annotations of several categories is an ``error``, takes the category of the ``largest``
            total box area, or is left out (``drop``).
        exif: ``apply`` turns images as their EXIF orientation says, for boxes drawn on the turned image.

    Raises:
        DataError: no annotation file is there, or one is malformed.
        UsageError: an option is unknown.
    """

    name = "coco"

    def __init__(
        self,
        root: Path,
        metadata: Path | None = None,
        *,
        name: str = "coco",
        frame: int = 224,
        masks: bool = False,
        several: str = "error",
        exif: str = "ignore",
    ) -> None:
        if several not in _SEVERAL:
            raise unknown_choice("coco:several", several, _SEVERAL)
        self._call(name)
        self._turn(exif)
        self.root = Path(root)
        self._masks = masks
        self._several = several
        if not self.root.is_dir():
            raise DataError("Expected the folder of the images but it does not exist; fix: check --root.", self.root)
        self._files = _annotation_files([Path(metadata)] if metadata else [self.root / "annotations", self.root])
        read = {split: read_coco(path) for split, path in self._files.items()}
        categories = _same_categories(list(read.values()))
        self._prefix = {split: self._find(split, file) for split, file in read.items()}
        notes: list[str] = []
        chosen = {split: self._labels(split, file, notes) for split, file in read.items()}
        used = sorted({category for of_split in chosen.values() for category in of_split.values()})
        if len(used) < len(categories):
            unused = [categories[number] for number in sorted(categories) if number not in used]
            notes.append(f"{len(unused)} categories label no image and are no classes here, first {unused[0]}")
        listings = {}
        for split, of_split in chosen.items():
            sizes = {image.number: (image.width, image.height) for image in read[split].images}
            by_number = {image.number: self._id(split, image) for image in read[split].images}
            listings[split] = Listing(
                tuple(by_number[number] for number in of_split),
                np.array([used.index(category) for category in of_split.values()], dtype=np.int64),
                np.array([sizes[number] for number in of_split], dtype=np.int32).reshape(-1, 2),
            )
        self._annotated = {
            split: any(self._truth(file, number, of_split[number]) for number in of_split)
            for (split, of_split), file in zip(chosen.items(), read.values(), strict=True)
        }
        self._list(self._files[next(iter(self._files))].parent, listings, [categories[n] for n in used], frame=frame)
        self.notes = (*notes, *self._box_notes(read, chosen))
        for path in self._files.values():
            firewall.protect(path)

    def card(self) -> Card | None:
        """None: whatever it is called, it is somebody's own."""
        return None

    def has_ground_truth(self, split: str) -> bool:
        """Whether the split's annotations hold boxes and boxes are what is scored."""
        return not self._masks and self._annotated[self.split(split).name]

    def has_masks(self, split: str) -> bool:
        """Whether the split's annotations hold segmentations and masks are what is scored."""
        return self._masks and self._annotated[self.split(split).name]

    def _read_ground_truth(self, split: str) -> BoxSet:
        if self._masks:
            raise DataError(f"Expected boxes of '{split}' but masks were asked for; fix: leave out masks=true.")
        path = self._files[split]
        corners: dict[str, list[Corners]] = {}
        for image, objects in self._objects(split):
            kept = [one for one in objects if not one.crowd and not one.is_flat]
            for one in kept:
                x0, y0, x1, y1 = one.corners()
                if x1 < 0 or y1 < 0 or x0 >= image.width or y0 >= image.height:
                    raise DataError(
                        f"Expected the box of annotation {one.number} inside image {image.number} "
                        f"({image.width}x{image.height}) but got {list(one.box or ())}, which is beside it; fix: "
                        "correct or remove the annotation.",
                        path,
                    )
            corners[self._id(split, image)] = [one.corners() for one in kept]
        return self._box_set(split, corners)

    def _read_masks(self, split: str) -> MaskSet:
        if not self._masks:
            raise DataError(f"Expected masks of '{split}' but boxes are scored; fix: use coco:masks=true.")
        found = list(self._objects(split))
        missing = [image for image, objects in found if not any(not one.crowd for one in objects)]
        if missing:
            raise DataError(
                f"Expected a segmentation for each of {len(found)} images but {len(missing)} have none, first image "
                f"{missing[0].number}.",
                self._files[split],
            )
        sizes = np.array([(image.width, image.height) for image, _ in found], dtype=np.int32)
        return CocoMasks(self._files[split], self.split(split).ids, sizes, [objects for _, objects in found])

    def _objects(self, split: str) -> list[tuple[CocoImage, list[CocoObject]]]:
        """Reads the annotations of the images' own classes and all crowds, in the order of the split."""
        file = read_coco(self._files[split])
        chosen = self._labels(split, file, [])
        by_number = {image.number: image for image in file.images}
        return [(by_number[number], self._truth(file, number, category)) for number, category in chosen.items()]

    def _truth(self, file: CocoFile, number: int, category: int) -> list[CocoObject]:
        """Returns what counts as annotation of an image: its class only, with boxes or with segmentations."""
        return [
            one
            for one in file.objects[number]
            if one.category == category and (one.segmentation is not None if self._masks else one.box is not None)
        ]

    def _labels(self, split: str, file: CocoFile, notes: list[str]) -> dict[int, int]:
        """Returns ``{image id: category}`` of the images that have one class."""
        chosen: dict[int, int] = {}
        bare, mixed = 0, 0
        for image in file.images:
            of_image = [one for one in file.objects[image.number] if not one.crowd] or file.objects[image.number]
            areas: dict[int, float] = {}
            for one in of_image:
                areas[one.category] = areas.get(one.category, 0.0) + one.area
            if image.category is not None:
                chosen[image.number] = image.category
            elif len(areas) == 1:
                chosen[image.number] = next(iter(areas))
            elif not areas:
                bare += 1
            elif self._several == "error":
                names = ", ".join(file.categories[category] for category in sorted(areas))
                raise DataError(
                    f"Expected one class per image but image {image.number} ('{image.file}') has annotations of "
                    f"{names}; fix: give images a category_id, or use several=largest or several=drop.",
                    file.path,
                )
            else:
                mixed += 1
                if self._several == "largest":
                    chosen[image.number] = max(areas, key=lambda category: (areas[category], -category))
        if bare:
            notes.append(f"{split}: {bare} images have neither category_id nor annotations and are left out")
        if mixed:
            done = "take the class of the largest area" if self._several == "largest" else "are left out"
            notes.append(f"{split}: {mixed} images with several categories {done}")
        if not chosen:
            raise DataError(
                f"Expected images with one class in '{split}' but none of {len(file.images)} has.", file.path
            )
        return chosen

    def _box_notes(self, read: Mapping[str, CocoFile], chosen: Mapping[str, Mapping[int, int]]) -> list[str]:
        notes = []
        for split, file in read.items():
            crowds = flat = 0
            for image in file.images:
                for one in file.objects[image.number] if image.number in chosen[split] else ():
                    crowds += one.crowd
                    flat += one.is_flat and not one.crowd
            if crowds:
                done = "are ignored regions" if self._masks else "are no ground truth"
                notes.append(f"{split}: {crowds} crowd annotations {done}")
            if flat and not self._masks:
                notes.append(f"{split}: {flat} boxes without area are left out")
        return notes

    def _find(self, split: str, file: CocoFile) -> str:
        """Returns the folder under the root in which the first image of a split lies."""
        stem = file.path.stem.rpartition("_")[2]
        folders = ("", f"{split}/", f"{stem}/", "images/", f"images/{split}/", f"images/{stem}/")
        first = file.images[0].file
        return next((folder for folder in folders if (self.root / f"{folder}{first}").is_file()), "")

    def _id(self, split: str, image: CocoImage) -> str:
        return f"{self._prefix[split]}{image.file}"

    def _size_source(self, split: str) -> str:
        return self._files[split].name

    def _absent(self, split: str) -> str:
        return f"Expected the split '{split}' but there is no {split}.json; found: {', '.join(self._splits)}."


def _annotation_files(folders: Sequence[Path]) -> dict[str, Path]:
    """Finds one annotation file per split: ``train.json``, or the only one with that word in its name."""
    for folder in folders:
        files = sorted(folder.glob("*.json")) if folder.is_dir() else []
        found = {}
        for split in SPLITS:
            fitting = [file for file in files if re.search(rf"(?<![a-z]){split}(?![a-z])", file.stem.lower())]
            exact = [file for file in fitting if file.stem == split]
            instances = [file for file in fitting if file.stem.startswith("instances_")]
            best = exact or (instances if len(instances) == 1 else fitting)
            if len(best) > 1:
                listed = ", ".join(file.name for file in best)
                raise UsageError(
                    f"Expected one annotation file of '{split}' in {folder} but got {listed}; fix: call the right one "
                    f"{split}.json."
                )
            if best:
                found[split] = best[0]
        if found:
            return found
    raise DataError(
        "Expected annotation files train.json, val.json, test.json (or instances_train2017.json and so on) but none is "
        "there; fix: check --metadata.",
        folders[0],
    )


def _same_categories(files: Sequence[CocoFile]) -> dict[int, str]:
    first = files[0]
    for file in files[1:]:
        if first.categories != file.categories:
            differ = dict(set(first.categories.items()) ^ set(file.categories.items()))
            raise DataError(
                f"Expected the categories of {first.path.name} but got others, such as {sorted(differ.items())[0]}; "
                "fix: write the same categories into all files.",
                file.path,
            )
    return dict(first.categories)
