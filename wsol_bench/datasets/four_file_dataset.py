"""Any dataset that comes as a folder of images and four-file metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import LOCALIZATION, FourFile, read_four_file
from wsol_bench.annotations.localization import listed_kind
from wsol_bench.annotations.masks import MaskFiles, MaskSet
from wsol_bench.datasets.base import SPLITS
from wsol_bench.datasets.images import safe_join
from wsol_bench.datasets.listed import ListedDataset, listing_of
from wsol_bench.errors import DataError, FirewallError


class FourFileDataset(ListedDataset):
    """Images under one root, and ``<metadata>/<split>/`` folders in the format of Choe et al. (2020).

    Splits without a folder are absent: asking for them is an error, the others work. Labels and sizes are read when
    the object is made; of ``localization.txt`` only the form of the first line, until the judge asks for it.

    Args:
        root: image ids are paths under this folder.
        metadata: holds ``train``, ``val`` and ``test``; ``<root>/metadata`` when not given.
        name: what results call this dataset.
        frame: side in pixels of the square in which maps are scored.
        class_names: C names in label order; read from ``<metadata>/class_names.txt`` (one per line) when not given,
            ``class 0``, ``class 1``, ... without such a file.
        proxy_train: train on the ids of ``train/image_ids_proxy.txt`` only.

    Raises:
        DataError: no split is there, a file is malformed, splits share images, or labels do not cover ``0..C-1``.
        UsageError: ``name`` cannot be part of a file name, or ``frame`` is not positive.
    """

    name = "folder"

    def __init__(
        self,
        root: Path,
        metadata: Path | None = None,
        *,
        name: str = "folder",
        frame: int = 224,
        class_names: Sequence[str] | None = None,
        proxy_train: bool = False,
    ) -> None:
        self._call(name)
        self.root = Path(root)
        self._metadata = self.root / "metadata" if metadata is None else Path(metadata)
        if not self.root.is_dir():
            raise DataError("Expected the folder of the images but it does not exist; fix: check --root.", self.root)
        listings = {
            split: listing_of(file, proxy=proxy_train and split == "train")
            for split, file in self._read_files().items()
        }
        self._list(self._metadata, listings, self._names(class_names), frame=frame)
        # The kind is looked up before the file is shut: while training runs, not even its first line may be read.
        self._kinds = {split: _kind(self._metadata / split / LOCALIZATION) for split in listings}
        for split in listings:
            firewall.protect(self._metadata / split / LOCALIZATION)

    def has_ground_truth(self, split: str) -> bool:
        """Whether the split's metadata list boxes."""
        path = self._metadata / self.split(split).name / LOCALIZATION
        return path.is_file() and path.stat().st_size > 0 and not self.has_masks(split)

    def has_masks(self, split: str) -> bool:
        """Whether the split's metadata list masks."""
        return self._kinds[self.split(split).name] == "masks"

    def _read_ground_truth(self, split: str) -> BoxSet:
        boxes = read_four_file(self._metadata / split, kind="boxes").boxes
        if boxes is None:
            raise DataError("Expected boxes but there are none.", self._metadata / split / LOCALIZATION)
        return boxes.select(self.split(split).ids)

    def _read_masks(self, split: str) -> MaskSet:
        masks = read_four_file(self._metadata / split, kind="masks").masks
        if masks is None:
            raise DataError("Expected masks but there are none.", self._metadata / split / LOCALIZATION)
        return MaskFiles(masks.select(self.split(split).ids), lambda path: safe_join(self.root, path))

    def _absent(self, split: str) -> str:
        return f"Expected the split '{split}' but there is no such folder; found: {', '.join(self._splits)}."

    def _size_source(self, split: str) -> str:
        return f"image_sizes.txt of '{split}'"

    def _read_files(self) -> dict[str, FourFile]:
        present = [split for split in SPLITS if (self._metadata / split).is_dir()]
        if not present:
            raise DataError(
                "Expected folders train, val and test with image_ids.txt, class_labels.txt, image_sizes.txt and "
                "localization.txt but none is there; fix: check --metadata.",
                self._metadata,
            )
        return {split: read_four_file(self._metadata / split, kind="labels") for split in present}

    def _names(self, given: Sequence[str] | None) -> Sequence[str] | None:
        path = self._metadata / "class_names.txt"
        if given is None and path.exists():
            given = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        return given


def _kind(path: Path) -> str:
    try:
        return listed_kind(path)
    except FirewallError:
        # Opened a second time, while training runs: no judge will ask this object.
        return "unknown"
