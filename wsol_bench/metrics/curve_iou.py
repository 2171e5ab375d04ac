"""IoU of threshold sweeps with ground truth: for each map, a step function over its cuts.

A map's boxes change at a few cuts only, so its best IoU is a short step function. It is computed once per step, never
once per threshold; :mod:`wsol_bench.metrics.curve_counts` spreads the steps over any tau grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import DataError
from wsol_bench.maps.curves import NUM_CUTS, BoxCurves, ContourSets
from wsol_bench.metrics.iou import check_boxes

_CONTOUR_CHUNK = 512


@dataclass(frozen=True)
class IouCurves:
    """Best IoU of N maps at every cut, run-length coded like :class:`~wsol_bench.maps.curves.BoxCurves`.

    Attributes:
        max_levels: ``[N]`` uint8, largest value of each 8-bit map.
        cuts: ``[K]`` uint8, first cut of each step; the first step of an image starts at cut 0.
        ious: ``[K]`` float64 in [0, 1], maximum over candidate boxes and ground-truth boxes.
        boxes: ``[K, 4]`` int16, the candidate that attains it, in map pixels (``0, 0, 0, 0`` if none overlaps).
        offsets: ``[N + 1]`` int64; image ``i`` owns the steps ``offsets[i]:offsets[i + 1]``.
    """

    max_levels: NDArray[np.uint8]
    cuts: NDArray[np.uint8]
    ious: NDArray[np.float64]
    boxes: NDArray[np.int16]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.max_levels)

    def steps_at(self, cuts: ArrayLike) -> NDArray[np.int64]:
        """Returns for each image the index of its step at a cut.

        Args:
            cuts: one cut ``0..254`` per image ``[N]``, or one for all.

        Returns:
            ``[N]`` int64 indices into ``ious`` and ``boxes``.
        """
        wanted = np.broadcast_to(np.asarray(cuts, dtype=np.int64), (len(self),))
        # One ascending key for all images makes a single binary search of N look-ups.
        keys = np.repeat(np.arange(len(self)), np.diff(self.offsets)) * 256 + self.cuts
        found: NDArray[np.int64] = np.searchsorted(keys, np.arange(len(self)) * 256 + wanted, side="right") - 1
        return found

    def at_tau(self, tau: float) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        """Returns best IoU ``[N]`` and the box attaining it ``[N, 4]`` at the threshold ``tau`` in [0, 1).

        The cut is ``int(tau * max_level)``, as in the reference evaluator.
        """
        steps = self.steps_at((np.float64(tau) * self.max_levels).astype(np.int64))
        return self.ious[steps], self.boxes[steps]


def iou_of_curves(curves: BoxCurves, gt_boxes: ArrayLike, gt_offsets: ArrayLike) -> IouCurves:
    """Best IoU of the largest-contour box at every cut.

    Args:
        curves: boxes of N maps.
        gt_boxes: ``[M, 4]`` ground-truth boxes in the frame of the maps, inclusive corners.
        gt_offsets: ``[N + 1]``; the boxes of image ``i`` are ``gt_boxes[gt_offsets[i]:gt_offsets[i + 1]]``.

    Raises:
        DataError: an image has no ground-truth box, boxes are malformed, or lengths differ.
    """
    truth, truth_offsets = check_ground_truth(gt_boxes, gt_offsets, len(curves))
    ious = np.empty(len(curves.cuts), dtype=np.float64)
    _best_ious(curves.boxes, curves.offsets, truth, truth_offsets, ious)
    return IouCurves(curves.max_levels, curves.cuts, ious, curves.boxes, curves.offsets)


def iou_of_contours(contours: ContourSets, gt_boxes: ArrayLike, gt_offsets: ArrayLike) -> IouCurves:
    """Best IoU over all contours alive at each cut, holes included (multi-contour mode).

    Arguments and errors as in :func:`iou_of_curves`.
    """
    truth, truth_offsets = check_ground_truth(gt_boxes, gt_offsets, len(contours))
    ious = np.empty(len(contours.first_cuts), dtype=np.float64)
    _best_ious(contours.boxes, contours.offsets, truth, truth_offsets, ious)
    cuts, values, sources, counts = [], [], [], []
    for start in range(0, len(contours), _CONTOUR_CHUNK):
        part = contours.offsets[start : start + _CONTOUR_CHUNK + 1]
        chunk = _best_alive(contours.first_cuts, contours.last_cuts, ious, part)
        cuts.append(chunk[0])
        values.append(chunk[1])
        sources.append(chunk[2])
        counts.append(chunk[3])
    source = np.concatenate(sources) if sources else np.zeros(0, np.int64)
    boxes = np.zeros((len(source), 4), dtype=np.int16)
    overlapping = source >= 0
    boxes[overlapping] = contours.boxes[source[overlapping]]
    return IouCurves(
        max_levels=contours.max_levels,
        cuts=np.concatenate(cuts) if cuts else np.zeros(0, np.uint8),
        ious=np.concatenate(values) if values else np.zeros(0, np.float64),
        boxes=boxes,
        offsets=np.concatenate([np.zeros(1, np.int64), *counts]).cumsum(),
    )


def curves_of_boxes(boxes: ArrayLike) -> BoxCurves:
    """Wraps one box per image (Otsu boxes, pseudo-boxes) as curves that do not depend on the threshold.

    Args:
        boxes: ``[N, 4]`` boxes in the frame.
    """
    single = np.asarray(boxes).astype(np.int16).reshape(-1, 4)
    count = len(single)
    return BoxCurves(
        max_levels=np.full(count, NUM_CUTS, dtype=np.uint8),
        cuts=np.zeros(count, dtype=np.uint8),
        boxes=single,
        offsets=np.arange(count + 1, dtype=np.int64),
    )


def check_ground_truth(
    gt_boxes: ArrayLike, gt_offsets: ArrayLike, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns boxes and offsets as int64 after checking that ``count`` images have at least one valid box each.

    Raises:
        DataError: see above.
    """
    offsets = np.asarray(gt_offsets, dtype=np.int64)
    boxes = check_boxes(np.asarray(gt_boxes).reshape(-1, 4))
    if offsets.shape != (count + 1,) or offsets[0] < 0 or offsets[-1] > len(boxes):
        raise DataError(
            f"Expected ground truth for {count} images (offsets of length {count + 1} into {len(boxes)} boxes) but got "
            f"offsets of length {offsets.size}; fix: select the ground truth of exactly the images that are scored."
        )
    lonely = np.flatnonzero(np.diff(offsets) <= 0)
    if lonely.size:
        raise DataError(
            f"Expected at least one ground-truth box for each image but {lonely.size} of {count} have none, the first "
            f"at position {lonely[0]}; fix: add the box or leave the image out of the split."
        )
    return boxes, offsets


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _best_ious(
    boxes: NDArray[np.int16],
    offsets: NDArray[np.int64],
    truth: NDArray[np.int64],
    truth_offsets: NDArray[np.int64],
    ious: NDArray[np.float64],
) -> None:
    for i in range(len(offsets) - 1):
        for k in range(offsets[i], offsets[i + 1]):
            x0, y0 = np.int64(boxes[k, 0]), np.int64(boxes[k, 1])
            x1, y1 = np.int64(boxes[k, 2]), np.int64(boxes[k, 3])
            area = (x1 - x0 + 1) * (y1 - y0 + 1)
            best = 0.0
            for g in range(truth_offsets[i], truth_offsets[i + 1]):
                width = min(x1, truth[g, 2]) - max(x0, truth[g, 0]) + 1
                height = min(y1, truth[g, 3]) - max(y0, truth[g, 1]) + 1
                if width <= 0 or height <= 0:
                    continue
                overlap = width * height
                target = (truth[g, 2] - truth[g, 0] + 1) * (truth[g, 3] - truth[g, 1] + 1)
                iou = overlap / (area + target - overlap)
                if iou > best:
                    best = iou
            ious[k] = best


@numba.njit(cache=True, nogil=True)
def _best_alive(
    first_cuts: NDArray[np.uint8], last_cuts: NDArray[np.uint8], ious: NDArray[np.float64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    count = len(offsets) - 1
    cuts = np.empty(count * NUM_CUTS, dtype=np.uint8)
    values = np.empty(count * NUM_CUTS, dtype=np.float64)
    sources = np.empty(count * NUM_CUTS, dtype=np.int64)
    counts = np.empty(count, dtype=np.int64)
    best = np.empty(NUM_CUTS, dtype=np.float64)
    source = np.empty(NUM_CUTS, dtype=np.int64)
    used = 0
    for i in range(count):
        best[:] = 0.0
        source[:] = -1
        for k in range(offsets[i], offsets[i + 1]):
            iou = ious[k]
            if iou > 0.0:
                for cut in range(first_cuts[k], np.int64(last_cuts[k]) + 1):
                    if iou > best[cut]:
                        best[cut] = iou
                        source[cut] = k
        begin = used
        for cut in range(NUM_CUTS):
            if cut == 0 or source[cut] != source[cut - 1]:
                cuts[used] = cut
                values[used] = best[cut]
                sources[used] = source[cut]
                used += 1
        counts[i] = used - begin
    return cuts[:used].copy(), values[:used].copy(), sources[:used].copy(), counts
