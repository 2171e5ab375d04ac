from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.maps.normalise import quantise
from wsol_bench.maps.sweep import sweep_all, sweep_largest
from wsol_bench.maps.thresholds import cuts_of_taus, tau_grid

Cases = dict[str, dict[str, np.ndarray]]


def best_iou(boxes: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Best IoU of each box with any ground-truth box, corners inclusive."""
    boxes, gt = boxes[:, None].astype(np.float64), gt[None].astype(np.float64)
    width = np.minimum(boxes[..., 2], gt[..., 2]) - np.maximum(boxes[..., 0], gt[..., 0]) + 1
    height = np.minimum(boxes[..., 3], gt[..., 3]) - np.maximum(boxes[..., 1], gt[..., 1]) + 1
    inside = np.maximum(width, 0) * np.maximum(height, 0)
    areas = [(b[..., 2] - b[..., 0] + 1) * (b[..., 3] - b[..., 1] + 1) for b in (boxes, gt)]
    return (inside / (areas[0] + areas[1] - inside)).max(axis=1)


def test_all_58_cases_are_there(box_cases: Cases) -> None:
    assert len(box_cases) == 58


def test_largest_boxes(box_cases: Cases) -> None:
    for name, case in box_cases.items():
        curves = sweep_largest(quantise(case["map"]))
        boxes = curves.boxes_at(cuts_of_taus(tau_grid(0.01), curves.max_levels))[0]
        np.testing.assert_array_equal(boxes, case["largest_boxes_001"], err_msg=name)


def test_number_of_contours(box_cases: Cases) -> None:
    for name, case in box_cases.items():
        contours = sweep_all(quantise(case["map"]))
        cuts = cuts_of_taus(tau_grid(0.01), contours.max_levels)[0]
        np.testing.assert_array_equal(contours.counts()[0, cuts], case["num_contours_001"], err_msg=name)


@pytest.mark.parametrize(("step", "suffix"), [(0.01, "001"), (0.001, "0001")])
def test_best_iou_of_the_largest_contour(box_cases: Cases, step: float, suffix: str) -> None:
    for name, case in box_cases.items():
        curves = sweep_largest(quantise(case["map"]))
        boxes = curves.boxes_at(cuts_of_taus(tau_grid(step), curves.max_levels))[0]
        np.testing.assert_array_equal(best_iou(boxes, case["gt"]), case[f"best_iou_single_{suffix}"], err_msg=name)


@pytest.mark.parametrize(("step", "suffix"), [(0.01, "001"), (0.001, "0001")])
def test_best_iou_of_all_contours(box_cases: Cases, step: float, suffix: str) -> None:
    for name, case in box_cases.items():
        contours = sweep_all(quantise(case["map"]))
        best = np.zeros(255)
        ious = best_iou(contours.boxes, case["gt"])
        order = np.argsort(ious)
        for k in order:
            best[contours.first_cuts[k] : int(contours.last_cuts[k]) + 1] = ious[k]
        cuts = cuts_of_taus(tau_grid(step), contours.max_levels)[0]
        np.testing.assert_array_equal(best[cuts], case[f"best_iou_multi_{suffix}"], err_msg=name)
