from __future__ import annotations

import numpy as np
import pytest
from slow_sweep import SlowSweep

from wsol_bench.errors import DataError, UsageError
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.corloc import CorLoc
from wsol_bench.metrics.curve_counts import iou_at_taus
from wsol_bench.metrics.curve_iou import curves_of_boxes, iou_of_curves

TAUS = tau_grid(0.01)
NAMES = ("bird", "boat", "car")


def test_mean_over_classes_not_over_images():
    boxes = curves_of_boxes([[0, 0, 9, 9]] * 4)
    metric = CorLoc(("a", "b"))
    metric.update(boxes, [0, 0, 0, 1], [[0, 0, 9, 9]] * 3 + [[50, 50, 60, 60]], range(5))
    result = metric.compute()
    assert result.per_class_n.tolist() == [3, 1]
    assert result.at(0).tolist() == [100, 0]
    assert result.at_best_tau == 50


def test_one_tau_and_a_tau_per_class():
    sweep = SlowSweep(9, 30)
    labels = np.arange(30) % 3
    metric = CorLoc(NAMES, TAUS, iou_threshold=0.3)
    metric.update(sweep.largest(), labels, sweep.gt_boxes, sweep.gt_offsets)
    result = metric.compute()
    hits = iou_at_taus(iou_of_curves(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets), TAUS) >= 0.3
    curves = np.stack([100 * hits[labels == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(result.curves, curves)
    assert result.at_best_tau == pytest.approx(curves.mean(axis=0).max())
    assert result.best_index == curves.mean(axis=0).argmax()
    np.testing.assert_allclose(result.per_class_oracle, curves.max(axis=1))
    assert result.per_class_oracle.mean() >= result.at_best_tau


def test_images_without_a_real_box_and_absent_classes_are_left_out():
    curves = curves_of_boxes([[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9]])
    metric = CorLoc(NAMES)
    metric.update(curves, [0, 1, 0], [[0, 0, 9, 9], [0, 0, 0, 0]], [0, 1, 2, 2])
    result = metric.compute()
    assert (result.n, result.excluded, result.absent) == (1, 2, ("boat", "car"))
    assert result.at_best_tau == 100
    assert np.isnan(result.per_class_oracle[1])


def test_merge_of_shards_equals_the_whole():
    sweep = SlowSweep(4, 9)
    labels, curves = np.arange(9) % 3, sweep.largest()
    whole, merged = CorLoc(NAMES, TAUS), CorLoc(NAMES, TAUS)
    whole.update(curves, labels, sweep.gt_boxes, sweep.gt_offsets)
    for rows in (range(4, 9), range(4)):
        shard = CorLoc(NAMES, TAUS)
        offsets = sweep.gt_offsets[rows.start : rows.stop + 1]
        boxes = sweep.gt_boxes[offsets[0] : offsets[-1]]
        shard.update(curves.select(list(rows)), labels[list(rows)], boxes, offsets - offsets[0])
        merged.merge(shard)
    np.testing.assert_array_equal(whole.compute().curves, merged.compute().curves)


def test_wrong_use_is_refused():
    curves = curves_of_boxes([[0, 0, 9, 9]])
    with pytest.raises(DataError, match=r"labels in 0\.\.2"):
        CorLoc(NAMES).update(curves, [3], [[0, 0, 9, 9]], [0, 1])
    with pytest.raises(DataError, match="offsets"):
        CorLoc(NAMES).update(curves, [0], [[0, 0, 9, 9]], [0])
    with pytest.raises(DataError, match="at least one image"):
        CorLoc(NAMES).compute()
    with pytest.raises(DataError, match="differ"):
        CorLoc(NAMES).merge(CorLoc(NAMES, iou_threshold=0.3))
    with pytest.raises(UsageError, match="IoU threshold"):
        CorLoc(NAMES, iou_threshold=50)
