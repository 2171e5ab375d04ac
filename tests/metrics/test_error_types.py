from __future__ import annotations

import numpy as np
import pytest
from slow_sweep import SlowSweep

from wsol_bench.errors import DataError
from wsol_bench.maps.oracle import oracle_largest
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.error_types import ErrorType, ErrorTypes, error_types_of_boxes
from wsol_bench.metrics.iou import box_iog, box_iop, box_iou

TAUS = tau_grid(0.01)
OBJECT = [50, 50, 149, 149]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((70, 70, 119, 119), ErrorType.LPE),
        ((20, 20, 219, 219), ErrorType.LME),
        ((0, 0, 99, 99), ErrorType.OTHER),
        ((50, 50, 149, 100), ErrorType.RIGHT),
        ((50, 50, 149, 99), ErrorType.LPE),  # IoU is exactly 0.5, which is not enough
        ((0, 0, 0, 0), ErrorType.OTHER),
        ((200, 200, 210, 210), ErrorType.OTHER),
    ],
)
def test_one_object(box: tuple[int, ...], expected: ErrorType):
    assert error_types_of_boxes([box], [OBJECT], [0, 1])[0] == expected


def test_covering_seventy_percent_is_more():
    # IoG is 0.70 exactly; the box is so large that IoP stays below one half.
    assert error_types_of_boxes([[50, 50, 249, 119]], [OBJECT], [0, 1])[0] == ErrorType.LME
    assert error_types_of_boxes([[50, 50, 249, 118]], [OBJECT], [0, 1])[0] == ErrorType.OTHER


def test_covering_two_objects_is_multi_instance():
    pair = [[0, 0, 49, 99], [60, 0, 109, 99]]
    assert error_types_of_boxes([[0, 0, 109, 99]], pair, [0, 2])[0] == ErrorType.M_INS
    touching = error_types_of_boxes([[40, 0, 69, 99]], pair, [0, 2])[0]
    assert touching == ErrorType.OTHER


def test_wrong_class_comes_first():
    right = error_types_of_boxes([OBJECT, OBJECT], [OBJECT, OBJECT], [0, 1, 2], [True, False])
    assert right.tolist() == [ErrorType.RIGHT, ErrorType.CLS_WRONG]


def test_empty_box_is_no_part_even_if_an_object_covers_the_corner():
    assert error_types_of_boxes([[0, 0, 0, 0]], [[0, 0, 223, 223]], [0, 1])[0] == ErrorType.OTHER


def slow_label(box: np.ndarray, targets: np.ndarray, class_right: bool) -> ErrorType:
    if not class_right:
        return ErrorType.CLS_WRONG
    ious = box_iou(box, targets)
    best = int(ious.argmax())
    if ious[best] > 0.5:
        return ErrorType.RIGHT
    if not box.any():
        return ErrorType.OTHER
    if len(targets) > 1 and np.count_nonzero(box_iog(box, targets) > 0.3) >= 2:
        return ErrorType.M_INS
    if box_iop(box, targets[best]) > 0.5:
        return ErrorType.LPE
    if box_iog(box, targets[best]) >= 0.7:
        return ErrorType.LME
    return ErrorType.OTHER


def test_curves_equal_the_slow_cascade_at_every_tau():
    sweep = SlowSweep(2, 20, side=24)
    right = np.arange(20) % 4 != 0
    metric = ErrorTypes(TAUS)
    metric.update(sweep.largest(), sweep.gt_boxes, sweep.gt_offsets, right)
    rates = metric.compute()
    boxes = [oracle_largest(q) for q in sweep.q]
    for j, tau in enumerate(TAUS):
        labels = [
            slow_label(boxes[i][int(tau * np.max(q))], sweep.gt[i], bool(right[i])) for i, q in enumerate(sweep.q)
        ]
        expected = np.bincount(labels, minlength=6) * 100 / 20
        np.testing.assert_allclose(rates.rates[:, j], expected)
        assert rates.at(j)["lpe"] == expected[ErrorType.LPE]
    np.testing.assert_allclose(rates.rates.sum(axis=0), 100)


def test_merge_of_shards_equals_the_whole():
    sweep = SlowSweep(6, 10)
    curves = sweep.largest()
    whole, merged = ErrorTypes(TAUS), ErrorTypes(TAUS)
    whole.update(curves, sweep.gt_boxes, sweep.gt_offsets)
    for rows in (range(7, 10), range(7)):
        shard, saved = ErrorTypes(TAUS), ErrorTypes(TAUS)
        begin, end = sweep.gt_offsets[rows.start], sweep.gt_offsets[rows.stop]
        shard.update(
            curves.select(list(rows)),
            sweep.gt_boxes[begin:end],
            sweep.gt_offsets[rows.start : rows.stop + 1] - begin,
        )
        saved.load_state(shard.state())
        merged.merge(saved)
    np.testing.assert_array_equal(whole.compute().rates, merged.compute().rates)
    assert merged.compute().n == 10


def test_wrong_use_is_refused():
    with pytest.raises(DataError, match="class_right"):
        error_types_of_boxes([OBJECT], [OBJECT], [0, 1], [True, False])
    with pytest.raises(DataError, match="none was scored"):
        ErrorTypes(TAUS).compute()
    with pytest.raises(DataError, match="equal taus"):
        ErrorTypes(TAUS).merge(ErrorTypes([0.5]))
