"""What the explorer computes with is the judge's step function, image by image."""

from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.judge.scoring import iou_of_record
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.metrics.curve_counts import iou_at_taus
from wsol_bench.records.run_record import RunRecord
from wsol_bench.report.explorer import accuracy_at, box_curve, boxes_at, switches


def record() -> RunRecord:
    """Three images in a frame of 10: a map with maximum 255, one with 100, and one that is empty."""
    curves = BoxCurves(
        max_levels=np.asarray([255, 100, 0], np.uint8),
        cuts=np.asarray([0, 50, 200, 0, 40, 0], np.uint8),
        boxes=np.asarray(
            [(0, 0, 9, 9), (2, 2, 7, 7), (0, 0, 0, 0), (0, 0, 9, 4), (0, 0, 2, 2), (0, 0, 0, 0)], np.int16
        ),
        offsets=np.asarray([0, 3, 5, 6]),
    )
    zeros = np.zeros((3, 2), np.int16)
    return RunRecord(
        ids=("a", "b", "c"), labels=np.zeros(3, np.int16), top5=np.zeros((3, 5), np.int16),
        top5_scores=np.zeros((3, 5), np.float32), peaks=zeros, otsu_boxes=np.zeros((3, 4), np.int16), curves=curves,
        frame=10,
    )  # fmt: skip


def boxes(*each: list[tuple[int, int, int, int]]) -> BoxSet:
    return BoxSet.from_mapping(dict(zip("abc", each, strict=True)), dict.fromkeys("abc", (10, 10)))


TRUTH = boxes([(2, 2, 7, 7)], [(0, 0, 9, 4)], [(5, 5, 9, 9)])


@pytest.mark.parametrize("level", [0.3, 0.5, 0.7, 1.0])
def test_switches_are_the_step_function_of_every_image(level: float) -> None:
    ious = iou_of_record(record(), TRUTH)
    switching = switches(ious, level)
    for tau in np.linspace(0, 0.999, 400):
        wanted = 100 * np.mean(iou_at_taus(ious, [tau])[:, 0] >= level)
        assert accuracy_at([255, 100, 0], switching, float(tau)) == pytest.approx(wanted)


def test_switches_start_anew_with_every_image() -> None:
    assert switches(iou_of_record(record(), TRUTH), 0.5) == [[50, 200], [0, 40], []]
    # A box that is right to the last cut of one image says nothing about the next one.
    truth = boxes([(0, 0, 0, 0)], [(0, 0, 2, 2)], [(0, 0, 0, 0)])
    assert switches(iou_of_record(record(), truth), 0.5) == [[200], [40], [0]]


def test_boxes_and_curves() -> None:
    assert boxes_at(record(), 0.39).tolist() == [[2, 2, 7, 7], [0, 0, 9, 4], [0, 0, 0, 0]]
    assert box_curve(record(), 1) == {"max": 100, "cuts": [0, 40], "boxes": [0, 0, 9, 4, 0, 0, 2, 2]}
