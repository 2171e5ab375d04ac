"""Base of datasets read from their official archives as unpacked, and from the metadata folders that the field shares.

Nothing is renamed by hand: ids are those of the field's metadata where there are any, and every reader knows in which
folders the official archives put the files.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import IDS, LOCALIZATION, read_four_file
from wsol_bench.annotations.masks import MaskFiles, MaskSet, MaskTable
from wsol_bench.datasets.base import SPLITS
from wsol_bench.datasets.hold_out import hold_out_tenth
from wsol_bench.datasets.images import safe_join
from wsol_bench.datasets.listed import Corners, ListedDataset, Listing, listing_of
from wsol_bench.errors import DataError

Place = tuple[str, str]
"""Where files may lie: a beginning of the id to take away, and a folder under the root to put before the rest."""

FRAME = 224

_PHOTOGRAPHS = (".jpg", ".jpeg", ".png")


def is_photograph(name: str) -> bool:
    """Tells whether a file found in a folder of photographs is one; ``._x.jpg`` is what macOS leaves in archives."""
    return name.lower().endswith(_PHOTOGRAPHS) and not name.startswith(".")


class OfficialDataset(ListedDataset):
    """A dataset in its official archives, with or without the field's metadata.

    A split with a metadata folder is read from it; the others from the official files.

    Args:
        root: the folder under which the archives are unpacked.
        metadata: holds ``train``, ``val``, ``test`` (or a folder of the dataset's name that does); ``<root>/metadata``
            where that is there and nothing is given.
        frame: side in pixels of the square in which maps are scored.

    Raises:
        DataError: a folder or file of the layout is missing or malformed.
    """

    masks: ClassVar[bool] = False
    """Whether the dataset is annotated with masks."""
    proxy_train: bool = False
    """Whether the metadata's reduced training set is used."""
    layout: ClassVar[str]
    """The official layout in one line, for errors."""
    metadata_name: ClassVar[str]
    """The dataset's folder in the field's metadata."""
    split_folders: Mapping[str, tuple[str, ...]] = {split: (split,) for split in SPLITS}
    """Names of the metadata folder of each split."""
    places: Sequence[Place] = (("", ""),)
    """Where images may lie."""

    def __init__(self, root: Path, metadata: Path | None = None, *, frame: int = FRAME) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError("Expected the folder of the dataset but it does not exist; fix: check --root.", self.root)
        self._folders = self._metadata_folders(metadata)
        listings = {
            split: listing_of(read_four_file(folder, kind="labels"), proxy=self.proxy_train and split == "train")
            for split, folder in self._folders.items()
        }
        wanted = tuple(split for split in SPLITS if split not in listings)
        found, names = self._read_archive(wanted)
        listings |= {split: found[split] for split in wanted if split in found}
        if not listings:
            raise DataError(
                f"Expected {self.name} in its official layout ({self.layout}) but none of it is there; fix: unpack the "
                f"archives here ('wsol-bench datasets prepare {self.name} --root {self.root}' names them), or check "
                "--root.",
                self.root,
            )
        ordered = {split: listings[split] for split in SPLITS if split in listings}
        self._chosen = {split: self._choose(split, listing.ids) for split, listing in ordered.items()}
        self._list(self.root, ordered, names, frame=frame)
        self._annotated = {split: self._is_annotated(split) for split in ordered}
        for folder in self._folders.values():
            firewall.protect(folder / LOCALIZATION)

    @abstractmethod
    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        """Reads splits from the official files.

        Args:
            wanted: splits that no metadata folder describes.

        Returns:
            Those of the wanted splits that are there, and the class names in label order where the archive tells them.
        """

    def _archive_annotated(self, split: str) -> bool:
        """Whether the official files hold boxes or masks of a split."""
        return True

    def _archive_boxes(self, split: str) -> Mapping[str, Sequence[Corners]]:
        """Returns official boxes, ``{id: [(x0, y0, x1, y1), ...]}``, 0-based inclusive corners in original pixels."""
        raise DataError(f"Expected boxes of '{split}' but {self.name} has none.", self.root)

    def _archive_masks(self, split: str) -> MaskTable:
        """Returns official masks; paths under the root."""
        raise DataError(f"Expected masks of '{split}' but {self.name} has none.", self.root)

    def has_ground_truth(self, split: str) -> bool:
        """Whether there are boxes of a split."""
        return not self.masks and self._annotated[self.split(split).name]

    def has_masks(self, split: str) -> bool:
        """Whether there are masks of a split."""
        return self.masks and self._annotated[self.split(split).name]

    def _is_annotated(self, split: str) -> bool:
        if split not in self._folders:
            return self._archive_annotated(split)
        path = self._folders[split] / LOCALIZATION
        return path.is_file() and path.stat().st_size > 0

    def _read_ground_truth(self, split: str) -> BoxSet:
        if self.masks:
            raise DataError(f"Expected boxes of '{split}' but {self.name} has masks; fix: score PxAP.", self.root)
        if not self._annotated[split]:
            raise DataError(self._unannotated(split), self.root)
        if split not in self._folders:
            return self._box_set(split, self._archive_boxes(split))
        file = read_four_file(self._folders[split], kind="boxes", outside="clip")
        if file.boxes is None:
            raise DataError("Expected boxes but there are none.", self._folders[split] / LOCALIZATION)
        self._note_clipped(split, file.num_clipped)
        return file.boxes.select(self.split(split).ids)

    def _read_masks(self, split: str) -> MaskSet:
        if not self.masks:
            return super()._read_masks(split)
        if not self._annotated[split]:
            raise DataError(self._unannotated(split), self.root)
        if split not in self._folders:
            return MaskFiles(self._archive_masks(split), lambda path: safe_join(self.root, path))
        table = read_four_file(self._folders[split], kind="masks").masks
        if table is None:
            raise DataError("Expected masks but there are none.", self._folders[split] / LOCALIZATION)
        return MaskFiles(
            table.select(self.split(split).ids), lambda path: safe_join(self.root, self._relative(split, path))
        )

    def _unannotated(self, split: str) -> str:
        return (
            f"Expected annotations of '{split}' but neither the archives here nor the metadata hold any; fix: give the "
            f"folder of the field's metadata ({self.metadata_name}/{split}) with --metadata."
        )

    def _relative(self, split: str, image_id: str) -> str:
        strip, prefix = self._chosen[split]
        return prefix + image_id.removeprefix(strip)

    def _places_of(self, split: str) -> Sequence[Place]:
        """Returns where images of a split may lie."""
        return self.places

    def _choose(self, split: str, ids: tuple[str, ...]) -> Place:
        """Returns the first place where the first or the last image lies; the first place when none fits."""
        places = self._places_of(split)
        for strip, prefix in places:
            if any((self.root / (prefix + image_id.removeprefix(strip))).is_file() for image_id in (ids[0], ids[-1])):
                return strip, prefix
        return places[0]

    def _absent(self, split: str) -> str:
        return (
            f"Expected the split '{split}' of {self.name} but its files are not here; found: "
            f"{', '.join(self._splits)}. The official layout: {self.layout}. Fix: unpack the missing archive, or give "
            "--metadata."
        )

    def _metadata_folders(self, given: Path | None) -> dict[str, Path]:
        tops = [self.root / "metadata"] if given is None else [Path(given)]
        for top in [*tops, *(top / self.metadata_name for top in tops)]:
            found = {}
            for split, names in self.split_folders.items():
                folder = next((top / name for name in names if (top / name / IDS).is_file()), None)
                if folder is not None:
                    found[split] = folder
            if found:
                return found
        if given is not None:
            raise DataError(
                f"Expected folders train, val and test with {IDS} and so on, here or in {self.metadata_name}/, but "
                "none is there; fix: check --metadata.",
                Path(given),
            )
        return {}

    def _train_and_val(self, labels: Mapping[str, int], wanted: tuple[str, ...]) -> dict[str, Listing]:
        """Returns the wanted ones of train and val, where val is to be held out of the official training set.

        With train or val described by metadata, nothing is held out.
        """
        if {"train", "val"} <= set(wanted):
            stays, held = hold_out_tenth(labels)
            return {split: Listing.of(part) for split, part in (("train", stays), ("val", held)) if part}
        return {"train": Listing.of(labels)} if "train" in wanted and labels else {}

    def _first_dir(self, *candidates: str) -> Path | None:
        """Returns the first of some folders under the root that is there."""
        return next((self.root / name for name in candidates if (self.root / name).is_dir()), None)

    def _first_file(self, *candidates: str) -> Path | None:
        """Returns the first of some files under the root that is there."""
        return next((self.root / name for name in candidates if (self.root / name).is_file()), None)
