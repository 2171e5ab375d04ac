"""Any dataset that comes as a folder of images and four-file metadata."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import LOCALIZATION, FourFile, read_four_file
from wsol_bench.datasets.base import SPLITS, Dataset, Split
from wsol_bench.datasets.images import decode_rgb, files_fingerprint, safe_join
from wsol_bench.errors import DataError, UsageError, unknown_choice

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class FourFileDataset(Dataset):
    """Images under one root, and ``<metadata>/<split>/`` folders in the format of Choe et al. (2020).

    Splits without a folder are absent: asking for them is an error, the others work. Labels and sizes are read when
    the object is made; ``localization.txt`` stays closed until the judge asks for it.

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
        if not _NAME.fullmatch(name):
            raise UsageError(f"Expected a dataset name of letters, digits, '.', '_' and '-' but got '{name}'.")
        if frame < 1:
            raise UsageError(f"Expected a frame of at least 1 pixel but got {frame}.")
        self.name = name  # type: ignore[misc]  # one class serves many datasets, so the name belongs to the object
        self.frame = frame
        self.root: Path = Path(root)
        self._metadata = self.root / "metadata" if metadata is None else Path(metadata)
        if not self.root.is_dir():
            raise DataError("Expected the folder of the images but it does not exist; fix: check --root.", self.root)
        self._splits: dict[str, Split] = {}
        self._sizes: dict[str, NDArray[np.int32] | None] = {}
        for split, file in self._read_files().items():
            rows = _proxy_rows(file) if proxy_train and split == "train" else slice(None)
            self._splits[split] = Split(split, tuple(np.array(file.ids, dtype=object)[rows]), file.labels[rows])
            self._sizes[split] = None if file.sizes is None else file.sizes[rows]
        self._check_disjoint()
        self.class_names = self._class_names(class_names)
        self.version = f"1-{self._digest()}"
        for split in self._splits:
            firewall.protect(self._metadata / split / LOCALIZATION)

    def split(self, name: str) -> Split:
        """Returns ids and labels of ``train``, ``val`` or ``test``.

        Raises:
            DataError: the metadata has no folder for this split.
        """
        if name not in SPLITS:
            raise unknown_choice("split", name, SPLITS)
        if name not in self._splits:
            raise DataError(
                f"Expected the split '{name}' but there is no such folder; found: {', '.join(self._splits)}.",
                self._metadata,
            )
        return self._splits[name]

    def load_image(self, split: str, index: int) -> NDArray[np.uint8]:
        """Returns one image as ``[H, W, 3]`` RGB uint8 in its original size.

        Raises:
            DataError: the file is missing, damaged, or not of the size that ``image_sizes.txt`` states.
        """
        path = safe_join(self.root, self.split(split).ids[index])
        image = decode_rgb(path)
        sizes = self._sizes[split]
        if sizes is not None and (image.shape[1], image.shape[0]) != tuple(sizes[index]):
            raise DataError(
                f"Expected {sizes[index, 0]}x{sizes[index, 1]} pixels, as image_sizes.txt of '{split}' states, but got "
                f"{image.shape[1]}x{image.shape[0]}; boxes would not fit. Fix: use the original file.",
                path,
            )
        return image

    def fingerprint(self, split: str) -> str:
        """Returns a hash over the split and the sizes and times of its files."""
        return f"{super().fingerprint(split)}-{files_fingerprint(self.root, self.split(split).ids)}"

    def has_ground_truth(self, split: str) -> bool:
        """Whether the split's metadata list boxes or masks."""
        path = self._metadata / self.split(split).name / LOCALIZATION
        return path.is_file() and path.stat().st_size > 0

    def _read_ground_truth(self, split: str) -> BoxSet:
        ids = self.split(split).ids
        boxes = read_four_file(self._metadata / split, kind="boxes").boxes
        if boxes is None:
            raise DataError("Expected boxes but there are none.", self._metadata / split / LOCALIZATION)
        return boxes.select(ids)

    def _read_files(self) -> dict[str, FourFile]:
        present = [split for split in SPLITS if (self._metadata / split).is_dir()]
        if not present:
            raise DataError(
                "Expected folders train, val and test with image_ids.txt, class_labels.txt, image_sizes.txt and "
                "localization.txt but none is there; fix: check --metadata.",
                self._metadata,
            )
        return {split: read_four_file(self._metadata / split, kind="labels") for split in present}

    def _check_disjoint(self) -> None:
        seen: dict[str, str] = {}
        for name, split in self._splits.items():
            for image_id in split.ids:
                other = seen.setdefault(image_id, name)
                if other != name:
                    raise DataError(
                        f"Expected splits without common images but '{image_id}' is in '{other}' and '{name}'.",
                        self._metadata,
                    )

    def _class_names(self, given: Sequence[str] | None) -> tuple[str, ...]:
        found = np.unique(np.concatenate([split.labels for split in self._splits.values()]))
        path = self._metadata / "class_names.txt"
        if given is None and path.exists():
            given = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        names = tuple(f"class {label}" for label in range(int(found[-1]) + 1)) if given is None else tuple(given)
        absent = sorted(set(range(len(names))) - set(found.tolist()))
        if absent or int(found[-1]) >= len(names):
            problem = f"label {absent[0]} does not occur" if absent else f"label {int(found[-1])} does"
            raise DataError(
                f"Expected the labels 0..{len(names) - 1} to be used, and no others, but {problem}.", self._metadata
            )
        return names

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name, split in self._splits.items():
            digest.update(f"{name}\n".encode())
            digest.update("\n".join(split.ids).encode())
            digest.update(split.labels.tobytes())
        return digest.hexdigest()[:8]


def _proxy_rows(file: FourFile) -> list[int]:
    if file.proxy_ids is None:
        raise DataError("Expected image_ids_proxy.txt because the proxy training set was asked for.", file.folder)
    row_of = {image_id: row for row, image_id in enumerate(file.ids)}
    return [row_of[image_id] for image_id in file.proxy_ids]
