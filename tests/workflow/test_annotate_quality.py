"""Pseudo-boxes of a workspace against ground truth, on sets whose quality can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotators.base import AnnotatedImage, Fallback, FunnelOutcome
from wsol_bench.annotators.card import Recipe, ids_sha256, read_card
from wsol_bench.annotators.store import PseudoBoxWriter, split_folder
from wsol_bench.datasets.critters import Critters
from wsol_bench.errors import DataError, FirewallError, UsageError
from wsol_bench.report.annotation_rows import funnel_rows, quality_row
from wsol_bench.workflow.annotate_quality import judge_boxes

DATASET = Critters(train=1, val=4, test=1)
SPLIT = DATASET.split("val")
with firewall.judging("the tests"):
    TRUTH = DATASET.ground_truth("val").boxes
WHOLE = np.array([0, 0, 63, 63], dtype=np.int32)
SIZES = np.full((4, 2), 64, dtype=np.int32)


def _outcome(index: int) -> FunnelOutcome:
    """The true box, found by a peak inside it, beside the whole frame."""
    boxes = np.stack([WHOLE, TRUTH[index]])
    x, y = TRUTH[index][:2].tolist()
    return FunnelOutcome(
        frame=64,
        boxes=boxes,
        scores=np.array([0.1, 0.9], np.float32),
        objectness=None,
        top=np.array([False, True]),
        hits=np.array([True, True]),
        peak=(x, y),
        best_ranked=1,
        final=1,
        fallback=Fallback.NONE,
        proposed=2,
        cleaned=2,
    )


def write(root: Path, name: str, annotated: list[AnnotatedImage], count: int = 4) -> Path:
    folder = split_folder(root, "critters", name, "val")
    recipe = Recipe(
        annotator=name,
        annotator_version="1",
        supervision="none",
        options={},
        weights={},
        classifier=None,
        dataset="critters",
        dataset_version=DATASET.version,
        split="val",
        images=count,
        ids_sha256=ids_sha256(SPLIT.ids, SPLIT.labels),
        frame=64,
    )
    writer = PseudoBoxWriter(folder, recipe, SPLIT.ids[:count], SPLIT.labels[:count], SIZES[:count])
    for chunk in writer.pending():
        writer.write(chunk, annotated[chunk])
    writer.finish()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    perfect = [AnnotatedImage(i, TRUTH[n], Fallback.NONE, _outcome(n)) for n, i in enumerate(SPLIT.ids)]
    frame = [AnnotatedImage(i, WHOLE, Fallback.WHOLE_FRAME) for i in SPLIT.ids]
    frame[0] = AnnotatedImage(SPLIT.ids[0], np.zeros(4, np.int32), Fallback.EMPTY_MASK)
    write(tmp_path, "perfect", perfect)
    write(tmp_path, "frame", frame)
    return tmp_path


def test_every_set_is_judged_and_its_card_says_so(root: Path) -> None:
    with firewall.ledger() as book:
        found = {one.name: one for one in judge_boxes(DATASET, "val", root)}
    assert set(found) == {"perfect", "frame"}
    assert book.supervision() == "gt:val+pseudo:frame+pseudo:perfect"
    assert found["perfect"].boxes.mean_iou == 100 and found["perfect"].replaced == 0
    assert found["frame"].boxes.zero_boxes == 1 and found["frame"].replaced == 4 and found["frame"].funnel is None
    funnel = found["perfect"].funnel
    assert funnel is not None and funnel.pointing_accuracy == 100
    stages = {stage.name: stage.mean_iou for stage in funnel.stages}
    assert stages["final"] == stages["oracle of the pool"] == 100 > stages["pointing game"]
    card = read_card(found["perfect"].folder)
    assert card.quality is not None and card.quality["mean_iou"] == 100.0 and card.quality["read"] == "gt"
    assert card.quality["funnel"]["stages"]["final"]["mean_iou"] == 100.0


def test_one_set_can_be_named(root: Path) -> None:
    assert [one.name for one in judge_boxes(DATASET, "val", root, ["frame"])] == ["frame"]
    with pytest.raises(UsageError, match="Did you mean 'frame'"):
        judge_boxes(DATASET, "val", root, ["fram"])


def test_skipped_images_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "some", [AnnotatedImage(i, TRUTH[n]) for n, i in enumerate(SPLIT.ids[:3])], count=3)
    (found,) = judge_boxes(DATASET, "val", tmp_path)
    assert found.boxes.n == 3 and found.boxes.mean_iou == 100


def test_boxes_of_another_size_are_refused(root: Path) -> None:
    with pytest.raises(DataError, match="images of other sizes"):
        judge_boxes(Critters(size=96, train=1, val=4, test=1), "val", root)


def test_a_folder_without_a_card_is_judged_too(tmp_path: Path) -> None:
    boxes = BoxSet.from_mapping(
        {i: [TRUTH[n].tolist()] for n, i in enumerate(SPLIT.ids)}, dict.fromkeys(SPLIT.ids, (64, 64))
    )
    write_four_file(tmp_path / "critters" / "mine" / "val", ids=SPLIT.ids, labels=SPLIT.labels, boxes=boxes)
    (found,) = judge_boxes(DATASET, "val", tmp_path)
    assert found.boxes.mean_iou == 100 and found.supervision == "unknown" and found.card is None


def test_nothing_to_judge(tmp_path: Path, root: Path) -> None:
    with pytest.raises(DataError, match="fix: 'wsol-bench annotate'"):
        judge_boxes(DATASET, "val", tmp_path / "empty")
    with pytest.raises(DataError, match="for 'test' of critters"):
        judge_boxes(DATASET, "test", root)


def test_ground_truth_stays_shut_during_training(root: Path) -> None:
    with firewall.training("a method"), pytest.raises(FirewallError):
        judge_boxes(DATASET, "val", root)


def test_rows_of_the_tables(root: Path) -> None:
    found = judge_boxes(DATASET, "val", root)
    rows = [quality_row(one.name, one.supervision, one.boxes, one.replaced) for one in found]
    assert [(row["boxes"], row["fallbacks"], row["empty"]) for row in rows] == [("frame", 4, 1), ("perfect", 0, 0)]
    stages = funnel_rows([(one.name, one.funnel) for one in found if one.funnel is not None])
    assert [row["stage"] for row in stages][-1] == "pointing game of the class map"
    assert {row["stage"]: row["perfect"] for row in stages}["final"] == "100.00"
    assert funnel_rows([]) == []
