"""What the threshold sweep yields: the boxes of a map at every cut, without the repetitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import UsageError

NUM_CUTS = 255
"""Cuts ``0..254`` of an 8-bit map; the foreground of cut ``t`` is ``q > t``."""


@dataclass(frozen=True)
class BoxCurves:
    """Largest-contour box of N maps at every cut, run-length coded along the cuts.

    Image ``i`` owns the segments ``offsets[i]:offsets[i + 1]``. Segment ``k`` holds its box from cut ``cuts[k]`` up to
    the cut before the next segment's; the first segment of an image starts at cut 0, the last one ends at cut 254.

    Attributes:
        max_levels: ``[N]`` uint8, the largest value of each 8-bit map (0: the map is empty at every cut).
        cuts: ``[K]`` uint8, first cut of each segment.
        boxes: ``[K, 4]`` int16, ``x0, y0, x1, y1`` in map pixels; ``0, 0, 0, 0`` where nothing exceeds the cut.
        offsets: ``[N + 1]`` int64.

    Raises:
        UsageError: arrays whose lengths contradict each other, or an image whose segments do not rise from cut 0.
    """

    max_levels: NDArray[np.uint8]
    cuts: NDArray[np.uint8]
    boxes: NDArray[np.int16]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        _check_offsets("BoxCurves", self.offsets, len(self.max_levels), {"cuts": self.cuts, "boxes": self.boxes})
        # The judge makes thousands of these: differences as wide integers would cost as much as reading a record.
        rising = self.cuts[1:] > self.cuts[:-1]
        firsts = self.offsets[:-1]
        rising[firsts[1:] - 1] = True
        if np.any(np.diff(self.offsets) < 1) or np.any(self.cuts[firsts] != 0) or not rising.all():
            raise UsageError(
                "Expected the segments of every image to start at cut 0 and to rise but got another order; fix: keep"
                " the segments of an image together, sorted by cut."
            )

    def __len__(self) -> int:
        return len(self.max_levels)

    def boxes_at(self, cuts: ArrayLike) -> NDArray[np.int16]:
        """Boxes of every image at the given cuts.

        Args:
            cuts: integers in 0..254, ``[T]`` for the same cuts in every image or ``[N, T]`` for its own in each (see
                ``wsol_bench.maps.thresholds.cuts_of_taus``).

        Returns:
            ``[N, T, 4]`` int16.

        Raises:
            UsageError: cuts of another shape, type or range.
        """
        wanted = np.asarray(cuts)
        if wanted.ndim not in (1, 2) or (wanted.ndim == 2 and len(wanted) != len(self)):
            raise UsageError(
                f"Expected cuts of shape [T] or [{len(self)}, T] but got shape {list(wanted.shape)}; fix: give one row"
                " of cuts per image, or one row for all."
            )
        if wanted.dtype.kind not in "iu" or (wanted.size and not 0 <= wanted.min() <= wanted.max() < NUM_CUTS):
            raise UsageError(
                "Expected whole cuts between 0 and 254 but got other values; fix: turn taus into cuts with"
                " wsol_bench.maps.thresholds.cuts_of_taus."
            )
        if not len(self):
            return np.zeros((0, wanted.shape[-1], 4), dtype=np.int16)
        # One key per (image, cut) makes the whole batch a single sorted list to search.
        images = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        keys = images * 256 + self.cuts
        queries = np.arange(len(self))[:, None] * 256 + wanted
        boxes: NDArray[np.int16] = self.boxes[np.searchsorted(keys, queries, side="right") - 1]
        return boxes

    def select(self, indices: ArrayLike | slice) -> BoxCurves:
        """Curves of the given images, in the given order; indices, which may repeat, a mask or a slice."""
        chosen = _chosen(len(self), indices)
        rows, offsets = _rows_of(self.offsets, chosen)
        return BoxCurves(self.max_levels[chosen], self.cuts[rows], self.boxes[rows], offsets)

    @staticmethod
    def concatenate(parts: Sequence[BoxCurves]) -> BoxCurves:
        """Curves of several batches, one after the other; no batch at all gives curves of no image."""
        return BoxCurves(
            np.concatenate([np.zeros(0, np.uint8), *(part.max_levels for part in parts)]),
            np.concatenate([np.zeros(0, np.uint8), *(part.cuts for part in parts)]),
            np.concatenate([np.zeros((0, 4), np.int16), *(part.boxes for part in parts)]),
            _joined_offsets([part.offsets for part in parts]),
        )


@dataclass(frozen=True)
class ContourSets:
    """Every contour of N maps (outer borders and holes) with the interval of cuts over which it lives.

    A contour whose shape changes while its box stays is one entry; a contour whose box changes starts a new one. At any
    cut the entries alive are as many as OpenCV's contours and have the same boxes.

    Attributes:
        max_levels: ``[N]`` uint8.
        boxes: ``[K, 4]`` int16, in map pixels.
        first_cuts: ``[K]`` uint8, lowest cut at which the contour exists.
        last_cuts: ``[K]`` uint8, highest cut at which it exists (inclusive).
        offsets: ``[N + 1]`` int64; the contours of image ``i`` are ``offsets[i]:offsets[i + 1]``. A cut without any
            contour is represented by a box ``0, 0, 0, 0``.

    Raises:
        UsageError: arrays whose lengths contradict each other, or an interval that ends before it starts.
    """

    max_levels: NDArray[np.uint8]
    boxes: NDArray[np.int16]
    first_cuts: NDArray[np.uint8]
    last_cuts: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        columns: dict[str, NDArray[Any]] = {
            "boxes": self.boxes,
            "first_cuts": self.first_cuts,
            "last_cuts": self.last_cuts,
        }
        _check_offsets("ContourSets", self.offsets, len(self.max_levels), columns)
        if np.any(self.first_cuts > self.last_cuts) or np.any(self.last_cuts >= NUM_CUTS):
            raise UsageError(
                "Expected first_cuts <= last_cuts <= 254 but got an interval that breaks this; fix: check that the two"
                " columns were not swapped."
            )

    def __len__(self) -> int:
        return len(self.max_levels)

    def boxes_at(self, image: int, cut: int) -> NDArray[np.int16]:
        """Boxes ``[K, 4]`` of one image at one cut (0 to 254), in no particular order."""
        rows = slice(*self.offsets[image : image + 2])
        alive = (self.first_cuts[rows] <= cut) & (cut <= self.last_cuts[rows])
        return self.boxes[rows][alive]

    def counts(self) -> NDArray[np.int64]:
        """Number of candidate boxes of every image at every cut, ``[N, 255]``; an empty cut counts its zero box."""
        images = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        births = np.zeros((len(self), NUM_CUTS + 1), dtype=np.int64)
        np.add.at(births, (images, self.first_cuts), 1)
        np.subtract.at(births, (images, self.last_cuts.astype(np.int64) + 1), 1)
        return np.cumsum(births, axis=1)[:, :NUM_CUTS]

    def select(self, indices: ArrayLike | slice) -> ContourSets:
        """Contours of the given images, in the given order; indices, which may repeat, a mask or a slice."""
        chosen = _chosen(len(self), indices)
        rows, offsets = _rows_of(self.offsets, chosen)
        return ContourSets(
            self.max_levels[chosen], self.boxes[rows], self.first_cuts[rows], self.last_cuts[rows], offsets
        )

    @staticmethod
    def concatenate(parts: Sequence[ContourSets]) -> ContourSets:
        """Contours of several batches, one after the other; no batch at all gives contours of no image."""
        return ContourSets(
            np.concatenate([np.zeros(0, np.uint8), *(part.max_levels for part in parts)]),
            np.concatenate([np.zeros((0, 4), np.int16), *(part.boxes for part in parts)]),
            np.concatenate([np.zeros(0, np.uint8), *(part.first_cuts for part in parts)]),
            np.concatenate([np.zeros(0, np.uint8), *(part.last_cuts for part in parts)]),
            _joined_offsets([part.offsets for part in parts]),
        )


def _chosen(images: int, indices: ArrayLike | slice) -> NDArray[np.int64]:
    everything = np.arange(images, dtype=np.int64)
    if isinstance(indices, slice):
        return everything[indices]
    wanted = np.asarray(indices)
    try:
        chosen: NDArray[np.int64] = everything[wanted if wanted.size else np.zeros(0, np.int64)]
    except IndexError as error:
        raise UsageError(
            f"Expected indices of some of {images} images but got {wanted.dtype} values that point at none ({error});"
            " fix: give whole numbers below the number of images, or a mask with one entry per image."
        ) from None
    return chosen


def _rows_of(offsets: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that the chosen images own, in order, and the offsets among these rows."""
    lengths = np.diff(offsets)[chosen]
    ends = np.cumsum(lengths)
    rows = np.arange(lengths.sum()) + np.repeat(offsets[:-1][chosen] - (ends - lengths), lengths)
    return rows, np.concatenate([np.zeros(1, np.int64), ends])


def _joined_offsets(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    lengths = [np.diff(part) for part in parts]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]))])


def _check_offsets(kind: str, offsets: NDArray[np.int64], images: int, columns: Mapping[str, NDArray[Any]]) -> None:
    if len(offsets) != images + 1 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
        raise UsageError(
            f"Expected {kind}.offsets to rise from 0 with {images + 1} entries, one more than there are images, but got"
            f" {len(offsets)} entries; fix: put a 0 before the running total of the rows per image."
        )
    for name, column in columns.items():
        if len(column) != offsets[-1]:
            raise UsageError(
                f"Expected {kind}.{name} to have {offsets[-1]} rows, as its offsets say, but got {len(column)}; fix:"
                " slice the columns and the offsets together."
            )
