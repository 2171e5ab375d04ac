from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol_bench.errors import DataError
from wsol_bench.metrics.iou import best_iou, box_iog, box_iop, box_iou, check_boxes


def test_counts_both_border_pixels():
    assert box_iou([1, 2, 5, 6], [3, 1, 4, 5]) == 8 / 27


def test_empty_box_matches_only_itself():
    assert box_iou([0, 0, 0, 0], [0, 0, 0, 0]) == 1
    assert box_iou([0, 0, 0, 0], [1, 1, 5, 5]) == 0
    assert box_iou([0, 0, 0, 0], [0, 0, 223, 223]) == 1 / 224**2


def test_a_map_equal_to_the_object_stays_below_one():
    assert round(float(box_iou([50, 50, 150, 150], [50, 50, 149, 149])), 4) == 0.9803


def test_covered_shares_are_relative_to_their_own_box():
    small, large = [70, 70, 119, 119], [50, 50, 149, 149]
    assert (box_iop(small, large), box_iog(small, large)) == (1, 0.25)
    assert (box_iop(large, small), box_iog(large, small)) == (0.25, 1)


def test_best_iou_is_the_maximum_over_targets():
    boxes = np.array([[0, 0, 9, 9], [20, 20, 29, 29], [50, 50, 60, 60]])
    targets = np.array([[0, 0, 9, 19], [20, 20, 29, 29]])
    np.testing.assert_array_equal(best_iou(boxes, targets), [0.5, 1, 0])


@pytest.mark.parametrize("box", [[-1, 0, 5, 5], [0, -2, 5, 5], [6, 0, 5, 5], [0, 6, 5, 5]])
def test_malformed_boxes_are_refused(box: list[int]):
    with pytest.raises(DataError, match=r"0 <= x0 <= x1 .* but got"):
        box_iou(box, [0, 0, 5, 5])
    with pytest.raises(DataError):
        box_iou([0, 0, 5, 5], box)


def test_other_shapes_and_fractions_are_refused():
    with pytest.raises(DataError, match="shape"):
        check_boxes([1, 2, 3])
    with pytest.raises(DataError, match="fractions"):
        check_boxes([0.5, 1, 2, 3])
    with pytest.raises(DataError, match="at least one ground-truth box"):
        best_iou([[0, 0, 1, 1]], np.zeros((0, 4), int))


@st.composite
def boxes_in_small_frame(draw: st.DrawFn) -> list[int]:
    x0, x1 = sorted((draw(st.integers(0, 9)), draw(st.integers(0, 9))))
    y0, y1 = sorted((draw(st.integers(0, 9)), draw(st.integers(0, 9))))
    return [x0, y0, x1, y1]


@given(boxes_in_small_frame(), boxes_in_small_frame())
def test_equals_counting_pixels(a: list[int], b: list[int]):
    frame = np.zeros((2, 10, 10), bool)
    for layer, (x0, y0, x1, y1) in zip(frame, (a, b), strict=True):
        layer[y0 : y1 + 1, x0 : x1 + 1] = True
    shared = (frame[0] & frame[1]).sum()
    assert box_iou(a, b) == shared / (frame[0] | frame[1]).sum()
    assert box_iop(a, b) == shared / frame[0].sum()
    assert box_iog(a, b) == shared / frame[1].sum()
    assert box_iou(a, b) == box_iou(b, a)
