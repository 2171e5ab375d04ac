"""Datasets made of image files whose splits are listed up front: what all their readers share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import FourFile
from wsol_bench.datasets.base import SPLITS, Dataset, Split
from wsol_bench.datasets.images import Exif, decode_rgb, files_fingerprint, read_header, safe_join
from wsol_bench.errors import DataError, UsageError, unknown_choice

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Listing:
    """One split as its files list it.

    Attributes:
        ids: N image ids.
        labels: ``[N]`` int64 class indices.
        sizes: ``[N, 2]`` int32 width and height, or None where no file states them.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, labels: Mapping[str, int]) -> Listing:
        """Builds a listing from ``{id: label}``, in that order."""
        return cls(tuple(labels), np.array(list(labels.values()), dtype=np.int64))


def listing_of(file: FourFile, *, proxy: bool = False) -> Listing:
    """Returns the listing of a metadata folder, reduced to its proxy set where that is asked for.

    Raises:
        DataError: there is no proxy set.
    """
    if not proxy:
        return Listing(file.ids, file.labels, file.sizes)
    rows = file.proxy_rows()
    sizes = None if file.sizes is None else file.sizes[rows]
    return Listing(tuple(file.ids[row] for row in rows), file.labels[rows], sizes)


class ListedDataset(Dataset):
    """Base of datasets made of files. Subclasses call :meth:`_list` once, at the end of their constructor.

    Attributes:
        exif: whether images are turned as their EXIF orientation says.
    """

    root: Path
    exif: Exif = "ignore"

    def _list(
        self, source: Path, listings: Mapping[str, Listing], class_names: Sequence[str] | None, *, frame: int
    ) -> None:
        """Takes over splits and class names, and checks them.

        Args:
            source: the file or folder to name in errors.
            listings: the splits that are there.
            class_names: C names in label order; ``class 0``, ``class 1``, ... without.
            frame: side in pixels of the square in which maps are scored.

        Raises:
            DataError: splits share images, or labels do not cover ``0..C-1``.
            UsageError: ``frame`` is not positive.
        """
        if frame < 1:
            raise UsageError(f"Expected a frame of at least 1 pixel but got {frame}.")
        self.frame = frame
        self._source = source
        self._splits = {name: Split(name, listings[name].ids, listings[name].labels) for name in listings}
        self._sizes = {name: listings[name].sizes for name in listings}
        self._check_disjoint()
        self.class_names = self._checked_names(class_names)
        self.version = f"1-{self._digest()}"

    def _call(self, name: str) -> None:
        """Gives this object a name of its own, where one class serves many datasets.

        Raises:
            UsageError: the name cannot be part of a file name.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"Expected a dataset name of letters, digits, '.', '_' and '-' but got '{name}'.")
        self.name = name  # type: ignore[misc]  # the name belongs to the object here

    def _turn(self, exif: str) -> None:
        """Decides whether images are turned as their EXIF orientation says.

        Raises:
            UsageError: neither ``ignore`` nor ``apply``.
        """
        if exif not in get_args(Exif):
            raise unknown_choice("exif", exif, get_args(Exif))
        self.exif = cast("Exif", exif)

    def split(self, name: str) -> Split:
        """Returns ids and labels of ``train``, ``val`` or ``test``.

        Raises:
            DataError: the dataset has no such split here.
        """
        if name not in SPLITS:
            raise unknown_choice("split", name, SPLITS)
        if name not in self._splits:
            raise DataError(self._absent(name), self._source)
        return self._splits[name]

    def image_path(self, split: str, index: int) -> Path:
        """Returns the file of an image."""
        return safe_join(self.root, self._relative(split, self.split(split).ids[index]))

    def load_image(self, split: str, index: int) -> NDArray[np.uint8]:
        """Returns one image as ``[H, W, 3]`` RGB uint8 in its original size.

        Raises:
            DataError: the file is missing, damaged, or not of the listed size.
        """
        path = self.image_path(split, index)
        image = decode_rgb(path, exif=self.exif)
        sizes = self._sizes[split]
        if sizes is not None and (image.shape[1], image.shape[0]) != tuple(sizes[index]):
            raise DataError(self._wrong_size(split, index, image.shape[1], image.shape[0]), path)
        return image

    def image_sizes(self, split: str, indices: Sequence[int] | None = None) -> NDArray[np.int32]:
        """Returns original widths and heights ``[N, 2]``: as listed, else from the heads of the files.

        Raises:
            DataError: an image is missing or no image.
        """
        chosen = list(range(len(self.split(split))) if indices is None else indices)
        listed = self._sizes[split]
        if listed is not None:
            return listed[chosen]
        sizes = []
        for index in chosen:
            header = read_header(self.image_path(split, index))
            turned = self.exif == "apply" and header.orientation >= 5
            sizes.append((header.height, header.width) if turned else (header.width, header.height))
        return np.asarray(sizes, dtype=np.int32).reshape(-1, 2)

    def fingerprint(self, split: str) -> str:
        """Returns a hash over the split, the turning of images, and the sizes and times of its files."""
        files = tuple(self._relative(split, image_id) for image_id in self.split(split).ids)
        return f"{super().fingerprint(split)}-{self.exif}-{files_fingerprint(self.root, files)}"

    def _relative(self, split: str, image_id: str) -> str:
        """Returns where an image lies under the root; its id says so unless a subclass knows better."""
        return image_id

    def _absent(self, split: str) -> str:
        return f"Expected the split '{split}' but it is not there; found: {', '.join(self._splits)}."

    def _size_source(self, split: str) -> str:
        return f"the metadata of '{split}'"

    def _wrong_size(self, split: str, index: int, width: int, height: int) -> str:
        sizes = self._sizes[split]
        stated = (0, 0) if sizes is None else tuple(sizes[index].tolist())
        fix = "use the original file"
        if stated == (height, width) and read_header(self.image_path(split, index)).orientation >= 5:
            fix = "the file carries an EXIF rotation and the boxes seem to be drawn on the turned image: " + (
                "use exif=apply" if self.exif == "ignore" else "use exif=ignore"
            )
        return (
            f"Expected {stated[0]}x{stated[1]} pixels, as {self._size_source(split)} states, but got {width}x{height}; "
            f"boxes would not fit. Fix: {fix}."
        )

    def _box_set(self, split: str, corners: Mapping[str, Sequence[Corners]]) -> BoxSet:
        """Puts inclusive corners in original pixels together and clips them to their images.

        Args:
            split: whose boxes they are.
            corners: ``{id: [(x0, y0, x1, y1), ...]}``, for every id of the split at least.

        Raises:
            DataError: an image has no box, or a box is reversed or beside its image.
        """
        ids = self.split(split).ids
        lacking = [image_id for image_id in ids if not corners.get(image_id)]
        if lacking:
            raise DataError(
                f"Expected a box for each of {len(ids)} images of '{split}' but {len(lacking)} have none, first "
                f"'{lacking[0]}'.",
                self._source,
            )
        sizes = self.image_sizes(split)
        counts = [len(corners[image_id]) for image_id in ids]
        boxes = np.array([box for image_id in ids for box in corners[image_id]], dtype=np.float64)
        last = np.repeat(sizes.astype(np.float64), counts, axis=0) - 1
        limits = np.concatenate([last, last], axis=1)
        bad = ((boxes[:, 2:] < boxes[:, :2]) | (boxes[:, 2:] < 0) | (boxes[:, :2] > last)).any(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            image_id = ids[int(np.repeat(np.arange(len(ids)), counts)[row])]
            raise DataError(
                f"Expected a box inside the {last[row, 0] + 1:g}x{last[row, 1] + 1:g} pixels of '{image_id}' but got "
                f"{', '.join(f'{value:g}' for value in boxes[row])}; fix: check that images and annotations belong "
                "together.",
                self._source,
            )
        reaching_out = int(((boxes < 0) | (boxes > limits)).any(axis=1).sum())
        self._note_clipped(split, reaching_out)
        return BoxSet(
            ids=ids,
            boxes=np.clip(boxes, 0, limits).astype(np.int32),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            sizes=sizes,
        )

    def _note_clipped(self, split: str, count: int) -> None:
        note = f"{split}: {count} boxes reach outside their image and are clipped"
        if count and note not in self.notes:
            self.notes = (*self.notes, note)

    def _check_disjoint(self) -> None:
        seen: dict[str, str] = {}
        for name, split in self._splits.items():
            for image_id in split.ids:
                other = seen.setdefault(image_id, name)
                if other != name:
                    raise DataError(
                        f"Expected splits without common images but '{image_id}' is in '{other}' and '{name}'.",
                        self._source,
                    )

    def _checked_names(self, names: Sequence[str] | None) -> tuple[str, ...]:
        found = np.unique(np.concatenate([split.labels for split in self._splits.values()]))
        if names is None:
            names = [f"class {label}" for label in range(int(found[-1]) + 1)]
        absent = sorted(set(range(len(names))) - set(found.tolist()))
        if absent or int(found[-1]) >= len(names):
            problem = f"label {absent[0]} does not occur" if absent else f"label {int(found[-1])} does"
            raise DataError(
                f"Expected the labels 0..{len(names) - 1} to be used, and no others, but {problem}.", self._source
            )
        return tuple(names)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name, split in self._splits.items():
            digest.update(f"{name}\n".encode())
            digest.update("\n".join(split.ids).encode())
            digest.update(split.labels.tobytes())
        return digest.hexdigest()[:8]
