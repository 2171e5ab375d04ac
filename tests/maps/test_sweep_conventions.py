"""The conventions of the reference evaluator that are easy to lose: strict cut, polygon area, half-open far edge."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from wsol_bench.maps.normalise import quantise
from wsol_bench.maps.sweep import sweep_all, sweep_largest
from wsol_bench.maps.thresholds import cuts_of_taus


def boxes_at_taus(scores: ArrayLike, taus: list[float]) -> list[list[int]]:
    curves = sweep_largest(quantise(np.array(scores, dtype=np.float64)))
    return curves.boxes_at(cuts_of_taus(taus, curves.max_levels))[0].tolist()


def canvas(*areas: tuple[slice, slice]) -> NDArray[np.uint8]:
    q = np.zeros((224, 224), dtype=np.uint8)
    for area in areas:
        q[area] = 255
    return q


def only_box(q: NDArray[np.uint8]) -> list[int]:
    (box,) = np.unique(sweep_largest(q).boxes, axis=0)
    return box.tolist()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (
            [[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]],
            [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]],
        ),
        (
            [[0.4, 0, 0.2, 0.2, 0.2], [0.4, 0.4, 0, 0.4, 0], [0, 0, 0, 0.4, 0], [1, 0.6, 0.8, 0.2, 0.2]],
            [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]],
        ),
    ],
)
def test_reference_unit_tests(scores: list[list[float]], expected: list[list[int]]) -> None:
    assert boxes_at_taus(scores, [0, 0.2, 0.4, 0.6, 0.8]) == expected


def test_far_edge_is_one_past_the_foreground_inside_the_map() -> None:
    assert only_box(canvas((slice(50, 100), slice(60, 120)))) == [60, 50, 120, 100]


def test_far_edge_is_clipped_at_the_border() -> None:
    assert only_box(canvas((slice(200, 224), slice(200, 224)))) == [200, 200, 223, 223]


def test_a_thin_ring_beats_a_smaller_solid_block() -> None:
    q = canvas((slice(10, 70), slice(10, 70)), (slice(100, 150), slice(100, 150)))
    q[11:69, 11:69] = 0
    assert only_box(q) == [10, 10, 70, 70]


def test_among_areas_of_zero_the_lowest_component_wins() -> None:
    assert only_box(canvas((slice(10, 11), slice(30, 31)), (slice(200, 201), slice(5, 6)))) == [5, 200, 6, 201]


def test_a_long_line_has_no_area() -> None:
    q = canvas((slice(10, 11), slice(0, 200)), (slice(50, 52), slice(50, 52)))
    assert only_box(q) == [50, 50, 52, 52]


def test_a_tie_is_lost_by_growing_upwards() -> None:
    q = canvas((slice(100, 101), slice(20, 21)), (slice(101, 102), slice(150, 151)))
    q[99, 150] = q[100, 150] = 10
    curves = sweep_largest(q)
    assert curves.boxes_at([9, 10])[0].tolist() == [[20, 100, 21, 101], [150, 101, 151, 102]]


def test_hole_of_a_component_is_a_contour_with_its_ring() -> None:
    q = canvas((slice(10, 200), slice(10, 200)))
    q[40:100, 40:90] = 0
    contours = sweep_all(q)
    assert sorted(contours.boxes_at(0, 100).tolist()) == [[10, 10, 200, 200], [39, 39, 91, 101]]
    assert np.unique(contours.counts()).tolist() == [2]


def test_background_at_the_edge_is_no_hole() -> None:
    q = canvas((slice(0, 224), slice(0, 224)))
    q[:, 100] = 0
    assert sweep_all(q).counts()[0, 0] == 2


def test_diagonal_neighbours_are_one_component_and_close_holes() -> None:
    q = np.array([[0, 9, 0], [9, 0, 9], [0, 9, 0]], dtype=np.uint8)
    contours = sweep_all(q)
    assert contours.counts()[0, 0] == 2
    assert contours.boxes_at(0, 0).tolist() == [[0, 0, 2, 2], [0, 0, 2, 2]]


def test_zero_map_and_map_that_quantises_to_zero() -> None:
    for scores in (np.zeros((224, 224)), np.full((224, 224), 0.003)):
        q = quantise(scores)
        assert only_box(q) == [0, 0, 0, 0]
        contours = sweep_all(q)
        assert contours.boxes.tolist() == [[0, 0, 0, 0]]
        assert (contours.first_cuts[0], contours.last_cuts[0]) == (0, 254)


def test_constant_map_is_the_whole_image_at_every_tau() -> None:
    boxes = boxes_at_taus(np.full((224, 224), 0.5), [0.0, 0.5, 0.999])
    assert boxes == [[0, 0, 223, 223]] * 3


def test_cuts_above_the_maximum_are_empty() -> None:
    q = np.full((4, 4), 100, dtype=np.uint8)
    curves, contours = sweep_largest(q), sweep_all(q)
    assert curves.boxes_at([99, 100, 254])[0].tolist() == [[0, 0, 3, 3], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert contours.boxes_at(0, 254).tolist() == [[0, 0, 0, 0]]
    assert contours.max_levels.tolist() == [100]
