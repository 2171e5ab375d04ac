"""From IoU step functions to counts over a tau grid, without ever holding an image-by-tau matrix.

Counts are kept as differences along tau: a step that starts at grid index ``j`` changes one number, however long it
is. IoU sums are integers in units of ``2**-40``: sums are exact and do not depend on the order of images or shards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import UsageError
from wsol_bench.maps.thresholds import cuts_of_taus
from wsol_bench.metrics.curve_iou import IouCurves

IOU_UNIT = 2**40
"""IoU sums count multiples of ``1 / IOU_UNIT``; four million images fit into int64."""

_UNIT = np.float64(IOU_UNIT)


@dataclass(frozen=True)
class TauIndex:
    """Where each cut of a map falls on a tau grid.

    Attributes:
        taus: ``[T]`` float64, ascending, in [0, 1).
        first: ``[256, 256]`` int32; from grid index ``first[m, c]`` on, a map with maximum ``m`` is cut at ``c`` or
            above.
    """

    taus: NDArray[np.float64]
    first: NDArray[np.int32]

    @classmethod
    def of(cls, taus: ArrayLike) -> TauIndex:
        """Builds the index of an ascending grid.

        Raises:
            UsageError: the grid is empty, not ascending, or leaves [0, 1).
        """
        grid = np.atleast_1d(np.asarray(taus, dtype=np.float64))
        if grid.ndim != 1 or grid.size == 0 or np.any(np.diff(grid) <= 0) or not (grid[0] >= 0 and grid[-1] < 1):
            raise UsageError("Expected ascending thresholds tau in [0, 1) but got others; fix: sort them, drop 1.0.")
        cuts = cuts_of_taus(grid, np.arange(256, dtype=np.uint8))
        first = np.stack([np.searchsorted(row, np.arange(256), side="left") for row in cuts])
        return cls(grid, first.astype(np.int32))

    def __len__(self) -> int:
        return len(self.taus)


def add_counts(
    curves: IouCurves,
    index: TauIndex,
    iou_thresholds: NDArray[np.float64],
    groups: NDArray[np.bool_],
    hits: NDArray[np.int64],
    iou_sums: NDArray[np.int64],
) -> None:
    """Adds the images of ``curves`` to difference-coded counts; read them with :func:`undifference`.

    Args:
        curves: IoU step functions of N images.
        index: the tau grid, T thresholds.
        iou_thresholds: ``[D]``; an image hits if its IoU is at least the threshold.
        groups: ``[G, N]``, which images count in which group (all, top-1 right, ...).
        hits: ``[G, D, T]`` int64, added to in place.
        iou_sums: ``[G, T]`` int64 in units of ``1 / IOU_UNIT``, added to in place.
    """
    _add_counts(
        curves.max_levels, curves.cuts, curves.ious, curves.offsets, index.first, iou_thresholds, groups, hits, iou_sums
    )


def add_weighted_counts(
    curves: IouCurves,
    index: TauIndex,
    iou_thresholds: NDArray[np.float64],
    groups: NDArray[np.bool_],
    weights: NDArray[np.uint8],
    hits: NDArray[np.int32],
    iou_sums: NDArray[np.int64],
) -> None:
    """As :func:`add_counts`, once for each of R replicates with a weight per image.

    Args:
        curves: IoU step functions of N images.
        index: the tau grid, T thresholds.
        iou_thresholds: ``[D]``.
        groups: ``[G, N]``.
        weights: ``[N, R]`` uint8.
        hits: ``[G, D, T, R]`` int32, added to in place.
        iou_sums: ``[T, R]`` int64, added to in place; over all images, whatever their groups.
    """
    _add_weighted_counts(
        curves.max_levels,
        curves.cuts,
        curves.ious,
        curves.offsets,
        index.first,
        iou_thresholds,
        groups,
        weights,
        hits,
        iou_sums,
    )


def undifference(counts: NDArray[np.int64] | NDArray[np.int32], axis: int = -1) -> NDArray[np.int64]:
    """Returns plain counts from difference-coded ones, summed along the tau axis."""
    plain: NDArray[np.int64] = np.cumsum(counts, axis=axis, dtype=np.int64)
    return plain


def iou_at_taus(curves: IouCurves, taus: ArrayLike) -> NDArray[np.float64]:
    """Best IoU of every image at every threshold, ``[N, T]`` float64, for callers that need the whole matrix."""
    cuts = cuts_of_taus(np.atleast_1d(np.asarray(taus, dtype=np.float64)), curves.max_levels)
    columns = [curves.ious[curves.steps_at(cuts[:, j])] for j in range(cuts.shape[1])]
    return np.stack(columns, axis=1)


@numba.njit(cache=True, nogil=True)
def _add_counts(
    max_levels: NDArray[np.uint8],
    cuts: NDArray[np.uint8],
    ious: NDArray[np.float64],
    offsets: NDArray[np.int64],
    first: NDArray[np.int32],
    thresholds: NDArray[np.float64],
    groups: NDArray[np.bool_],
    hits: NDArray[np.int64],
    iou_sums: NDArray[np.int64],
) -> None:
    num_taus = iou_sums.shape[1]
    for i in range(len(offsets) - 1):
        row = first[max_levels[i]]
        reached = np.int64(0)
        previous = -1.0
        for k in range(offsets[i], offsets[i + 1]):
            start = row[cuts[k]]
            end = row[cuts[k + 1]] if k + 1 < offsets[i + 1] else num_taus
            if start >= end or ious[k] == previous:
                continue
            units = np.int64(ious[k] * _UNIT + 0.5)
            for g in range(len(groups)):
                if not groups[g, i]:
                    continue
                iou_sums[g, start] += units - reached
                for d in range(len(thresholds)):
                    if (ious[k] >= thresholds[d]) != (previous >= thresholds[d]):
                        hits[g, d, start] += 1 if ious[k] >= thresholds[d] else -1
            reached = units
            previous = ious[k]


@numba.njit(cache=True, nogil=True)
def _add_weighted_counts(
    max_levels: NDArray[np.uint8],
    cuts: NDArray[np.uint8],
    ious: NDArray[np.float64],
    offsets: NDArray[np.int64],
    first: NDArray[np.int32],
    thresholds: NDArray[np.float64],
    groups: NDArray[np.bool_],
    weights: NDArray[np.uint8],
    hits: NDArray[np.int32],
    iou_sums: NDArray[np.int64],
) -> None:
    num_taus, replicates = iou_sums.shape
    for i in range(len(offsets) - 1):
        row = first[max_levels[i]]
        reached = np.int64(0)
        previous = -1.0
        for k in range(offsets[i], offsets[i + 1]):
            start = row[cuts[k]]
            end = row[cuts[k + 1]] if k + 1 < offsets[i + 1] else num_taus
            if start >= end or ious[k] == previous:
                continue
            units = np.int64(ious[k] * _UNIT + 0.5)
            for r in range(replicates):
                iou_sums[start, r] += (units - reached) * np.int64(weights[i, r])
            for d in range(len(thresholds)):
                now, before = ious[k] >= thresholds[d], previous >= thresholds[d]
                if now == before:
                    continue
                for g in range(len(groups)):
                    if not groups[g, i]:
                        continue
                    if now:
                        for r in range(replicates):
                            hits[g, d, start, r] += np.int32(weights[i, r])
                    else:
                        for r in range(replicates):
                            hits[g, d, start, r] -= np.int32(weights[i, r])
            reached = units
            previous = ious[k]
