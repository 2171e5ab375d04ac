"""Masks that lost a known share of their foreground, to study how selection copes with masks that are too small.

In the thesis (Murtaza, ETS Montreal, 2025, table 4.9) the level of a noisy mask is the share of foreground that erosion
removed. Removing pixels one by one in the order of their distance to the background hits every level to the pixel;
:func:`erode_mask_by_kernel` erodes ring by ring instead, as the thesis did, and stops before it would remove too much.

A mask that lost a share ``L`` of its foreground and gained nothing has a mask error of ``100 * L / 2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import DataError, UsageError


def erode_mask(mask: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Removes the share ``level`` of the foreground, outermost pixels first.

    Exactly ``floor(level * area)`` pixels go, in the order of :func:`removal_order`, so what is left at one level
    contains what is left at any higher one. Erode at the original resolution, before the mask is resized.

    Args:
        mask: ``[H, W]``, boolean or integer; whatever is not zero is foreground.
        level: in [0, 1], 0.25 for 25 %.

    Returns:
        A new ``[H, W]`` boolean mask. An empty mask stays empty.

    Raises:
        UsageError: ``level`` is out of range.
        DataError: ``mask`` is not two-dimensional.
    """
    return erode_mask_to_levels(mask, [level])[0]


def erode_mask_to_levels(mask: ArrayLike, levels: Sequence[float]) -> list[NDArray[np.bool_]]:
    """Erodes one mask to several levels for the price of one; otherwise as :func:`erode_mask`."""
    foreground = _foreground(mask)
    order = removal_order(foreground)
    made = []
    for level in levels:
        eroded = foreground.copy()
        eroded.reshape(-1)[order[: _num_removed(len(order), level)]] = False
        made.append(eroded)
    return made


def erode_mask_by_kernel(mask: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Erodes with a 3 x 3 ellipse, which is a cross, as often as the lost share stays within ``level``.

    Coarser than :func:`erode_mask`, noticeably so for small objects: one pass removes a whole ring. The image border
    counts as there. Arguments, result and errors are those of :func:`erode_mask`.
    """
    foreground = _foreground(mask)
    area = int(foreground.sum())
    keep = area - _num_removed(area, level)
    outside = not foreground.all()
    eroded = foreground
    while eroded.any():
        framed = np.pad(eroded, 1, constant_values=outside)
        smaller = eroded & framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
        if int(smaller.sum()) < keep:
            break
        eroded = smaller
    return eroded.copy()


def removal_order(mask: ArrayLike) -> NDArray[np.int64]:
    """Returns the foreground pixels in the order in which erosion by distance removes them.

    Distances are Euclidean, between pixel centres, and exact: they are compared as squared integers, so ties are real
    ties, which go row by row. The image border is no background, except where the mask covers the whole image.

    Args:
        mask: ``[H, W]``, boolean or integer; whatever is not zero is foreground.

    Returns:
        ``[area]`` int64 indices into the flattened mask.

    Raises:
        DataError: ``mask`` is not two-dimensional.
    """
    foreground = _foreground(mask)
    pixels = np.flatnonzero(foreground)
    distances = _squared_distances(foreground).reshape(-1)[pixels]
    order: NDArray[np.int64] = pixels[np.argsort(distances, kind="stable")]
    return order


def mask_error(exact: ArrayLike, degraded: ArrayLike) -> float:
    """Returns ``100 * (1 - ROC-AUC)`` of a degraded binary mask against the exact one, in percent.

    The ROC curve of a binary score has one corner, and the area under it is the mean of the true positive and the true
    negative rate.

    Args:
        exact: ``[H, W]`` mask.
        degraded: ``[H, W]`` mask.

    Returns:
        A value in [0, 100], or NaN where the exact mask is empty or covers the whole image: the AUC is undefined then,
        and averages leave such images out.

    Raises:
        DataError: a mask is not two-dimensional, or their shapes differ.
    """
    truth, found = _foreground(exact), _foreground(degraded)
    if truth.shape != found.shape:
        raise DataError(f"Expected two masks of one shape but got {list(truth.shape)} and {list(found.shape)}.")
    if truth.all() or not truth.any():
        return float("nan")
    true_positive_rate = np.count_nonzero(found & truth) / np.count_nonzero(truth)
    true_negative_rate = np.count_nonzero(~found & ~truth) / np.count_nonzero(~truth)
    return float(100 * (1 - (true_positive_rate + true_negative_rate) / 2))


def _foreground(mask: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.ndim != 2:
        raise DataError(f"Expected a mask [height, width] but got the shape {list(array.shape)}.")
    # A copy in row-major order: flat indices into it are those of the picture.
    return np.ascontiguousarray(array != 0)


def _num_removed(area: int, level: float) -> int:
    if not 0 <= level <= 1:
        raise UsageError(f"Expected an erosion level from 0 to 1 but got {level:g}; 25 % is 0.25.")
    # The float nearest to 0.29 is below it, and 29 % of 100 pixels would be 28; take the decimal that was meant.
    return int(Fraction(level).limit_denominator(10_000) * area)


def _squared_distances(foreground: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Squared Euclidean distance of each pixel to the nearest background pixel, ``[H, W]``; background is 0."""
    if foreground.all():
        return _squared_distances(np.pad(foreground, 1))[1:-1, 1:-1]
    height, width = foreground.shape
    far = height + width
    rows = np.arange(height, dtype=np.int64)[:, None]
    above = np.maximum.accumulate(np.where(foreground, -far, rows), axis=0)
    below = np.minimum.accumulate(np.where(foreground, height + far, rows)[::-1], axis=0)[::-1]
    in_column = np.minimum(rows - above, below - rows) ** 2
    nearest = in_column.copy()
    # A background pixel k columns away is at least k away: once k * k reaches the largest distance, nothing improves.
    for k in range(1, width):
        if k * k >= int(nearest.max()):
            break
        nearest[:, k:] = np.minimum(nearest[:, k:], in_column[:, :-k] + k * k)
        nearest[:, :-k] = np.minimum(nearest[:, :-k], in_column[:, k:] + k * k)
    return nearest
