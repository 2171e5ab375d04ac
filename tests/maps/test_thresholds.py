from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol_bench.errors import UsageError
from wsol_bench.maps.thresholds import cuts_of_taus, level_taus, tau_grid, tau_of_cut


@pytest.mark.parametrize(("step", "count", "reached"), [(0.001, 1000, 255), (0.004, 250, 250), (0.01, 100, 100)])
def test_grid_and_the_cuts_it_reaches(step: float, count: int, reached: int) -> None:
    taus = tau_grid(step)
    np.testing.assert_array_equal(taus, np.arange(0, 1, step))
    assert len(taus) == count
    assert len(np.unique(cuts_of_taus(taus, np.array([255], np.uint8)))) == reached


def test_a_coarse_grid_misses_five_cuts() -> None:
    cuts = cuts_of_taus(tau_grid(0.004), np.array([255], np.uint8))
    assert sorted(set(range(255)) - set(cuts[0].tolist())) == [50, 101, 152, 203, 254]


@given(st.floats(1e-3, 1))
def test_every_grid_stays_below_one(step: float) -> None:
    taus = tau_grid(step)
    assert taus[0] == 0
    assert taus[-1] < 1
    np.testing.assert_array_equal(taus, np.arange(0, 1, step)[: len(taus)])


def test_level_taus_reach_each_cut_once() -> None:
    taus = level_taus()
    np.testing.assert_array_equal(taus, np.arange(255) / 255)
    assert [int(tau * 255) for tau in taus] == list(range(255))


def test_tau_of_cut_is_right_for_every_maximum() -> None:
    for max_level in range(1, 256):
        taus = [tau_of_cut(cut, max_level) for cut in range(max_level)]
        assert [int(tau * max_level) for tau in taus] == list(range(max_level))
        assert max(taus) < 1


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=20), st.lists(st.integers(0, 255), max_size=5))
def test_cuts_are_python_truncation(taus: list[float], levels: list[int]) -> None:
    cuts = cuts_of_taus(taus, np.array(levels, dtype=np.uint8))
    assert cuts.dtype == np.uint8
    assert cuts.tolist() == [[int(tau * level) for tau in taus] for level in levels]


@pytest.mark.parametrize("step", [0, -0.1, 1.5, float("nan")])
def test_wrong_steps(step: float) -> None:
    with pytest.raises(UsageError, match="tau step in"):
        tau_grid(step)


@pytest.mark.parametrize("taus", [[1.0], [-0.1], [float("nan")], [[0.5]]])
def test_wrong_taus(taus: list[float]) -> None:
    with pytest.raises(UsageError, match=r"numbers in \[0, 1\)"):
        cuts_of_taus(taus, np.array([255], np.uint8))


def test_wrong_levels_and_cuts() -> None:
    with pytest.raises(UsageError, match="max_levels as"):
        cuts_of_taus([0.5], np.array([255]))
    for cut, level in [(255, 255), (-1, 255), (0, 0), (3, 256)]:
        with pytest.raises(UsageError, match="0 <= cut < max_level"):
            tau_of_cut(cut, level)
