"""Masks of a split: which files belong to which image, and what they say about each pixel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import DataError

FOREGROUND = 1
"""Mask value of object pixels; 0 is background."""

IGNORE = 255
"""Mask value of pixels that count neither as object nor as background."""


@dataclass(frozen=True, eq=False)
class MaskTable:
    """Mask files of N images, several instances per image allowed, stored ragged.

    Attributes:
        ids: N image ids, in order.
        masks: M paths under the dataset root, one per instance.
        offsets: ``[N + 1]`` int64; the masks of image ``i`` are ``masks[offsets[i]:offsets[i + 1]]``. An image with no
            mask is background everywhere.
        ignore: N paths of the region that counts neither as object nor as background; an empty string where an image
            has none.
    """

    ids: tuple[str, ...]
    masks: tuple[str, ...]
    offsets: NDArray[np.int64]
    ignore: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_lists(cls, ids: tuple[str, ...], masks: list[list[str]], ignore: tuple[str, ...]) -> MaskTable:
        """Builds a table from one list of mask paths per image."""
        return cls(
            ids=ids,
            masks=tuple(mask for of_image in masks for mask in of_image),
            offsets=np.concatenate([[0], np.cumsum([len(of_image) for of_image in masks])]).astype(np.int64),
            ignore=ignore,
        )

    def select(self, ids: tuple[str, ...]) -> MaskTable:
        """Returns the masks of some images, in that order.

        Raises:
            DataError: an id has no entry in this table.
        """
        if ids == self.ids:
            return self
        index = {image_id: i for i, image_id in enumerate(self.ids)}
        missing = [image_id for image_id in ids if image_id not in index]
        if missing:
            raise DataError(f"Expected masks of {len(ids)} images but {len(missing)} are not listed: '{missing[0]}'.")
        rows = [index[image_id] for image_id in ids]
        return MaskTable.from_lists(ids, [list(self.of(row)) for row in rows], tuple(self.ignore[row] for row in rows))

    def of(self, index: int) -> tuple[str, ...]:
        """Returns the mask paths of the image at ``index``."""
        return self.masks[self.offsets[index] : self.offsets[index + 1]]


class MaskSet(ABC):
    """Masks of N images, drawn when they are asked for.

    Attributes:
        ids: N image ids, in order.
        counts: ``[N]`` int64, number of instances of each image.
        has_ignore: ``[N]`` bool, which images name an ignore region.
    """

    ids: tuple[str, ...]
    counts: NDArray[np.int64]
    has_ignore: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def draw(self, index: int, width: int, height: int) -> NDArray[np.uint8]:
        """Returns ``[height, width]`` uint8: :data:`FOREGROUND`, 0 for background, :data:`IGNORE`.

        The union of all instances; a pixel that is both ignored and object is object. Everything is resized with
        nearest neighbour before it is thresholded at 0.5 (Choe et al. 2020, evaluation code).

        Raises:
            DataError: a mask is missing or damaged; names the file.
        """


class MaskFiles(MaskSet):
    """Masks kept as image files.

    Args:
        table: which file belongs to which image.
        locate: from a path of the table to the file.
    """

    def __init__(self, table: MaskTable, locate: Callable[[str], Path]) -> None:
        self.table = table
        self.ids = table.ids
        self.counts = np.diff(table.offsets)
        self.has_ignore = np.array([bool(path) for path in table.ignore], dtype=np.bool_)
        self._locate = locate

    def draw(self, index: int, width: int, height: int) -> NDArray[np.uint8]:
        """Returns ``[height, width]`` uint8, see :meth:`MaskSet.draw`; mask and image may differ in size."""
        drawn = np.zeros((height, width), dtype=np.uint8)
        if self.table.ignore[index]:
            drawn[read_mask(self._locate(self.table.ignore[index]), width, height)] = IGNORE
        for path in self.table.of(index):
            drawn[read_mask(self._locate(path), width, height)] = FOREGROUND
        return drawn


def read_mask(path: Path, width: int, height: int) -> NDArray[np.bool_]:
    """Reads a mask file as grey and resizes it with nearest neighbour; above 0.5 is the object or region.

    Raises:
        DataError: the file is missing or no image.
    """
    import cv2

    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if grey is None:
        problem = "it cannot be read as an image" if path.is_file() else "there is no such file"
        raise DataError(
            f"Expected a mask image but {problem}; fix: check the folder of the masks (--masks, or --root).", path
        )
    resized = cv2.resize(grey.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    inside: NDArray[np.bool_] = resized > 0.5
    return inside
