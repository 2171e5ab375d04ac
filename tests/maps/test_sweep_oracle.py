from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from map_strategies import KINDS, levels, make
from numpy.typing import NDArray

from wsol_bench.maps.oracle import oracle_all, oracle_largest
from wsol_bench.maps.sweep import sweep_all, sweep_largest


def sorted_rows(boxes: NDArray[np.int16]) -> NDArray[np.int16]:
    return boxes[np.lexsort(boxes.T)]


def check_largest(q: NDArray[np.uint8]) -> None:
    boxes = sweep_largest(q).boxes_at(np.arange(255))[0]
    np.testing.assert_array_equal(boxes, oracle_largest(q))


def check_all(q: NDArray[np.uint8]) -> None:
    contours = sweep_all(q)
    expected = oracle_all(q)
    np.testing.assert_array_equal(contours.counts()[0], [len(boxes) for boxes in expected])
    for cut in np.union1d(0, q[q < 255]):
        np.testing.assert_array_equal(sorted_rows(contours.boxes_at(0, int(cut))), sorted_rows(expected[cut]))


@settings(max_examples=200, deadline=None)
@given(levels())
def test_the_largest_contour_is_opencvs(q: NDArray[np.uint8]) -> None:
    check_largest(q)


@settings(max_examples=100, deadline=None)
@given(levels(longest_side=30))
def test_all_contours_are_opencvs(q: NDArray[np.uint8]) -> None:
    check_all(q)


@settings(max_examples=300, deadline=None)
@given(levels(longest_side=7))
def test_tiny_maps(q: NDArray[np.uint8]) -> None:
    check_largest(q)
    check_all(q)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (7, 5), (3, 300), (300, 3), (64, 254), (64, 255)])
@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_odd_sizes(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> None:
    q = make(kind, *shape, rng)
    check_largest(q)
    check_all(q)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_photograph_sizes(kind: str, rng: np.random.Generator) -> None:
    check_largest(make(kind, 224, 224, rng))
    check_all(make(kind, 130, 256, rng))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250101)
