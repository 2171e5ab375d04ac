from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_sweep import SlowSweep

from wsol_bench.errors import UsageError
from wsol_bench.maps.thresholds import level_taus, tau_grid
from wsol_bench.metrics.bootstrap import poisson_weights
from wsol_bench.metrics.curve_counts import (
    IOU_UNIT,
    TauIndex,
    add_counts,
    add_weighted_counts,
    iou_at_taus,
    undifference,
)
from wsol_bench.metrics.curve_iou import iou_of_contours, iou_of_curves

THRESHOLDS = np.array([0.1, 0.3, 0.5, 0.7])
GRIDS = [tau_grid(0.001), tau_grid(0.01), level_taus(), np.array([0.37]), np.array([0.0, 0.2, 0.9991])]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(GRIDS), st.booleans())
def test_counts_equal_the_full_matrix(seed: int, taus: np.ndarray, every_contour: bool):
    sweep = SlowSweep(seed, 5)
    measure = iou_of_contours if every_contour else iou_of_curves
    curves = measure(sweep.contours() if every_contour else sweep.largest(), sweep.gt_boxes, sweep.gt_offsets)
    matrix = np.array(
        [[curves.at_tau(tau)[0][i] for tau in taus[:: max(1, len(taus) // 97)]] for i in range(len(curves))]
    )
    full = iou_at_taus(curves, taus)
    np.testing.assert_array_equal(full[:, :: max(1, len(taus) // 97)], matrix)

    groups = np.stack([np.ones(5, bool), np.arange(5) % 2 == 0])
    hits = np.zeros((2, len(THRESHOLDS), len(taus)), np.int64)
    sums = np.zeros((2, len(taus)), np.int64)
    add_counts(curves, TauIndex.of(taus), THRESHOLDS, groups, hits, sums)
    for g, members in enumerate(groups):
        expected = (full[members][:, None, :] >= THRESHOLDS[:, None]).sum(axis=0)
        np.testing.assert_array_equal(undifference(hits)[g], expected)
        np.testing.assert_allclose(undifference(sums)[g] / IOU_UNIT, full[members].sum(axis=0), atol=1e-11)


def test_weighted_counts_equal_the_matrix_product():
    sweep, taus = SlowSweep(5, 12), tau_grid(0.01)
    curves = iou_of_curves(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets)
    weights = poisson_weights(sweep.ids, 30, seed=1)
    groups = np.stack([np.ones(12, bool), np.arange(12) < 4])
    hits = np.zeros((2, len(THRESHOLDS), len(taus), 30), np.int32)
    sums = np.zeros((len(taus), 30), np.int64)
    add_weighted_counts(curves, TauIndex.of(taus), THRESHOLDS, groups, weights, hits, sums)
    full = iou_at_taus(curves, taus)
    for g, members in enumerate(groups):
        for d, threshold in enumerate(THRESHOLDS):
            expected = (full[members] >= threshold).astype(int).T @ weights[members].astype(int)
            np.testing.assert_array_equal(undifference(hits, axis=2)[g, d], expected)
    np.testing.assert_allclose(undifference(sums, axis=0) / IOU_UNIT, full.T @ weights, atol=1e-10)


def test_sums_do_not_depend_on_the_order_of_images():
    sweep, index = SlowSweep(11, 20), TauIndex.of(tau_grid(0.01))
    curves = sweep.largest()
    results = []
    for order in (np.arange(20), np.arange(20)[::-1]):
        boxes = [sweep.gt[i] for i in order]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in boxes])])
        hits, sums = np.zeros((1, 4, 100), np.int64), np.zeros((1, 100), np.int64)
        ious = iou_of_curves(curves.select(order), np.concatenate(boxes), offsets)
        add_counts(ious, index, THRESHOLDS, np.ones((1, 20), bool), hits, sums)
        results.append((hits, sums))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("taus", [[], [0.5, 0.5], [0.5, 0.2], [0.0, 1.0], [-0.1], [float("nan")]])
def test_unusable_grids_are_refused(taus: list[float]):
    with pytest.raises(UsageError, match="ascending thresholds"):
        TauIndex.of(taus)
