from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.errors import DataError, FirewallError, UsageError
from wsol_bench.workflow.annotate_report import report

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
RELEASED = DATA / "released-pseudo-boxes"
CUB_VAL = DATA / "wsol-metadata" / "CUB" / "val"


@pytest.mark.skipif(not (RELEASED.is_dir() and CUB_VAL.is_dir()), reason="the released pseudo-boxes are not here")
@pytest.mark.parametrize(
    ("folder", "mean_iou", "corloc", "zero_boxes", "outside"),
    [
        ("metadata_generated_by_selective_search_bboxs", 40.07, 29.9, 0, 0),
        ("metadata_generated_by_rpn_bboxs", 71.15, 84.1, 0, 82),
        ("metadata_generated_by_clip_maps", 68.30, 88.4, 7, 0),
    ],
)
def test_released_boxes_have_their_known_quality(
    folder: str, mean_iou: float, corloc: float, zero_boxes: int, outside: int
) -> None:
    result = report(RELEASED / folder / "CUB" / "val", CUB_VAL)
    assert result["n"] == 1000
    assert (result["mean_iou"], result["corloc"]) == (mean_iou, corloc)
    assert (result["zero_boxes"], result["boxes_outside_image"]) == (zero_boxes, outside)
    assert report(RELEASED / folder, CUB_VAL) == result


def write(folder: Path, box: tuple[int, int, int, int], image_id: str = "a.png") -> Path:
    boxes = BoxSet.from_mapping({image_id: [box]}, {image_id: (100, 80)})
    write_four_file(folder, ids=[image_id], labels=[0], boxes=boxes)
    return folder


def test_values_worked_out_by_hand(tmp_path: Path) -> None:
    boxes, truth = write(tmp_path / "ss" / "val", (0, 0, 99, 39)), write(tmp_path / "gt" / "val", (0, 0, 99, 79))
    result = report(tmp_path / "ss", truth, frame=100)
    # In a frame of 100 the lower edges are int(39 * 100 / 80) = 48 and int(79 * 100 / 80) = 98.
    assert result["mean_iou"] == round(100 * 49 / 99, 2)
    assert result["boxes"] == str(boxes)
    assert result["read"] == "gt:val"


def test_ground_truth_stays_shut_during_training(tmp_path: Path) -> None:
    boxes, truth = write(tmp_path / "ss" / "val", (0, 0, 9, 9)), write(tmp_path / "gt" / "val", (0, 0, 9, 9))
    with firewall.training("a method"), pytest.raises(FirewallError):
        report(boxes, truth)


def test_folders_that_cannot_be_compared(tmp_path: Path) -> None:
    boxes = write(tmp_path / "ss" / "val", (0, 0, 9, 9))
    with pytest.raises(DataError, match=r"'a\.png'"):
        report(boxes, write(tmp_path / "gt" / "val", (0, 0, 9, 9), image_id="b.png"))
    with pytest.raises(DataError, match="does not exist"):
        report(tmp_path / "nothing", boxes)
    with pytest.raises(DataError, match=r"gt/val, ss/val"):
        report(tmp_path, boxes)
    with pytest.raises(UsageError, match="frame"):
        report(boxes, boxes, frame=0)


def test_of_several_splits_the_one_of_the_boxes_is_compared(tmp_path: Path) -> None:
    boxes = write(tmp_path / "ss" / "val", (0, 0, 9, 9))
    for split, box in (("train", (0, 0, 4, 4)), ("val", (0, 0, 9, 9))):
        write(tmp_path / "gt" / split, box)
    assert report(boxes, tmp_path / "gt")["mean_iou"] == 100
    with pytest.raises(DataError, match="train, val"):
        report(write(tmp_path / "ss" / "test", (0, 0, 9, 9)), tmp_path / "gt")
