"""ImageNet (ILSVRC 2012) as unpacked from its archives, with ImageNetV2 as validation set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.annotations.metadata_lines import MetadataLines
from wsol_bench.datasets.listed import Corners, Listing
from wsol_bench.datasets.official import FRAME, OfficialDataset, Place, is_photograph
from wsol_bench.datasets.text_lines import read_pairs
from wsol_bench.datasets.voc_xml import read_voc
from wsol_bench.errors import DataError

_TOPS = ("", "ILSVRC/", "Data/CLS-LOC/", "ILSVRC/Data/CLS-LOC/")
_NAMES = {
    "train": ("train", "ILSVRC2012_img_train"),
    "val": ("val2", "imagenetv2-threshold0.7-format-val", "imagenetv2-threshold0.7"),
    "test": ("val", "ILSVRC2012_img_val"),
}
_PREFIXES = {"train": "train/", "val": "val2/", "test": "val/"}
_XML = (
    "bbox_val/val",
    "bbox_val",
    "ILSVRC2012_bbox_val_v3/val",
    "ILSVRC2012_bbox_val_v3",
    "Annotations/CLS-LOC/val",
    "ILSVRC/Annotations/CLS-LOC/val",
)
_MAPPING = "mapping.txt"


class Ilsvrc(OfficialDataset):
    """ImageNet: the official training images, ImageNetV2 (threshold 0.7) as val, the official val images as test.

    Labels are ranks of the sorted WordNet ids, which are taken from ``LOC_synset_mapping.txt`` where it is there, else
    from the training folders. Validation images may lie in one folder, as the archive unpacks, or in a folder per
    class. Boxes of test come from the metadata or the official XML files; boxes of ImageNetV2 from the metadata only.

    Args:
        root: the folder that holds ``train``, ``val`` and ``val2`` (or ImageNetV2 under its own name), or ``ILSVRC``.
        metadata: the field's metadata, ``.../ILSVRC``. Files of ImageNetV2 that are named by hash are found through
            ``val/mapping.txt`` in it.
        frame: side in pixels of the square in which maps are scored.
        proxy_train: train on the ids of the metadata's ``train/image_ids_proxy.txt`` only, for searches.

    Raises:
        DataError: there is no such file, though it was asked for.
    """

    name = "ilsvrc"
    metadata_name = "ILSVRC"
    layout = (
        "train/<wnid>/*.JPEG, val/ILSVRC2012_val_*.JPEG, imagenetv2-threshold0.7-format-val/<label>/*.jpeg (or val2), "
        "bbox_val/val/*.xml"
    )

    def __init__(
        self, root: Path, metadata: Path | None = None, *, frame: int = FRAME, proxy_train: bool = False
    ) -> None:
        self.proxy_train = proxy_train
        super().__init__(root, metadata, frame=frame)

    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        train = self._images("train")
        wnids, names = self._classes(train)
        self._xml = self._annotations()
        self._moved = self._mapping() | self._in_class_folders()
        listings: dict[str, Listing] = {}
        if "train" in wanted and self.proxy_train:
            raise DataError("Expected train/image_ids_proxy.txt in the metadata because proxy_train was asked for.")
        if "train" in wanted and train is not None and wnids:
            listings["train"] = _of_folders(train, _PREFIXES["train"], dict(zip(wnids, range(len(wnids)), strict=True)))
        version_two = self._images("val")
        if "val" in wanted and version_two is not None:
            labels = {folder.name: int(folder.name) for folder in version_two.iterdir() if folder.name.isdecimal()}
            listings["val"] = _of_folders(version_two, _PREFIXES["val"], dict(sorted(labels.items())))
        images = self._images("test")
        if "test" in wanted and images is not None:
            test = self._labelled_by_archive(images, wnids)
            if test:
                listings["test"] = Listing.of(test)
        return {split: listing for split, listing in listings.items() if listing.ids}, names

    def load_image(self, split: str, index: int) -> NDArray[np.uint8]:
        """Returns one image as ``[H, W, 3]`` RGB uint8 in its original size.

        Raises:
            DataError: the file is missing, damaged, not of the listed size, or ImageNetV2 is named by hash and nobody
                said which file is which.
        """
        path = self.image_path(split, index)
        others = next(path.parent.glob("*.jpeg"), None) if split == "val" and not path.is_file() else None
        if others is not None:
            raise DataError(
                f"Expected {path.name} of ImageNetV2 but this archive calls its files '{others.name}' and so on; fix: "
                f"put {_MAPPING} of clovaai/wsolevaluation (metadata/ILSVRC/val) into the folder val of --metadata.",
                path,
            )
        return super().load_image(split, index)

    def _images(self, split: str) -> Path | None:
        return self._first_dir(*(f"{top}{name}" for name in _NAMES[split] for top in _TOPS))

    def _places_of(self, split: str) -> Sequence[Place]:
        return [(_PREFIXES[split], f"{top}{name}/") for name in _NAMES[split] for top in _TOPS]

    def _classes(self, train: Path | None) -> tuple[list[str], list[str] | None]:
        """Returns sorted WordNet ids and class names, as far as the files here tell them."""
        mapping = self._first_file("LOC_synset_mapping.txt", "ILSVRC/LOC_synset_mapping.txt")
        if mapping is not None:
            glosses = read_pairs(mapping, "wnid gloss")
            wnids = sorted(glosses)
            return wnids, [glosses[wnid].split(",")[0].strip() for wnid in wnids]
        if train is None:
            return [], None
        wnids = sorted(folder.name for folder in train.iterdir() if folder.is_dir())
        return wnids, wnids or None

    def _annotations(self) -> Path | None:
        """Returns the folder of the XML files of the official val images, and shuts it for training."""
        folder = self._first_dir(*_XML)
        if folder is not None:
            firewall.protect_folder(folder)
            return folder
        images = self._images("test")
        beside = sorted(images.glob("*.xml")) if images is not None else []
        for file in beside:  # Both archives unpack as val/.
            firewall.protect(file)
        return images if beside else None

    def _mapping(self) -> dict[str, str]:
        """Reads ``mapping.txt``: under which name each id of ImageNetV2 lies in archives named by hash."""
        path = self._folders["val"] / _MAPPING if "val" in self._folders else None
        if path is None or not path.is_file():
            return {}
        lines = MetadataLines.read(path)
        moved = {}
        for row, (name, place) in enumerate(lines.split("id,file")):
            problem = id_problem(place.strip())
            if problem is not None:
                lines.fail(row, f"Expected a path inside ImageNetV2 but got '{place}': {problem}.")
            moved[f"{_PREFIXES['val']}{name.strip()}"] = place.strip()
        return moved

    def _in_class_folders(self) -> dict[str, str]:
        """Finds official val images that somebody's script moved into a folder per class."""
        images = self._images("test")
        if images is None or any(images.glob("ILSVRC2012_val_0000000*.JPEG")):
            return {}
        return {
            f"{_PREFIXES['test']}{file.name}": f"{file.parent.name}/{file.name}"
            for file in images.glob("n*/ILSVRC2012_val_*.JPEG")
        }

    def _relative(self, split: str, image_id: str) -> str:
        strip, prefix = self._chosen[split]
        moved = self._moved.get(image_id)
        if moved is None or (self.root / prefix / image_id.removeprefix(strip)).is_file():
            return super()._relative(split, image_id)
        return prefix + moved

    def _choose(self, split: str, ids: tuple[str, ...]) -> Place:
        for strip, prefix in self._places_of(split):
            for image_id in (ids[0], ids[-1]):
                for place in (image_id.removeprefix(strip), self._moved.get(image_id)):
                    if place is not None and (self.root / f"{prefix}{place}").is_file():
                        return strip, prefix
        # Errors about missing files are to name the folder that is there.
        places = self._places_of(split)
        return next((place for place in places if (self.root / place[1]).is_dir()), places[0])

    def _labelled_by_archive(self, images: Path, wnids: Sequence[str]) -> dict[str, int]:
        """Labels official val images by class folder or XML; empty where neither is there."""
        prefix = _PREFIXES["test"]
        if self._moved and any(image_id.startswith(prefix) for image_id in self._moved):
            found = {image_id: place.split("/")[0] for image_id, place in self._moved.items()}
            wnid_of = {image_id: wnid for image_id, wnid in found.items() if image_id.startswith(prefix)}
        elif self._xml is not None:
            files = sorted(images.glob("ILSVRC2012_val_*.JPEG"))
            wnid_of = {f"{prefix}{file.name}": self._wnid(self._xml / f"{file.stem}.xml") for file in files}
        else:
            return {}
        wnids = wnids or sorted(set(wnid_of.values()))
        label_of = {wnid: label for label, wnid in enumerate(wnids)}
        unknown = [wnid for wnid in wnid_of.values() if wnid not in label_of]
        if unknown:
            raise DataError(f"Expected WordNet ids of the {len(wnids)} classes but got '{unknown[0]}'.", images)
        return {image_id: label_of[wnid_of[image_id]] for image_id in sorted(wnid_of)}

    @staticmethod
    def _wnid(path: Path) -> str:
        names = set(read_voc(path).names)
        if len(names) != 1:
            raise DataError(f"Expected objects of one class but got {sorted(names)}.", path)
        return names.pop()

    def _archive_annotated(self, split: str) -> bool:
        return split == "test" and self._xml is not None

    def _archive_boxes(self, split: str) -> Mapping[str, Sequence[Corners]]:
        if self._xml is None:
            return super()._archive_boxes(split)
        return {
            image_id: read_voc(self._xml / f"{Path(image_id).stem}.xml").boxes for image_id in self.split(split).ids
        }


def _of_folders(top: Path, prefix: str, label_of: Mapping[str, int]) -> Listing:
    labels = {}
    for name, label in label_of.items():
        folder = top / name
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:  # A million of them: Path objects would cost seconds.
            files = sorted(entry.name for entry in entries)
        labels.update({f"{prefix}{name}/{file}": label for file in files if is_photograph(file)})
    return Listing.of(labels)
