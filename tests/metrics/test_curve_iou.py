from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_sweep import SlowSweep

from wsol_bench.errors import DataError
from wsol_bench.maps.oracle import oracle_all, oracle_largest
from wsol_bench.metrics.curve_iou import curves_of_boxes, iou_of_contours, iou_of_curves
from wsol_bench.metrics.iou import best_iou, box_iou


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_largest_equals_the_slow_way_at_every_cut(seed: int):
    sweep = SlowSweep(seed, 4)
    ious = iou_of_curves(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets)
    expected = [oracle_largest(q) for q in sweep.q]
    best = [best_iou(boxes, truth) for boxes, truth in zip(expected, sweep.gt, strict=True)]
    for cut in range(255):
        steps = ious.steps_at(cut)
        np.testing.assert_array_equal(ious.boxes[steps], [boxes[cut] for boxes in expected])
        np.testing.assert_array_equal(ious.ious[steps], [values[cut] for values in best])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_all_contours_equals_the_slow_way_at_every_cut(seed: int):
    sweep = SlowSweep(seed, 4)
    ious = iou_of_contours(sweep.contours(), sweep.gt_boxes, sweep.gt_offsets)
    for i, q in enumerate(sweep.q):
        for cut, alive in enumerate(oracle_all(q)):
            step = ious.steps_at(cut)[i]
            best = best_iou(alive, sweep.gt[i]).max()
            assert ious.ious[step] == best
            if best:
                assert box_iou(ious.boxes[step], sweep.gt[i]).max() == best
                assert ious.boxes[step].tolist() in alive.tolist()


def test_many_images_are_processed_in_chunks(monkeypatch: pytest.MonkeyPatch):
    sweep = SlowSweep(7, 9)
    whole = iou_of_contours(sweep.contours(), sweep.gt_boxes, sweep.gt_offsets)
    monkeypatch.setattr("wsol_bench.metrics.curve_iou._CONTOUR_CHUNK", 2)
    chunked = iou_of_contours(sweep.contours(), sweep.gt_boxes, sweep.gt_offsets)
    for name in ("max_levels", "cuts", "ious", "boxes", "offsets"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(chunked, name))


def test_at_tau_truncates_like_the_reference():
    sweep = SlowSweep(3, 6)
    ious = iou_of_curves(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets)
    for tau in (0.0, 0.2, 0.333, 0.999):
        values, boxes = ious.at_tau(tau)
        for i, q in enumerate(sweep.q):
            box = oracle_largest(q)[int(tau * np.max(q))]
            np.testing.assert_array_equal(boxes[i], box)
            assert values[i] == best_iou(box[None], sweep.gt[i])[0]


def test_single_boxes_do_not_depend_on_the_cut():
    curves = curves_of_boxes([[0, 0, 9, 9], [0, 0, 0, 0]])
    ious = iou_of_curves(curves, [[0, 0, 9, 19], [5, 5, 6, 6]], [0, 1, 2])
    for tau in (0.0, 0.5, 0.999):
        np.testing.assert_array_equal(ious.at_tau(tau)[0], [0.5, 0])


def test_no_images_are_no_curves():
    empty = iou_of_contours(SlowSweep(1, 1).contours().select(np.zeros(0, int)), np.zeros((0, 4), int), [0])
    assert len(empty) == 0
    assert empty.offsets.tolist() == [0]


def test_missing_or_misaligned_ground_truth_is_refused():
    curves = SlowSweep(1, 2).largest()
    with pytest.raises(DataError, match="at position 1"):
        iou_of_curves(curves, [[0, 0, 5, 5]], [0, 1, 1])
    with pytest.raises(DataError, match="for 2 images"):
        iou_of_curves(curves, [[0, 0, 5, 5]], [0, 1])
    with pytest.raises(DataError, match="x0 <= x1"):
        iou_of_curves(curves, [[5, 0, 4, 5], [0, 0, 1, 1]], [0, 1, 2])
