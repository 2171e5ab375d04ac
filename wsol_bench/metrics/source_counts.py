"""Counts over a tau grid for several sets of boxes at once: what :mod:`curve_iou` and :mod:`curve_counts` give, fused.

The judge compares the same box curves with every annotation source, thousands of times. Here each image's steps are
read once for all sources, and no IoU leaves the processor's cache. Results equal the two-step way bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.metrics.curve_counts import IOU_UNIT, TauIndex, undifference
from wsol_bench.metrics.curve_iou import check_ground_truth

_UNIT = np.float64(IOU_UNIT)


@dataclass(frozen=True)
class StackedBoxes:
    """Boxes of S sources over the same N images, in one frame.

    Attributes:
        boxes: ``[M, 4]`` int32, all sources one after the other.
        offsets: ``[S, N + 1]`` int64; the boxes of image ``i`` in source ``s`` are
            ``boxes[offsets[s, i]:offsets[s, i + 1]]``.
    """

    boxes: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, sources: Sequence[BoxSet], ids: Sequence[str], frame: int) -> StackedBoxes:
        """Selects the boxes of ``ids`` from every source and scales them to a square frame.

        Raises:
            DataError: an image has no box in a source, or boxes are malformed.
        """
        boxes, offsets, start = [], [], 0
        for source in sources:
            chosen = source.select(ids)
            checked, own_offsets = check_ground_truth(chosen.in_frame(frame, frame), chosen.offsets, len(ids))
            boxes.append(checked.astype(np.int32))
            offsets.append(own_offsets + start)
            start += len(checked)
        if not sources:
            return cls(np.zeros((0, 4), dtype=np.int32), np.zeros((0, len(ids) + 1), dtype=np.int64))
        return cls(np.concatenate(boxes), np.stack(offsets))


def count_sources(
    curves: BoxCurves,
    targets: StackedBoxes,
    index: TauIndex,
    iou_thresholds: NDArray[np.float64],
    groups: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts hits and sums IoUs over all images, for every source and threshold.

    Args:
        curves: largest-contour boxes of N maps.
        targets: what they are compared with, S sources.
        index: the tau grid, T thresholds.
        iou_thresholds: ``[D]``, rising; an image hits if its best IoU is at least the threshold.
        groups: ``[G, N]``, which images count as hits in which group.

    Returns:
        Hits ``[S, G, D, T]`` and IoU sums ``[S, T]`` in units of ``1 / IOU_UNIT`` over all images, both int64.
    """
    sources = len(targets.offsets)
    hits = np.zeros((sources, len(groups), len(iou_thresholds), len(index)), dtype=np.int64)
    sums = np.zeros((sources, len(index)), dtype=np.int64)
    _count(
        curves.max_levels,
        curves.cuts,
        # Free of charge for curves as records hold them, one coordinate after the other.
        np.ascontiguousarray(curves.boxes.T),
        curves.offsets,
        targets.boxes,
        targets.offsets,
        index.first,
        iou_thresholds,
        groups,
        hits,
        sums,
    )
    return undifference(hits), undifference(sums)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _count(
    max_levels: NDArray[np.uint8],
    cuts: NDArray[np.uint8],
    planes: NDArray[np.int16],
    offsets: NDArray[np.int64],
    truth: NDArray[np.int32],
    truth_offsets: NDArray[np.int64],
    first: NDArray[np.int32],
    thresholds: NDArray[np.float64],
    groups: NDArray[np.bool_],
    hits: NDArray[np.int64],
    sums: NDArray[np.int64],
) -> None:
    num_taus = sums.shape[1]
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    ious = np.empty(longest, dtype=np.float64)
    areas = np.empty(longest, dtype=np.int32)
    # Unsigned, because every signed index is checked for being negative.
    starts = np.empty(longest, dtype=np.uint32)
    kept = np.empty(longest, dtype=np.uint32)
    # Whoever has reached l levels stays there as long as the IoU lies between bounds l and l + 1, as it does mostly.
    bounds = np.empty(len(thresholds) + 2, dtype=np.float64)
    bounds[0], bounds[-1] = -np.inf, np.inf
    bounds[1:-1] = thresholds
    one = np.int32(1)
    zero = np.int32(0)
    for i in range(len(offsets) - 1):
        begin, end = offsets[i], offsets[i + 1]
        x0, y0 = planes[0, begin:end], planes[1, begin:end]
        x1, y1 = planes[2, begin:end], planes[3, begin:end]
        row = first[max_levels[i]]
        num_kept = 0
        for k in range(end - begin):
            areas[k] = (np.int32(x1[k]) - np.int32(x0[k]) + one) * (np.int32(y1[k]) - np.int32(y0[k]) + one)
            start = row[cuts[begin + k]]
            stop = row[cuts[begin + k + 1]] if begin + k + 1 < end else num_taus
            # On a coarse grid several cuts share a threshold: the last one counts.
            if start < stop:
                starts[num_kept] = start
                kept[num_kept] = k
                num_kept += 1
        for s in range(len(truth_offsets)):
            ious[: end - begin] = 0.0
            for g in range(truth_offsets[s, i], truth_offsets[s, i + 1]):
                gx0, gy0, gx1, gy1 = truth[g, 0], truth[g, 1], truth[g, 2], truth[g, 3]
                target = (gx1 - gx0 + one) * (gy1 - gy0 + one)
                for k in range(end - begin):
                    width = min(np.int32(x1[k]), gx1) - max(np.int32(x0[k]), gx0) + one
                    height = min(np.int32(y1[k]), gy1) - max(np.int32(y0[k]), gy0) + one
                    overlap = max(width, zero) * max(height, zero)
                    iou = np.float64(overlap) / np.float64(areas[k] + (target - overlap))
                    ious[k] = max(ious[k], iou)
            reached, previous, level = np.int64(0), -1.0, 0
            for j in range(num_kept):
                iou = ious[kept[j]]
                if iou == previous:
                    continue
                start = starts[j]
                units = np.int64(iou * _UNIT + 0.5)
                sums[s, start] += units - reached
                reached, previous = units, iou
                if bounds[level] <= iou < bounds[level + 1]:
                    continue
                now = 0
                for d in range(len(thresholds)):
                    now += iou >= thresholds[d]
                for g in range(len(groups)):
                    if groups[g, i]:
                        for d in range(level, now):
                            hits[s, g, d, start] += 1
                        for d in range(now, level):
                            hits[s, g, d, start] -= 1
                level = now
