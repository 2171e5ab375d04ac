from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from map_strategies import levels
from numpy.typing import NDArray

from wsol_bench.maps.oracle import oracle_largest
from wsol_bench.maps.otsu import EMPTY, otsu_boxes, otsu_cuts
from wsol_bench.maps.sweep import sweep_largest


def slow_cut(q: NDArray[np.uint8]) -> int:
    """The definition, one threshold at a time."""
    if q.min() == q.max():
        return EMPTY
    best, best_variance = -1, -1.0
    for t in range(int(q.min()), int(q.max())):
        low, high = q[q <= t].astype(np.float64), q[q > t].astype(np.float64)
        variance = len(low) * len(high) * (low.sum() / len(low) - high.sum() / len(high)) ** 2
        if variance > best_variance:
            best, best_variance = t, variance
    return min(max(best, 1), 254)


@settings(max_examples=60, deadline=None)
@given(levels(longest_side=12))
def test_cut_is_the_definition(q: NDArray[np.uint8]) -> None:
    assert otsu_cuts(q[None]).tolist() == [slow_cut(q)]


@settings(max_examples=60, deadline=None)
@given(levels(longest_side=20))
def test_box_is_the_largest_contour_at_the_cut(q: NDArray[np.uint8]) -> None:
    cut = slow_cut(q)
    expected = [0, 0, 0, 0] if cut == EMPTY else oracle_largest(q)[cut].tolist()
    assert otsu_boxes(q[None]).tolist() == [expected]
    assert otsu_boxes(q[None], sweep_largest(q)).tolist() == [expected]


@pytest.mark.parametrize(("low", "high", "cut"), [(0, 255, 1), (0, 1, 1), (254, 255, 254), (10, 20, 10)])
def test_two_levels_and_the_clamps(low: int, high: int, cut: int) -> None:
    q = np.full((1, 8, 8), low, np.uint8)
    q[0, 2:5, 2:5] = high
    assert otsu_cuts(q).tolist() == [cut]
    assert otsu_boxes(q).tolist() == [[0, 0, 0, 0] if high <= cut else [2, 2, 5, 5]]


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_constant_maps_have_no_foreground(level: int) -> None:
    q = np.full((2, 5, 5), level, np.uint8)
    assert otsu_cuts(q).tolist() == [EMPTY, EMPTY]
    assert not otsu_boxes(q).any()
