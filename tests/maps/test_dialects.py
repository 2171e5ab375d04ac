from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from map_strategies import levels
from numpy.typing import NDArray

from wsol_bench.errors import UsageError
from wsol_bench.maps.dialects import DIALECTS, get_dialect, sat_ground_truth
from wsol_bench.maps.oracle import oracle_largest

TAUS = st.floats(0, 1, exclude_max=True)


def two_shapes() -> NDArray[np.float64]:
    """A thin ring of 20x20 with few pixels and a solid block of 15x15 with many, at the right and lower edges."""
    scores = np.zeros((40, 60))
    scores[0:20, 0:20] = 1
    scores[1:19, 1:19] = 0
    scores[25:40, 45:60] = 0.9
    return scores


def test_what_each_dialect_makes_of_one_map() -> None:
    boxes = {name: dialect.box_at(two_shapes(), 0.4) for name, dialect in DIALECTS.items()}
    assert boxes == {"choe2020": (0, 0, 20, 20), "ts_cam": (0, 0, 20, 20), "sat": (45, 25, 60, 40)}


def test_far_corners_at_the_edge() -> None:
    scores = two_shapes()[:, 20:]
    boxes = {name: dialect.box_at(scores, 0.4) for name, dialect in DIALECTS.items()}
    assert boxes == {"choe2020": (25, 25, 39, 39), "ts_cam": (25, 25, 40, 40), "sat": (25, 25, 40, 40)}


def test_empty_maps() -> None:
    boxes = {name: dialect.box_at(np.zeros((4, 6)), 0.4) for name, dialect in DIALECTS.items()}
    assert boxes == {"choe2020": (0, 0, 0, 0), "ts_cam": (0, 0, 1, 1), "sat": (0, 0, 6, 4)}


def test_thresholds_are_relative_to_the_maximum_but_for_sat() -> None:
    scores = np.zeros((8, 8))
    scores[2:5, 2:5] = 0.3
    boxes = {name: dialect.box_at(scores, 0.4) for name, dialect in DIALECTS.items()}
    assert boxes == {"choe2020": (2, 2, 5, 5), "ts_cam": (2, 2, 5, 5), "sat": (0, 0, 8, 8)}


def test_sat_takes_the_first_of_equal_components_and_joins_diagonals() -> None:
    scores = np.zeros((6, 6))
    scores[4, 0] = scores[5, 1] = 1
    scores[1, 5] = scores[2, 4] = 1
    assert DIALECTS["sat"].box_at(scores, 0.4) == (4, 1, 6, 3)


@settings(max_examples=60, deadline=None)
@given(levels(longest_side=15), TAUS)
def test_choe2020_is_the_sweep_and_ts_cam_differs_by_the_clipping(q: NDArray[np.uint8], tau: float) -> None:
    expected = oracle_largest(q)[int(tau * int(q.max()))].tolist()
    assert list(DIALECTS["choe2020"].box_at(q, tau)) == expected
    x0, y0, x1, y1 = DIALECTS["ts_cam"].box_at(q, tau)
    if q.any():
        assert [x0, y0, min(x1, q.shape[1] - 1), min(y1, q.shape[0] - 1)] == expected


def test_sat_frame() -> None:
    assert sat_ground_truth((0, 0, 499, 374), (500, 375)) == (0, 0, 223, 223)
    assert sat_ground_truth((100, 100, 200, 300), (400, 400)) == (48, 48, 112, 176)


def test_names_and_errors() -> None:
    assert get_dialect("sat").taus == (0.4,)
    assert get_dialect("ts_cam").hit_is_strict
    with pytest.raises(UsageError, match="Did you mean 'ts_cam'"):
        get_dialect("tscam")
    with pytest.raises(UsageError, match="tau in"):
        get_dialect("sat").box_at(np.zeros((2, 2)), 40)
    with pytest.raises(UsageError, match="one map of shape"):
        get_dialect("sat").box_at(np.zeros((1, 2, 2)), 0.4)
    with pytest.raises(UsageError, match=r"values in \[0, 1\]"):
        get_dialect("sat").box_at(np.full((2, 2), 3.0), 0.4)
