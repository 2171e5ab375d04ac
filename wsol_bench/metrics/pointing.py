"""Pointing game: does the peak of the map lie on the object?

Source: Zhang et al. 2016 (pointing game; their version tolerates 15 pixels); metrics spec, section 12.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.annotations.masks import FOREGROUND, IGNORE
from wsol_bench.errors import DataError, UsageError
from wsol_bench.metrics.curve_iou import check_ground_truth


class PointingGame:
    """Accumulates hits and misses of map peaks.

    Peaks are ``x, y`` of the first maximum in row-major order; ``-1, -1`` stands for a map without a peak (constant or
    empty), which is a miss.

    Args:
        tolerance: a peak within this Euclidean distance in pixels of the object hits as well; 0 asks for the object
            itself.

    Raises:
        UsageError: the tolerance is negative.
    """

    def __init__(self, tolerance: float = 0.0) -> None:
        if not tolerance >= 0:
            raise UsageError(f"Expected a tolerance of at least 0 pixels but got {tolerance}.")
        self.tolerance = tolerance
        self.hits = 0
        self.misses = 0
        self.excluded = 0

    def update_boxes(self, peaks: ArrayLike, gt_boxes: ArrayLike, gt_offsets: ArrayLike) -> NDArray[np.bool_]:
        """Adds N peaks against boxes with inclusive corners; any box of the image counts.

        Args:
            peaks: ``[N, 2]`` integer ``x, y`` in the frame.
            gt_boxes: ``[M, 4]`` boxes in the frame.
            gt_offsets: ``[N + 1]``.

        Returns:
            ``[N]`` bool, the hits.

        Raises:
            DataError: boxes are missing or malformed, or lengths differ.
        """
        hits = hits_on_boxes(peaks, gt_boxes, gt_offsets, self.tolerance)
        self.hits += int(hits.sum())
        self.misses += int((~hits).sum())
        return hits

    def update_masks(self, peaks: ArrayLike, masks: ArrayLike) -> NDArray[np.bool_]:
        """Adds N peaks against masks ``[N, H, W]`` (1 object, 0 background, 255 ignore).

        A peak on an ignored pixel counts neither as hit nor as miss.

        Returns:
            ``[N]`` bool, the hits.

        Raises:
            DataError: shapes do not fit, or a peak lies outside its mask.
        """
        points, labels = _check_peaks(peaks), np.asarray(masks)
        if labels.ndim != 3 or len(labels) != len(points):
            raise DataError(f"Expected masks [{len(points)}, H, W] but got shape {list(labels.shape)}.")
        hits = np.zeros(len(points), dtype=np.bool_)
        for i, (x, y) in enumerate(points.tolist()):
            if x < 0:
                self.misses += 1
                continue
            if x >= labels.shape[2] or y >= labels.shape[1]:
                size = f"{labels.shape[2]}x{labels.shape[1]}"
                raise DataError(f"Expected peaks inside masks of {size} but got ({x}, {y}).")
            if labels[i, y, x] == IGNORE:
                self.excluded += 1
                continue
            hits[i] = _near_foreground(labels[i], x, y, self.tolerance)
            self.hits += int(hits[i])
            self.misses += int(not hits[i])
        return hits

    def merge(self, other: PointingGame) -> None:
        """Adds the counts of another game with the same tolerance.

        Raises:
            DataError: tolerances differ.
        """
        if self.tolerance != other.tolerance:
            raise DataError(f"Expected games with tolerance {self.tolerance} but got {other.tolerance}.")
        self.hits += other.hits
        self.misses += other.misses
        self.excluded += other.excluded

    def compute(self) -> float:
        """Returns ``100 * hits / (hits + misses)``.

        Raises:
            DataError: nothing was counted.
        """
        if self.hits + self.misses == 0:
            raise DataError("Expected at least one peak but none was counted.")
        return 100.0 * self.hits / (self.hits + self.misses)


def hits_on_boxes(
    peaks: ArrayLike, gt_boxes: ArrayLike, gt_offsets: ArrayLike, tolerance: float = 0.0
) -> NDArray[np.bool_]:
    """Returns which peaks lie on, or within ``tolerance`` pixels of, a box of their image; ``[N]`` bool.

    Arguments and errors as in :meth:`PointingGame.update_boxes`.
    """
    points = _check_peaks(peaks)
    boxes, offsets = check_ground_truth(gt_boxes, gt_offsets, len(points))
    boxes = boxes[offsets[0] : offsets[-1]]
    owners = np.repeat(np.arange(len(points)), np.diff(offsets))
    x, y = points[owners, 0], points[owners, 1]
    gap_x = np.maximum(np.maximum(boxes[:, 0] - x, x - boxes[:, 2]), 0)
    gap_y = np.maximum(np.maximum(boxes[:, 1] - y, y - boxes[:, 3]), 0)
    near = (gap_x**2 + gap_y**2 <= tolerance**2) & (x >= 0)
    hits = np.zeros(len(points), dtype=np.bool_)
    np.logical_or.at(hits, owners, near)
    return hits


def _check_peaks(peaks: ArrayLike) -> NDArray[np.int64]:
    points = np.asarray(peaks)
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "iu":
        raise DataError(f"Expected integer peaks [N, 2] (x, y) but got {points.dtype} of shape {list(points.shape)}.")
    return points.astype(np.int64)


def _near_foreground(labels: NDArray[np.generic], x: int, y: int, tolerance: float) -> bool:
    reach = math.floor(tolerance)
    top, left = max(y - reach, 0), max(x - reach, 0)
    window = labels[top : y + reach + 1, left : x + reach + 1]
    rows, columns = np.nonzero(window == FOREGROUND)
    return bool(((rows + top - y) ** 2 + (columns + left - x) ** 2 <= tolerance**2).any())
