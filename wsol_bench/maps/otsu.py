"""Otsu's threshold, one per map: the policy that needs no validation boxes at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.sweep import sweep_largest

EMPTY = -1
"""Stands for the cut of a constant map, which has no foreground."""


def otsu_cuts(q: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Returns the cut of each map; the foreground is ``q > cut``.

    The first cut that maximises the variance between the two classes, over the integers from the smallest to the
    largest value; 0 becomes 1 and 255 becomes 254, as in the reference code (metrics spec, section 11).

    Args:
        q: ``[N, H, W]`` uint8.

    Returns:
        ``[N]`` int16 in 1..254, or :data:`EMPTY` for a constant map.
    """
    cuts = np.full(len(q), EMPTY, dtype=np.int16)
    for i, one in enumerate(q):
        counts = np.bincount(one.ravel(), minlength=256)
        present = np.flatnonzero(counts)
        if len(present) < 2:
            continue
        low, high = int(present[0]), int(present[-1])
        # Integers up to the number of pixels times 255 are exact in float64 for any map of a sane size.
        below = np.cumsum(counts[low : high + 1], dtype=np.float64)[:-1]
        mass = np.cumsum(counts[low : high + 1] * np.arange(low, high + 1), dtype=np.float64)
        above = one.size - below
        difference = mass[:-1] / below - (mass[-1] - mass[:-1]) / above
        cuts[i] = min(max(low + int(np.argmax(below * above * difference**2)), 1), 254)
    return cuts


def otsu_boxes(q: NDArray[np.uint8], curves: BoxCurves | None = None) -> NDArray[np.int16]:
    """Returns the box of the largest contour at each map's own Otsu cut.

    Args:
        q: ``[N, H, W]`` uint8.
        curves: the maps' box curves, where they are there already.

    Returns:
        ``[N, 4]`` int16, ``0, 0, 0, 0`` for a constant map.
    """
    cuts = otsu_cuts(q)
    swept = sweep_largest(q) if curves is None else curves
    boxes = swept.boxes_at(np.maximum(cuts, 0)[:, None])[:, 0].copy()
    boxes[cuts == EMPTY] = 0
    return boxes
