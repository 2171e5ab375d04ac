from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsol_bench.errors import UsageError
from wsol_bench.maps.normalise import clean, min_max, quantise, resize_map, score_maps

FLOATS = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
Step = Callable[..., np.ndarray]


def test_clean_replaces_what_is_not_finite() -> None:
    maps = np.array([[np.nan, np.inf], [-np.inf, 3.5]], dtype=np.float32)
    assert clean(maps).tolist() == [[0, 1], [0, 3.5]]
    assert np.isnan(maps[0, 0])


@FLOATS
def test_min_max_stretches_each_map_by_itself(dtype: Any) -> None:
    maps = np.array([[[1, 2], [3, 5]], [[-1, 0], [0, 1]]], dtype=dtype)
    stretched = min_max(maps)
    assert stretched.dtype == np.float64
    assert stretched.tolist() == [[[0, 0.25], [0.5, 1]], [[0, 0.5], [0.5, 1]]]
    np.testing.assert_array_equal(min_max(maps[0]), stretched[0])


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0])
def test_constant_maps_become_zeros(value: float) -> None:
    assert not min_max(np.full((2, 3, 4), value)).any()


def test_min_max_refuses_what_clean_removes() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(UsageError, match="clean"):
            min_max(np.array([[0.0, bad]]))


def test_resize_is_opencvs_for_each_map(maps: np.ndarray) -> None:
    for name, flag in (("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)):
        resized = resize_map(maps, (20, 30), name)
        assert resized.shape == (3, 20, 30)
        for one, source in zip(resized, maps, strict=True):
            np.testing.assert_array_equal(one, cv2.resize(source, (30, 20), interpolation=flag))
    np.testing.assert_array_equal(resize_map(maps[0], (20, 30)), resize_map(maps, (20, 30))[0])


def test_resize_types(maps: np.ndarray) -> None:
    assert resize_map(maps, (4, 4)).dtype == np.float64
    assert resize_map(maps.astype(np.float32), (4, 4)).dtype == np.float32
    assert resize_map(maps.astype(np.float16), (4, 4)).dtype == np.float32
    np.testing.assert_allclose(resize_map(maps, maps.shape[1:]), maps)


def test_resize_errors(maps: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"one of \(bicubic, bilinear\)"):
        resize_map(maps, (4, 4), "nearest")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1x1 but got 0x4"):
        resize_map(maps, (0, 4))


@settings(deadline=None)
@given(
    st.sampled_from([np.float16, np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
            elements=st.floats(0, 1, width=np.dtype(dtype).itemsize * 8),
        )
    )
)
def test_quantise_is_the_reference_expression(maps: np.ndarray) -> None:
    np.testing.assert_array_equal(quantise(maps), (maps.astype(np.float64) * 255).astype(np.uint8))


def test_every_half_float_in_range() -> None:
    halves = np.arange(0x3C01, dtype=np.uint16).view(np.float16)[None]
    np.testing.assert_array_equal(quantise(halves), (halves.astype(np.float64) * 255).astype(np.uint8))


@FLOATS
def test_quantise_of_views_and_negative_zero(dtype: Any, maps: np.ndarray) -> None:
    stored = maps.astype(dtype)
    np.testing.assert_array_equal(quantise(stored[:, ::2, ::-1]), quantise(stored)[:, ::2, ::-1])
    assert quantise(np.array([[-0.0, 1.0]], dtype=dtype)).tolist() == [[0, 255]]


def test_uint8_is_taken_as_quantised() -> None:
    maps = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    assert quantise(maps) is maps


@FLOATS
@pytest.mark.parametrize("bad", [1.001, -0.001, np.nan, np.inf])
def test_quantise_clips_nothing_silently(dtype: Any, bad: float) -> None:
    with pytest.raises(UsageError, match=r"values in \[0, 1\]"):
        quantise(np.array([[[0, 0.5]], [[bad, 0]]], dtype=dtype))


@pytest.mark.parametrize("step", [clean, min_max, quantise, lambda maps: resize_map(maps, (2, 2))])
def test_wrong_types_and_ranks(step: Step) -> None:
    for maps, told in [
        (np.zeros((2, 2), np.int32), "got int32 values"),
        (np.zeros((2, 2), bool), "got bool values"),
        ([[0.5]], "got a list"),
        (np.zeros(3), r"got shape \[3\]"),
        (np.zeros((1, 1, 2, 2)), r"got shape \[1, 1, 2, 2\]"),
        (np.zeros((2, 0, 2)), "at least one pixel each"),
    ]:
        with pytest.raises(UsageError, match=told):
            step(maps)


@pytest.mark.parametrize("step", [clean, min_max, quantise, lambda maps: resize_map(maps, (2, 2))])
def test_no_map_at_all(step: Step) -> None:
    assert len(step(np.zeros((0, 2, 2)))) == 0


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(3).random((3, 7, 9))


def test_maps_are_interpolated_between_pixel_centres() -> None:
    rng = np.random.default_rng(0)
    native, frame = rng.random((3, 4, 6)), 16
    rows = np.clip((np.arange(frame) + 0.5) * 4 / frame - 0.5, 0, 3)
    columns = np.clip((np.arange(frame) + 0.5) * 6 / frame - 0.5, 0, 5)
    for one, got in zip(native, score_maps(native, frame), strict=True):
        along_x = np.stack([np.interp(columns, np.arange(6), row) for row in one])
        large = np.stack([np.interp(rows, np.arange(4), column) for column in along_x.T], axis=1)
        np.testing.assert_allclose(got, (large - large.min()) / np.ptp(large), atol=1e-6)
        assert got.min() == 0.0
        assert got.max() == 1.0
