"""The fused counts equal the two-step way, IoU curves first and counts after, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.errors import DataError
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.maps.thresholds import level_taus, tau_grid
from wsol_bench.metrics.curve_counts import TauIndex, add_counts, undifference
from wsol_bench.metrics.curve_iou import iou_of_curves
from wsol_bench.metrics.source_counts import StackedBoxes, count_sources

FRAME, N = 32, 40
LEVELS = np.array([0.3, 0.5, 0.7])


def _boxes(rng: np.random.Generator, ids: tuple[str, ...], most: int) -> BoxSet:
    boxes = {}
    for image_id in ids:
        low = rng.integers(0, 40, (rng.integers(1, most + 1), 2))
        boxes[image_id] = np.concatenate([low, low + rng.integers(0, 40, low.shape)], axis=1).tolist()
    return BoxSet.from_mapping(boxes, dict.fromkeys(ids, (80, 96)))


def _curves(rng: np.random.Generator) -> BoxCurves:
    levels = rng.integers(0, 256, (N, FRAME, FRAME), dtype=np.uint8)
    levels[::3] //= 2
    levels[0], levels[1] = 0, 255
    return sweep_largest(levels, threads=1)


@pytest.mark.parametrize("taus", [level_taus(), tau_grid(0.1), np.array([0.0])])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_equals_the_two_steps(taus: np.ndarray, layout: object) -> None:
    rng = np.random.default_rng(3)
    curves, ids = _curves(rng), tuple(f"{i}.png" for i in range(N))
    sources = [_boxes(rng, ids, most) for most in (1, 3, 2)]
    groups = np.stack([np.ones(N, dtype=bool), rng.random(N) < 0.5])
    index = TauIndex.of(taus)
    same = BoxCurves(curves.max_levels, curves.cuts, layout(curves.boxes), curves.offsets)
    hits, sums = count_sources(same, StackedBoxes.of(sources, ids, FRAME), index, LEVELS, groups)
    for k, source in enumerate(sources):
        ious = iou_of_curves(curves, source.in_frame(FRAME, FRAME), source.offsets)
        expected = np.zeros((2, len(LEVELS), len(index)), dtype=np.int64)
        expected_sums = np.zeros((2, len(index)), dtype=np.int64)
        add_counts(ious, index, LEVELS, groups, expected, expected_sums)
        np.testing.assert_array_equal(hits[k], undifference(expected))
        np.testing.assert_array_equal(sums[k], undifference(expected_sums)[0])


def test_no_source_gives_no_counts() -> None:
    curves = _curves(np.random.default_rng(0))
    stacked = StackedBoxes.of([], [f"{i}" for i in range(N)], FRAME)
    hits, sums = count_sources(curves, stacked, TauIndex.of([0.0]), LEVELS, np.ones((1, N), dtype=bool))
    assert (hits.shape, sums.shape) == ((0, 1, 3, 1), (0, 1))


def test_an_image_without_a_box_is_an_error() -> None:
    ids = ("a", "b")
    source = BoxSet.from_mapping({"a": [(0, 0, 3, 3)], "b": []}, dict.fromkeys(ids, (8, 8)))
    with pytest.raises(DataError, match="1 of 2 have none"):
        StackedBoxes.of([source], ids, FRAME)
    with pytest.raises(DataError, match="have none, first 'c'"):
        StackedBoxes.of([source], (*ids, "c"), FRAME)
