from __future__ import annotations

import numpy as np
import pytest
from map_strategies import KINDS, make

from wsol_bench.errors import UsageError
from wsol_bench.maps.curves import BoxCurves, ContourSets
from wsol_bench.maps.oracle import oracle_all, oracle_largest
from wsol_bench.maps.sweep import sweep_all, sweep_largest


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    rng = np.random.default_rng(11)
    return np.stack([make(kind, 12, 9, rng) for kind in KINDS])


@pytest.fixture(scope="module")
def curves(maps: np.ndarray) -> BoxCurves:
    return sweep_largest(maps)


@pytest.fixture(scope="module")
def contours(maps: np.ndarray) -> ContourSets:
    return sweep_all(maps)


def test_boxes_at_shared_and_own_cuts(maps: np.ndarray, curves: BoxCurves) -> None:
    dense = np.stack([oracle_largest(q) for q in maps])
    np.testing.assert_array_equal(curves.boxes_at(range(255)), dense)
    own = np.random.default_rng(0).integers(0, 255, (len(maps), 7))
    np.testing.assert_array_equal(curves.boxes_at(own), np.take_along_axis(dense, own[..., None], axis=1))
    assert curves.boxes_at(np.zeros(0, np.uint8)).shape == (len(maps), 0, 4)


@pytest.mark.parametrize("cuts", [[255], [-1], [0.5], [[0]], 3])
def test_wrong_cuts(curves: BoxCurves, cuts: object) -> None:
    with pytest.raises(UsageError, match="cuts"):
        curves.boxes_at(cuts)  # type: ignore[arg-type]


def test_contour_counts_and_boxes(maps: np.ndarray, contours: ContourSets) -> None:
    for i, q in enumerate(maps):
        expected = oracle_all(q)
        assert contours.counts()[i].tolist() == [len(boxes) for boxes in expected]
        assert sorted(contours.boxes_at(i, 40).tolist()) == sorted(expected[40].tolist())


@pytest.mark.parametrize("indices", [[2, 0, 2], [], [-1], np.array([True] + [False] * (len(KINDS) - 1)), slice(1, 4)])
def test_select(maps: np.ndarray, curves: BoxCurves, contours: ContourSets, indices: object) -> None:
    chosen = maps[indices] if len(maps[indices]) else maps[:0]  # type: ignore[index]
    for whole, fresh in ((curves, sweep_largest(chosen)), (contours, sweep_all(chosen))):
        part = whole.select(indices)  # type: ignore[arg-type]
        for name, value in vars(part).items():
            np.testing.assert_array_equal(value, vars(fresh)[name], err_msg=name)
            assert value.dtype == vars(fresh)[name].dtype


@pytest.mark.parametrize("indices", [[len(KINDS)], [0.5], [True]])
def test_indices_of_no_image(curves: BoxCurves, contours: ContourSets, indices: list[float]) -> None:
    for whole in (curves, contours):
        with pytest.raises(UsageError, match="Expected indices"):
            whole.select(indices)


def test_concatenate_restores_the_whole(curves: BoxCurves, contours: ContourSets) -> None:
    for whole in (curves, contours):
        parts = [whole.select(slice(0, 4)), whole.select([]), whole.select(slice(4, None))]
        for name, value in vars(type(whole).concatenate(parts)).items():
            np.testing.assert_array_equal(value, vars(whole)[name], err_msg=name)
            assert value.dtype == vars(whole)[name].dtype
        assert len(type(whole).concatenate([])) == 0


def test_no_image_at_all() -> None:
    assert BoxCurves.concatenate([]).boxes_at([0, 1]).shape == (0, 2, 4)
    assert ContourSets.concatenate([]).counts().shape == (0, 255)


@pytest.mark.parametrize(
    ("cuts", "offsets"),
    [
        ([0, 3], [0, 1]),
        ([0, 3], [1, 2]),
        ([1, 3], [0, 2]),
        ([0, 0], [0, 2]),
        ([0, 3], [0, 0, 2]),
        ([0, 5, 3], [0, 3]),
        ([0, 5, 3], [0, 2, 3]),
    ],
)
def test_contradicting_curves(cuts: list[int], offsets: list[int]) -> None:
    with pytest.raises(UsageError, match="Expected"):
        BoxCurves(
            np.zeros(len(offsets) - 1, np.uint8),
            np.array(cuts, np.uint8),
            np.zeros((len(cuts), 4), np.int16),
            np.array(offsets, np.int64),
        )


def test_contradicting_contours() -> None:
    level, box, offsets = np.ones(1, np.uint8), np.zeros((1, 4), np.int16), np.array([0, 1])
    low, high = np.array([3], np.uint8), np.array([9], np.uint8)
    ContourSets(level, box, low, high, offsets)
    with pytest.raises(UsageError, match="swapped"):
        ContourSets(level, box, high, low, offsets)
    with pytest.raises(UsageError, match=r"ContourSets\.last_cuts to have 1 rows"):
        ContourSets(level, box, low, high[:0], offsets)
    with pytest.raises(UsageError, match="2 entries, one more"):
        ContourSets(level, box, low, high, offsets[:1])
