from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from map_strategies import KINDS, make

from wsol_bench.errors import UsageError
from wsol_bench.maps.curves import BoxCurves, ContourSets
from wsol_bench.maps.sweep import sweep_all, sweep_largest

Sweep = Callable[..., BoxCurves | ContourSets]
SWEEPS = pytest.mark.parametrize("sweep", [sweep_largest, sweep_all])


def assert_same(one: BoxCurves | ContourSets, other: BoxCurves | ContourSets) -> None:
    for name, value in vars(one).items():
        expected = vars(other)[name]
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected, err_msg=name)


@pytest.fixture
def batch() -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.stack([make(kind, 37, 53, rng) for kind in KINDS * 9])


@SWEEPS
def test_result_does_not_depend_on_the_number_of_threads(sweep: Sweep, batch: np.ndarray) -> None:
    one = sweep(batch, threads=1)
    for threads in (2, 3, 7, None):
        assert_same(sweep(batch, threads=threads), one)


@SWEEPS
def test_a_batch_is_its_maps_one_by_one(sweep: Sweep, batch: np.ndarray) -> None:
    parts = [sweep(q) for q in batch]
    assert_same(sweep(batch), type(parts[0]).concatenate(parts))


@SWEEPS
def test_strided_and_reversed_maps_are_accepted(sweep: Sweep, batch: np.ndarray) -> None:
    for view in (batch[::3], batch[:, ::2, ::-1], batch.transpose(0, 2, 1), np.asfortranarray(batch[:4])):
        assert_same(sweep(view), sweep(np.ascontiguousarray(view)))


@SWEEPS
def test_the_input_is_left_alone_and_may_be_read_only(sweep: Sweep, batch: np.ndarray) -> None:
    before = batch.copy()
    batch.flags.writeable = False
    sweep(batch)
    np.testing.assert_array_equal(batch, before)


@SWEEPS
def test_no_map_at_all(sweep: Sweep) -> None:
    result = sweep(np.zeros((0, 5, 5), np.uint8))
    assert len(result) == 0
    assert result.offsets.tolist() == [0]


def test_documented_types(batch: np.ndarray) -> None:
    curves, contours = sweep_largest(batch), sweep_all(batch)
    for result in (curves, contours):
        assert result.max_levels.dtype == np.uint8
        assert result.boxes.dtype == np.int16
        assert result.offsets.dtype == np.int64
        np.testing.assert_array_equal(result.max_levels, batch.max(axis=(1, 2)))
    assert curves.cuts.dtype == contours.first_cuts.dtype == contours.last_cuts.dtype == np.uint8


def test_neighbouring_segments_differ(batch: np.ndarray) -> None:
    curves = sweep_largest(batch)
    repeated = np.all(curves.boxes[1:] == curves.boxes[:-1], axis=1)
    assert not np.any(np.delete(repeated, curves.offsets[1:-1] - 1))


@SWEEPS
@pytest.mark.parametrize(
    ("q", "told"),
    [
        (np.zeros((2, 4, 4)), r"uint8 array but got float64 values; fix: .*quantise"),
        (np.zeros((2, 4, 4), np.int64), "got int64 values"),
        (np.zeros((4, 4), bool), "got bool values"),
        ([[1, 2]], "got a list"),
        (np.zeros(4, np.uint8), r"got shape \[4\]"),
        (np.zeros((1, 3, 4, 4), np.uint8), r"got shape \[1, 3, 4, 4\]"),
        (np.zeros((2, 0, 4), np.uint8), r"at least one pixel each"),
        (np.zeros((1, 16001), np.uint8), "at most 16000 pixels a side"),
    ],
)
def test_wrong_input_is_told_apart(sweep: Sweep, q: np.ndarray, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        sweep(q)


@SWEEPS
def test_fewer_than_one_thread(sweep: Sweep) -> None:
    with pytest.raises(UsageError, match="at least 1 but got 0"):
        sweep(np.zeros((1, 2, 2), np.uint8), threads=0)
