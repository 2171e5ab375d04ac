from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotators.base import AnnotatedImage, Fallback, FunnelOutcome
from wsol_bench.errors import DataError
from wsol_bench.judge.pseudo_quality import STAGES, box_quality, funnel_quality

FRAME = 100
SIZES = {"a": (100, 100), "b": (100, 100), "c": (200, 50)}
TRUTH = BoxSet.from_mapping(
    {"a": [(0, 0, 9, 9)], "b": [(10, 10, 19, 19), (50, 50, 89, 89)], "c": [(0, 0, 99, 24)]}, SIZES
)


def slow_iou(a: Any, b: Any) -> float:
    """Counts pixels."""
    one, two = np.zeros((FRAME, FRAME), bool), np.zeros((FRAME, FRAME), bool)
    one[a[1] : a[3] + 1, a[0] : a[2] + 1] = True
    two[b[1] : b[3] + 1, b[0] : b[2] + 1] = True
    return float((one & two).sum() / (one | two).sum())


def test_quality_of_boxes() -> None:
    boxes = BoxSet.from_mapping({"b": [(50, 50, 89, 69)], "a": [(0, 0, 9, 4)], "c": [(0, 0, 0, 0)]}, SIZES)
    quality = box_quality(boxes, TRUTH, FRAME)
    # 'c' in the frame: truth int(99 * 100 / 200) = 49, int(24 * 100 / 50) = 48, that is 50 x 49 pixels.
    assert quality.mean_iou == pytest.approx(100 * (0.5 + 0.5 + 1 / (50 * 49)) / 3)
    assert quality.corloc == pytest.approx(100 * 2 / 3)
    assert (quality.n, quality.zero_boxes) == (3, 1)
    assert quality.mean_area == pytest.approx(100 * (40 * 20 + 10 * 5 + 1) / 3 / FRAME**2)
    assert quality.mean_gt_area == pytest.approx(100 * (40 * 40 + 100 + 50 * 49) / 3 / FRAME**2)
    assert quality.whole_frame_mean_iou == pytest.approx(quality.mean_gt_area)
    assert quality.whole_frame_corloc == 0
    assert quality.as_dict()["mean_iou"] == round(quality.mean_iou, 2)


def test_several_boxes_of_an_image_are_averaged() -> None:
    boxes = BoxSet.from_mapping({"b": [(10, 10, 19, 19), (50, 50, 89, 69)]}, SIZES)
    assert box_quality(boxes, TRUTH, FRAME).mean_iou == pytest.approx(75)


def test_truth_agrees_with_itself() -> None:
    quality = box_quality(TRUTH, TRUTH, FRAME)
    assert (quality.mean_iou, quality.corloc) == (100, 100)


def test_an_image_without_truth_is_an_error() -> None:
    with pytest.raises(DataError, match="'d'"):
        box_quality(BoxSet.from_mapping({"d": [(0, 0, 5, 5)]}, {"d": (10, 10)}), TRUTH, FRAME)
    with pytest.raises(DataError, match=r"at least one box.*'a'"):
        box_quality(BoxSet.from_mapping({"a": []}, SIZES), TRUTH, FRAME)
    with pytest.raises(DataError, match="at least one image"):
        box_quality(BoxSet.from_mapping({}, {}), TRUTH, FRAME)


def funnel(
    boxes: list[tuple[int, int, int, int]],
    top: list[bool],
    hits: list[bool],
    peak: tuple[int, int] | None,
    best_ranked: int,
    final: int,
) -> FunnelOutcome:
    return FunnelOutcome(
        frame=FRAME,
        boxes=np.array(boxes, dtype=np.int32).reshape(-1, 4),
        scores=np.zeros(len(boxes), dtype=np.float32),
        objectness=None,
        top=np.array(top, dtype=bool),
        hits=np.array(hits, dtype=bool),
        peak=peak,
        best_ranked=best_ranked,
        final=final,
        fallback=Fallback.NONE,
        proposed=len(boxes),
        cleaned=len(boxes),
    )


def annotated(image_id: str, outcome: FunnelOutcome | None) -> AnnotatedImage:
    return AnnotatedImage(image_id, np.zeros(4, np.int32) if outcome is None else outcome.box, funnel=outcome)


def test_stages_of_the_funnel() -> None:
    pool = [(0, 0, 9, 9), (0, 0, 19, 9), (5, 5, 60, 60), (60, 60, 80, 80)]
    iou = [slow_iou(box, (0, 0, 9, 9)) for box in pool]
    first = funnel(pool, [False, True, True, True], [True, True, True, False], (7, 7), best_ranked=3, final=1)
    empty = funnel([], [], [], None, best_ranked=-1, final=-1)
    quality = funnel_quality([annotated("b", empty), annotated("a", first)], TRUTH)
    whole = max(slow_iou((0, 0, 99, 99), box) for box in [(10, 10, 19, 19), (50, 50, 89, 89)])
    expected = {
        "pointing game": (np.mean(iou[:3]), 1),
        "best share + pointing game": (np.mean(iou[1:3]), 1),
        "best of the share": ((iou[3] + whole) / 2, 2),
        "final": ((iou[1] + whole) / 2, 2),
        "oracle of the pool": (iou[0], 1),
        "oracle of the share": (max(iou[1:]), 1),
    }
    assert tuple(stage.name for stage in quality.stages) == STAGES
    for stage in quality.stages:
        value, counted = expected[stage.name]
        assert stage.mean_iou == pytest.approx(100 * value)
        assert (stage.n, stage.excluded) == (counted, 2 - counted)
    assert quality.pointing_accuracy == 50
    assert quality.no_peak == 1
    assert quality.as_dict()["stages"]["final"]["corloc"] == 50


def test_a_peak_on_any_box_is_a_hit() -> None:
    for peak, accuracy in (((89, 50), 100), ((90, 50), 0), ((19, 10), 100), ((20, 20), 0)):
        outcome = funnel([(0, 0, 50, 50)], [True], [True], peak, 0, 0)
        assert funnel_quality([annotated("b", outcome)], TRUTH).pointing_accuracy == accuracy


def test_what_cannot_be_compared_is_an_error() -> None:
    outcome = funnel([(0, 0, 50, 50)], [True], [True], (1, 1), 0, 0)
    with pytest.raises(DataError, match="'zebra'"):
        funnel_quality([annotated("zebra", outcome)], TRUTH)
    with pytest.raises(DataError, match="steps of a funnel"):
        funnel_quality([annotated("a", None)], TRUTH)
    with pytest.raises(DataError, match="at least one"):
        funnel_quality([], TRUTH)
