from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsol_bench.annotations.noisy_masks import (
    erode_mask,
    erode_mask_by_kernel,
    erode_mask_to_levels,
    mask_error,
    removal_order,
)
from wsol_bench.errors import DataError, UsageError

LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

small_masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def _blob() -> np.ndarray:
    y, x = np.mgrid[:120, :160]
    return ((x - 40) ** 2 + (y - 60) ** 2 < 35**2) | ((x - 130) ** 2 / 4 + (y - 30) ** 2 < 24**2)


def _slow_order(mask: np.ndarray) -> list[int]:
    height, width = mask.shape
    background = [tuple(point) for point in np.argwhere(~mask).tolist()]
    if not background:
        background = [(y, x) for y in range(-1, height + 1) for x in (-1, width)]
        background += [(y, x) for y in (-1, height) for x in range(-1, width + 1)]
    pixels = [
        (min((y - v) ** 2 + (x - u) ** 2 for v, u in background), y * width + x) for y, x in np.argwhere(mask).tolist()
    ]
    return [pixel for _, pixel in sorted(pixels)]


@given(small_masks)
@settings(max_examples=60, deadline=None)
def test_order_is_that_of_exact_distances(mask: np.ndarray) -> None:
    assert removal_order(mask).tolist() == _slow_order(mask)


@given(small_masks, st.integers(0, 100), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_removes_the_share_exactly_and_nests(mask: np.ndarray, one: int, other: int) -> None:
    area = int(mask.sum())
    less, more = (erode_mask(mask, percent / 100) for percent in sorted((one, other)))
    assert area - int(less.sum()) == min(one, other) * area // 100
    assert area - int(more.sum()) == max(one, other) * area // 100
    assert not (more & ~less).any() and not (less & ~mask).any()


def test_the_image_border_is_no_background() -> None:
    mask = np.ones((5, 7), dtype=bool)
    mask[:, 0] = False
    assert np.flatnonzero(~erode_mask(mask, 1 / 6).any(axis=0)).tolist() == [0, 1]


def test_a_mask_of_the_whole_image_shrinks_from_the_border() -> None:
    left = erode_mask(np.ones((6, 6), dtype=bool), 20 / 36)
    assert left[1:-1, 1:-1].all() and int(left.sum()) == 16


def test_ties_go_row_by_row() -> None:
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 1:4] = True
    assert removal_order(mask).tolist() == [6, 7, 8, 11, 12, 13]


@pytest.mark.parametrize("level", LEVELS)
def test_error_is_half_the_level(level: float) -> None:
    assert 50 * level - 1.5 <= mask_error(_blob(), erode_mask(_blob(), level)) <= 50 * level + 1e-9
    # One pass of the kernel takes up to 7 % of blobs of this size, so it may stop up to 3.5 points short.
    assert 50 * level - 3.5 <= mask_error(_blob(), erode_mask_by_kernel(_blob(), level)) <= 50 * level + 1e-9


def test_kernel_variant_is_nested_and_never_removes_too_much() -> None:
    mask = _blob()
    masks = [erode_mask_by_kernel(mask, level) for level in (0.0, *LEVELS, 1.0)]
    assert np.array_equal(masks[0], mask) and not masks[-1].any()
    for larger, smaller in pairwise(masks):
        assert not (smaller & ~larger).any()
    square = np.zeros((9, 9), dtype=bool)
    square[2:7, 2:7] = True
    assert int(erode_mask_by_kernel(square, 0.63).sum()) == 25 and int(erode_mask_by_kernel(square, 0.64).sum()) == 9
    assert int(erode_mask_by_kernel(np.ones((5, 5), dtype=bool), 0.64).sum()) == 9


@pytest.mark.parametrize("erode", [erode_mask, erode_mask_by_kernel])
def test_empty_masks_stay_empty_and_have_no_error(erode: Callable[[np.ndarray, float], np.ndarray]) -> None:
    empty = np.zeros((4, 6), dtype=np.uint8)
    assert not erode(empty, 0.5).any()
    assert np.isnan(mask_error(empty, empty)) and np.isnan(mask_error(empty == 0, empty))


def test_error_counts_what_was_gained_too() -> None:
    exact = np.array([[1, 1, 0, 0]])
    assert mask_error(exact, exact) == 0
    assert mask_error(exact, 1 - exact) == 100
    assert mask_error(exact, [[1, 0, 0, 0]]) == 25
    assert mask_error(exact, [[1, 1, 1, 0]]) == 25


def test_takes_grey_masks_of_any_memory_order_and_leaves_them_alone() -> None:
    grey = np.asfortranarray(_blob().astype(np.uint8) * 255)
    before = grey.copy()
    assert np.array_equal(erode_mask(grey, 0.37), erode_mask(_blob(), 0.37))
    assert np.array_equal(grey, before)


@pytest.mark.parametrize("erode", [erode_mask, erode_mask_by_kernel])
def test_refuses_what_it_cannot_erode(erode: Callable[[np.ndarray, float], np.ndarray]) -> None:
    for level in (-0.1, 1.5, 25, float("nan")):
        with pytest.raises(UsageError, match="erosion level from 0 to 1"):
            erode(_blob(), level)
    with pytest.raises(DataError, match=r"got the shape \[2, 3, 1\]"):
        erode(np.ones((2, 3, 1)), 0.5)
    with pytest.raises(DataError, match="two masks of one shape"):
        mask_error(_blob(), _blob()[1:])


def test_several_levels_are_those_of_one_by_one() -> None:
    mask = _blob()
    together = erode_mask_to_levels(mask, LEVELS)
    assert all((one == erode_mask(mask, level)).all() for level, one in zip(LEVELS, together, strict=True))
    assert mask.sum() > together[0].sum()
