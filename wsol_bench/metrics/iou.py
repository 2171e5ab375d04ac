"""Overlap of boxes with inclusive corners: a box from ``x0`` to ``x1`` is ``x1 - x0 + 1`` pixels wide.

Source: Choe et al. 2020, evaluation code; metrics spec, sections 4 and 10.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import DataError


def box_iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of boxes, element by element with broadcasting.

    Args:
        a: ``[..., 4]`` integer boxes ``x0, y0, x1, y1``, inclusive corners.
        b: boxes of a shape that broadcasts with ``a``.

    Returns:
        Float64 array of the broadcast shape without its last axis, values in [0, 1]. No box is empty under this
        convention: even ``0, 0, 0, 0`` covers one pixel, so the union is never zero.

    Raises:
        DataError: a coordinate is negative, or ``x1 < x0``, or ``y1 < y0``.

    Example:
        >>> float(box_iou([1, 2, 5, 6], [3, 1, 4, 5]) * 27)
        8.0
    """
    first, second = check_boxes(a), check_boxes(b)
    intersection = _intersection(first, second)
    union = _area(first) + _area(second) - intersection
    iou: NDArray[np.float64] = intersection / union
    return iou


def box_iop(predicted: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Share of the predicted box that lies on the target: intersection over the area of ``predicted``.

    Shapes, values and errors as in :func:`box_iou`. Called IoB in the code of TS-CAM.
    """
    first, second = check_boxes(predicted), check_boxes(target)
    return _intersection(first, second) / _area(first)


def box_iog(predicted: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Share of the target that the predicted box covers: intersection over the area of ``target``.

    Shapes, values and errors as in :func:`box_iou`. Called IoA in papers.
    """
    first, second = check_boxes(predicted), check_boxes(target)
    return _intersection(first, second) / _area(second)


def best_iou(boxes: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Best IoU of each box with any of the targets.

    Args:
        boxes: ``[K, 4]`` candidates.
        targets: ``[M, 4]`` ground-truth boxes of the same image, ``M >= 1``.

    Returns:
        ``[K]`` float64. The score of an image with several candidates is the maximum of these.

    Raises:
        DataError: there is no target, or a box is malformed (see :func:`box_iou`).
    """
    candidates, truth = check_boxes(boxes), check_boxes(targets)
    if truth.size == 0:
        raise DataError("Expected at least one ground-truth box but got none; fix: leave the image out of the split.")
    best: NDArray[np.float64] = box_iou(candidates[..., None, :], truth).max(axis=-1)
    return best


def check_boxes(boxes: ArrayLike) -> NDArray[np.int64]:
    """Returns ``boxes`` as int64 after checking that each is ``0 <= x0 <= x1`` and ``0 <= y0 <= y1``.

    Raises:
        DataError: the last axis is not 4 long, values are not integers, or a box breaks the rule; names the first one.
    """
    array = np.asarray(boxes)
    if array.ndim == 0 or array.shape[-1] != 4:
        raise DataError(f"Expected boxes of shape [..., 4] (x0, y0, x1, y1) but got shape {list(array.shape)}.")
    if array.dtype.kind not in "iu" and not (array.size == 0 or np.all(array == np.floor(array))):
        raise DataError(f"Expected integer box corners but got {array.dtype} with fractions; fix: truncate them first.")
    checked = array.astype(np.int64)
    bad = (checked[..., :2] < 0).any(-1) | (checked[..., 2:] < checked[..., :2]).any(-1)
    if bad.any():
        first = checked[bad][0].tolist()
        raise DataError(
            f"Expected boxes (x0, y0, x1, y1) with 0 <= x0 <= x1 and 0 <= y0 <= y1 but got {tuple(first)}; "
            "fix: boxes are corners, not (x, y, width, height), and must not be negative."
        )
    return checked


def _intersection(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + 1
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + 1
    overlap: NDArray[np.int64] = np.maximum(width, 0) * np.maximum(height, 0)
    return overlap


def _area(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    area: NDArray[np.int64] = (boxes[..., 2] - boxes[..., 0] + 1) * (boxes[..., 3] - boxes[..., 1] + 1)
    return area
