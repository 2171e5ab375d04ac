"""OpenImages30k as unpacked from its archives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.annotations.masks import MaskTable
from wsol_bench.annotations.metadata_lines import MetadataLines
from wsol_bench.datasets.base import SPLITS
from wsol_bench.datasets.listed import Listing
from wsol_bench.datasets.official import OfficialDataset, is_photograph
from wsol_bench.errors import DataError

_IGNORE = "_ignore.png"
_DESCRIPTIONS = ("class-descriptions-boxable.csv", "class-descriptions.csv")


class OpenImages(OfficialDataset):
    """OpenImages30k: 100 classes, masks of every instance and regions to ignore for val and test.

    Labels are ranks of the sorted class folders (Freebase ids). Both archives unpack into the same folders: masks lie
    beside their image and carry its name. Class names are words where OpenImages' ``class-descriptions-boxable.csv``
    lies in the root (CLIP needs words).

    Args:
        root: the folder that holds ``train``, ``val`` and ``test``, or ``OpenImages`` with them.
        metadata: the field's metadata, ``.../OpenImages``.
        frame: side in pixels of the square in which maps are scored.
    """

    name = "openimages"
    masks = True
    metadata_name = "OpenImages"
    layout = "{train,val,test}/<mid>/{<image>.jpg, <image>_m<mid>_<hash>.png, <image>_ignore.png}"
    places = (("", ""), ("", "OpenImages/"))

    def _read_archive(self, wanted: tuple[str, ...]) -> tuple[dict[str, Listing], Sequence[str] | None]:
        self._top = self._first_dir(*(f"OpenImages/{split}" for split in SPLITS), *SPLITS)
        if self._top is None:
            return {}, None
        self._top = self._top.parent
        folders = {
            split: sorted(
                folder for folder in (self._top / split).iterdir() if folder.is_dir() and folder.name[0] != "."
            )
            for split in SPLITS
            if (self._top / split).is_dir()
        }
        names = sorted({folder.name for part in folders.values() for folder in part})
        listings = {}
        for split in [split for split in wanted if split in folders]:
            labels = {
                f"{split}/{folder.name}/{file.name}": names.index(folder.name)
                for folder in folders[split]
                for file in sorted(folder.glob("*.jpg"))
                if is_photograph(file.name)
            }
            if labels:
                listings[split] = Listing.of(labels)
        for split in ("val", "test"):
            for folder in folders.get(split, ()):
                for file in folder.glob("*.png"):
                    firewall.protect(file)
        return listings, self._words(names) if names else None

    def _words(self, mids: list[str]) -> list[str]:
        """Returns class names from the official list of descriptions, where it lies here; else the Freebase ids."""
        path = self._first_file(*_DESCRIPTIONS)
        if path is None:
            return mids
        rows = MetadataLines.read(path).split("mid,name")
        words = {mid.removeprefix("/m/"): name.strip() for mid, name in ((row[0], row[1]) for row in rows)}
        return [words.get(mid, mid) for mid in mids]

    def _archive_annotated(self, split: str) -> bool:
        return any((self._folder() / split).glob(f"*/*{_IGNORE}"))

    def _archive_masks(self, split: str) -> MaskTable:
        top = self._folder()
        files: dict[str, list[str]] = {}
        for file in sorted((top / split).glob("*/*.png")):
            # <image>_m<mid>_<hash>.png: the class id itself may hold an underscore, the image's name does not.
            files.setdefault(f"{split}/{file.parent.name}/{file.name.partition('_')[0]}.jpg", []).append(
                file.relative_to(self.root).as_posix()
            )
        ids = self.split(split).ids
        masks = [[name for name in files.get(image_id, []) if not name.endswith(_IGNORE)] for image_id in ids]
        bare = [image_id for image_id, of_image in zip(ids, masks, strict=True) if not of_image]
        if bare:
            raise DataError(
                f"Expected a mask for each of {len(ids)} images of '{split}' but {len(bare)} have none, first "
                f"'{bare[0]}'; fix: unpack OpenImages_annotations.zip into the same folder.",
                top,
            )
        ignore = tuple(
            next((name for name in files.get(image_id, []) if name.endswith(_IGNORE)), "") for image_id in ids
        )
        return MaskTable.from_lists(ids, masks, ignore)

    def _folder(self) -> Path:
        return self.root if self._top is None else self._top
