"""Where localization goes wrong: part of the object, more than the object, several instances, or something else.

Source: Gao et al. 2021 (TS-CAM), localization errors; metrics spec, section 10. Each image gets exactly one label, by
the first rule that holds:

1. the class is wrong: ``CLS_WRONG``;
2. best IoU over the ground truth > 0.5: ``RIGHT``;
3. several ground-truth boxes, at least two of them covered by more than 30 %: ``M_INS`` (multi-instance);
4. more than half of the box lies on the best target: ``LPE`` (localization part error);
5. at least 70 % of the best target is covered: ``LME`` (localization more error);
6. else ``OTHER``.

Rates are shares of all images, those with a wrong class included.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import DataError
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.metrics.curve_counts import TauIndex, undifference
from wsol_bench.metrics.curve_iou import check_ground_truth
from wsol_bench.metrics.iou import check_boxes
from wsol_bench.metrics.saved_state import State, restore


class ErrorType(IntEnum):
    """The six outcomes of an image."""

    CLS_WRONG = 0
    RIGHT = 1
    M_INS = 2
    LPE = 3
    LME = 4
    OTHER = 5


@dataclass(frozen=True)
class ErrorRates:
    """Rates of the six outcomes over tau.

    Attributes:
        n: number of images.
        taus: ``[T]``.
        rates: ``[6, T]`` percent of all images, rows in the order of :class:`ErrorType`; columns sum to 100.
    """

    n: int
    taus: NDArray[np.float64]
    rates: NDArray[np.float64]

    def at(self, index: int) -> dict[str, float]:
        """Returns the rates at ``taus[index]`` by lower-case name (``lpe``, ``lme``, ``m_ins``, ...)."""
        return {kind.name.lower(): float(self.rates[kind, index]) for kind in ErrorType}


def error_types_of_boxes(
    boxes: ArrayLike, gt_boxes: ArrayLike, gt_offsets: ArrayLike, class_right: ArrayLike | None = None
) -> NDArray[np.uint8]:
    """Labels one predicted box per image.

    Args:
        boxes: ``[N, 4]`` predicted boxes in the frame; ``0, 0, 0, 0`` (nothing found) is ``OTHER``.
        gt_boxes: ``[M, 4]`` ground-truth boxes in the frame.
        gt_offsets: ``[N + 1]``.
        class_right: ``[N]`` bool; None takes every class as right (GT-known localization).

    Returns:
        ``[N]`` uint8 values of :class:`ErrorType`.

    Raises:
        DataError: boxes are malformed, an image has no ground truth, or lengths differ.
    """
    predicted = check_boxes(np.asarray(boxes).reshape(-1, 4)).astype(np.int16)
    truth, truth_offsets = check_ground_truth(gt_boxes, gt_offsets, len(predicted))
    labels = np.empty(len(predicted), dtype=np.uint8)
    _label(predicted, np.arange(len(predicted) + 1), truth, truth_offsets, _flags(class_right, len(predicted)), labels)
    return labels


class ErrorTypes:
    """Accumulates the outcomes of largest-contour boxes at every tau.

    Read the rates at the global tau of the reported policy. The best box over all tau per image, as some code takes,
    is an oracle and hides errors.

    Args:
        taus: ascending grid in [0, 1).
    """

    def __init__(self, taus: ArrayLike) -> None:
        self._index = TauIndex.of(taus)
        self._n = 0
        self._counts = np.zeros((len(ErrorType), len(self._index)), dtype=np.int64)

    def update(
        self, curves: BoxCurves, gt_boxes: ArrayLike, gt_offsets: ArrayLike, class_right: ArrayLike | None = None
    ) -> None:
        """Adds a batch; arguments and errors as in :func:`error_types_of_boxes`, with curves instead of boxes."""
        truth, truth_offsets = check_ground_truth(gt_boxes, gt_offsets, len(curves))
        labels = np.empty(len(curves.cuts), dtype=np.uint8)
        _label(curves.boxes, curves.offsets, truth, truth_offsets, _flags(class_right, len(curves)), labels)
        _count(curves.max_levels, curves.cuts, labels, curves.offsets, self._index.first, self._counts)
        self._n += len(curves)

    def merge(self, other: ErrorTypes) -> None:
        """Adds the counts of another accumulator over the same grid.

        Raises:
            DataError: the grids differ.
        """
        if not np.array_equal(self._index.taus, other._index.taus):
            raise DataError("Expected shards scored with equal taus but they differ.")
        self._n += other._n
        self._counts += other._counts

    def compute(self) -> ErrorRates:
        """Returns the rates of the images seen so far.

        Raises:
            DataError: no image was added.
        """
        if self._n == 0:
            raise DataError("Expected at least one image but none was scored.")
        return ErrorRates(self._n, self._index.taus, undifference(self._counts) * 100.0 / self._n)

    def state(self) -> State:
        """Returns everything that was accumulated, as arrays for ``np.savez``."""
        return {"n": np.asarray(self._n), "counts": self._counts}

    def load_state(self, state: State) -> None:
        """Replaces the counts by those of :meth:`state`.

        Raises:
            DataError: the arrays do not fit the grid.
        """
        saved = restore(self.state(), state)
        self._n, self._counts = int(saved["n"]), saved["counts"]


def _flags(class_right: ArrayLike | None, count: int) -> NDArray[np.bool_]:
    flags = np.ones(count, dtype=np.bool_) if class_right is None else np.asarray(class_right, dtype=np.bool_)
    if flags.shape != (count,):
        raise DataError(f"Expected one class_right per image ({count}) but got shape {list(flags.shape)}.")
    return flags


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _label(
    boxes: NDArray[np.int16],
    offsets: NDArray[np.int64],
    truth: NDArray[np.int64],
    truth_offsets: NDArray[np.int64],
    class_right: NDArray[np.bool_],
    labels: NDArray[np.uint8],
) -> None:
    for i in range(len(offsets) - 1):
        for k in range(offsets[i], offsets[i + 1]):
            if not class_right[i]:
                labels[k] = 0
                continue
            x0, y0 = np.int64(boxes[k, 0]), np.int64(boxes[k, 1])
            x1, y1 = np.int64(boxes[k, 2]), np.int64(boxes[k, 3])
            area = (x1 - x0 + 1) * (y1 - y0 + 1)
            best, best_overlap, best_target, covered = -1.0, np.int64(0), np.int64(1), 0
            for g in range(truth_offsets[i], truth_offsets[i + 1]):
                width = max(0, min(x1, truth[g, 2]) - max(x0, truth[g, 0]) + 1)
                height = max(0, min(y1, truth[g, 3]) - max(y0, truth[g, 1]) + 1)
                overlap = width * height
                target = (truth[g, 2] - truth[g, 0] + 1) * (truth[g, 3] - truth[g, 1] + 1)
                iou = overlap / (area + target - overlap)
                if iou > best:
                    best, best_overlap, best_target = iou, overlap, target
                if overlap / target > 0.3:
                    covered += 1
            several = truth_offsets[i + 1] - truth_offsets[i] > 1
            if best > 0.5:
                labels[k] = 1
            elif x0 == 0 and y0 == 0 and x1 == 0 and y1 == 0:
                # The empty box would pass for a part if an object covered the corner pixel.
                labels[k] = 5
            elif several and covered >= 2:
                labels[k] = 2
            elif best_overlap / area > 0.5:
                labels[k] = 3
            elif best_overlap / best_target >= 0.7:
                labels[k] = 4
            else:
                labels[k] = 5


@numba.njit(cache=True, nogil=True)
def _count(
    max_levels: NDArray[np.uint8],
    cuts: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    first: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    num_taus = counts.shape[1]
    for i in range(len(offsets) - 1):
        row = first[max_levels[i]]
        previous = -1
        for k in range(offsets[i], offsets[i + 1]):
            start = row[cuts[k]]
            end = row[cuts[k + 1]] if k + 1 < offsets[i + 1] else num_taus
            if start >= end or labels[k] == previous:
                continue
            counts[labels[k], start] += 1
            if previous >= 0:
                counts[previous, start] -= 1
            previous = int(labels[k])
