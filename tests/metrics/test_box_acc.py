from __future__ import annotations

import numpy as np
import pytest
from slow_sweep import SlowSweep

from wsol_bench.errors import DataError, UsageError
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.box_acc import BoxAccuracy
from wsol_bench.metrics.curve_counts import iou_at_taus
from wsol_bench.metrics.curve_iou import curves_of_boxes, iou_of_curves

TAUS = tau_grid(0.01)


@pytest.mark.parametrize("contours", ["largest", "all"])
def test_equals_the_definitions(contours: str):
    sweep = SlowSweep(21, 30)
    metric = BoxAccuracy(TAUS, (0.1, 0.3, 0.5), contours)
    curves = sweep.largest() if contours == "largest" else sweep.contours()
    ious = iou_at_taus(metric.update(curves, sweep.gt_boxes, sweep.gt_offsets), TAUS)
    result = metric.compute()
    accuracy = np.stack([100 * (ious >= threshold).mean(axis=0) for threshold in (0.1, 0.3, 0.5)])
    np.testing.assert_allclose(result.box_acc, accuracy)
    np.testing.assert_allclose(result.max_box_acc, accuracy.max(axis=1))
    np.testing.assert_array_equal(result.max_box_acc_tau, TAUS[accuracy.argmax(axis=1)])
    assert result.max_box_acc_v2 == pytest.approx(accuracy.max(axis=1).mean())
    np.testing.assert_allclose(result.mean_iou_curve, 100 * ious.mean(axis=0))
    assert result.mean_iou == pytest.approx(100 * ious.mean(axis=0).max())
    assert (result.n, result.contours) == (30, contours)


def test_an_image_on_the_threshold_counts():
    metric = BoxAccuracy([0.0], (0.5, 0.51))
    metric.update(curves_of_boxes([[0, 0, 9, 9]]), [[0, 0, 9, 19]], [0, 1])
    assert metric.compute().max_box_acc.tolist() == [100, 0]


def test_ties_go_to_the_smallest_tau():
    metric = BoxAccuracy(TAUS)
    metric.update(curves_of_boxes([[0, 0, 9, 9]]), [[0, 0, 9, 9]], [0, 1])
    assert metric.compute().max_box_acc_tau.tolist() == [0, 0, 0]
    assert metric.compute().mean_iou_tau == 0


def test_top_k_needs_box_and_class():
    boxes = [[0, 0, 9, 9], [0, 0, 9, 9], [50, 50, 60, 60], [0, 0, 9, 9]]
    truth = [[0, 0, 9, 9]] * 4
    metric = BoxAccuracy(TAUS, (0.5,), ranks=("top1", "top5"))
    metric.update(
        curves_of_boxes(boxes), truth, range(5), in_top1=[True, False, True, False], in_top5=[True, True, True, False]
    )
    result = metric.compute()
    assert result.max_box_acc.tolist() == [75]
    assert (result.top1_loc.best.tolist(), result.top5_loc.best.tolist()) == ([25], [50])
    assert result.top1_loc.at_max_box_acc_tau.tolist() == [25]
    assert (result.accuracy("top1"), result.accuracy("top5")) == (50, 75)


def test_top_1_at_the_tau_of_box_accuracy_can_be_lower_than_its_own_best():
    sweep = SlowSweep(33, 40)
    ious = iou_at_taus(iou_of_curves(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets), TAUS)
    right = np.random.default_rng(0).random(40) < 0.4
    metric = BoxAccuracy(TAUS, (0.3,), ranks=("top1",))
    metric.update(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets, in_top1=right)
    result = metric.compute()
    hits = (ious >= 0.3) & right[:, None]
    assert result.top1_loc.best[0] == pytest.approx(100 * hits.mean(axis=0).max())
    best = (ious >= 0.3).mean(axis=0).argmax()
    assert result.top1_loc.at_max_box_acc_tau[0] == pytest.approx(100 * hits.mean(axis=0)[best])
    assert result.top5_loc is None


def test_frozen_taus_are_evaluated_but_never_chosen():
    sweep = SlowSweep(5, 20)
    frozen = 0.12345
    metric = BoxAccuracy(TAUS[40:], fixed_taus=(frozen, TAUS[50]))
    ious = metric.update(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets)
    result = metric.compute()
    expected = [100 * np.mean(ious.at_tau(frozen)[0] >= threshold) for threshold in (0.3, 0.5, 0.7)]
    np.testing.assert_allclose(result.box_acc_at(frozen), expected)
    assert result.mean_iou_at(frozen) == pytest.approx(100 * ious.at_tau(frozen)[0].mean())
    assert result.max_box_acc_tau.min() >= TAUS[40]
    one_each = result.box_acc_at([frozen, TAUS[50], TAUS[60]])
    assert one_each[1] == result.box_acc_at(TAUS[50])[1]
    with pytest.raises(UsageError, match="fixed_taus"):
        result.box_acc_at(0.2)


@pytest.mark.parametrize("contours", ["largest", "all"])
def test_merge_of_shards_equals_the_whole(contours: str):
    sweep = SlowSweep(8, 21)
    right = np.arange(21) % 3 == 0

    def scored(members: range) -> BoxAccuracy:
        metric = BoxAccuracy(TAUS, contours=contours, ranks=("top1",), replicates=50, seed=4)
        curves = sweep.largest() if contours == "largest" else sweep.contours()
        for start in range(members.start, members.stop, 4):
            rows = range(start, min(start + 4, members.stop))
            boxes = [sweep.gt[i] for i in rows]
            offsets = np.concatenate([[0], np.cumsum([len(part) for part in boxes])])
            ids = [sweep.ids[i] for i in rows]
            metric.update(curves.select(list(rows)), np.concatenate(boxes), offsets, in_top1=right[list(rows)], ids=ids)
        return metric

    whole, merged = scored(range(21)), scored(range(14, 21))
    merged.merge(scored(range(5)))
    reloaded = BoxAccuracy(TAUS, contours=contours, ranks=("top1",), replicates=50, seed=4)
    reloaded.load_state(scored(range(5, 14)).state())
    merged.merge(reloaded)
    for name, array in whole.state().items():
        np.testing.assert_array_equal(array, merged.state()[name], err_msg=name)
    assert whole.compute().max_box_acc_intervals() == merged.compute().max_box_acc_intervals()


def test_bootstrap_counts_equal_the_matrix_way():
    from wsol_bench.metrics.bootstrap import interval_at_best_tau, poisson_weights, replicate_sums

    sweep = SlowSweep(17, 25)
    metric = BoxAccuracy(TAUS, (0.3,), replicates=80, seed=2)
    ious = metric.update(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets, ids=sweep.ids)
    result = metric.compute()
    weights = poisson_weights(sweep.ids, 80, 2)
    hits = iou_at_taus(ious, TAUS) >= 0.3
    expected = interval_at_best_tau(replicate_sums(hits, weights), weights.sum(axis=0, dtype=np.int64))
    assert result.max_box_acc_intervals()[0] == expected
    assert result.max_box_acc_v2_interval() == expected
    interval = result.mean_iou_interval()
    assert interval.low <= result.mean_iou <= interval.high


def test_wrong_use_is_refused_with_a_way_out():
    sweep = SlowSweep(1, 2)
    truth = (sweep.gt_boxes, sweep.gt_offsets)
    with pytest.raises(UsageError, match="ContourSets"):
        BoxAccuracy(TAUS, contours="all").update(sweep.largest(), *truth)
    with pytest.raises(UsageError, match="BoxCurves"):
        BoxAccuracy(TAUS).update(sweep.contours(), *truth)
    with pytest.raises(UsageError, match="in_top1"):
        BoxAccuracy(TAUS).update(sweep.largest(), *truth, in_top1=[True, True])
    with pytest.raises(UsageError, match="in_top5"):
        BoxAccuracy(TAUS, ranks=("top5",)).update(sweep.largest(), *truth)
    with pytest.raises(UsageError, match="image ids"):
        BoxAccuracy(TAUS, replicates=3).update(sweep.largest(), *truth)
    with pytest.raises(UsageError, match=r"0\.5, not 50"):
        BoxAccuracy(TAUS, (50,))
    with pytest.raises(UsageError, match="contours"):
        BoxAccuracy(TAUS, contours="biggest")
    with pytest.raises(UsageError, match="replicates=1000"):
        scored_without_bootstrap(sweep).max_box_acc_intervals()
    with pytest.raises(DataError, match="none was scored"):
        BoxAccuracy(TAUS).compute()
    with pytest.raises(DataError, match="differ"):
        BoxAccuracy(TAUS).merge(BoxAccuracy(TAUS, (0.5,)))
    with pytest.raises(DataError, match="hits"):
        BoxAccuracy(TAUS).load_state(BoxAccuracy(TAUS, (0.5,)).state())


def scored_without_bootstrap(sweep: SlowSweep):
    metric = BoxAccuracy(TAUS)
    metric.update(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets)
    return metric.compute()
