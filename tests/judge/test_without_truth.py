"""Without manual boxes the sources choose what they would choose with them, and agreement is counted box by box."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.errors import RecordError
from wsol_bench.judge.agreement import kendall_tau
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.judge.selection import chosen_epoch, selection_level, validation_score
from wsol_bench.judge.without_truth import choose_untested, pairs_of_choices, pairs_of_sources
from wsol_bench.metrics.iou import best_iou
from wsol_bench.records.run_record import read_record

SOURCES = ("cls", "ss", "mine")


@pytest.fixture(scope="module")
def found(contest):
    judgements, protocol, boxes = contest
    val = {name: boxes.val[name] for name in SOURCES[1:]}
    return [
        choose_untested(one.method, one.runs, val, boxes.keys, SOURCES, protocol, replicates=60) for one in judgements
    ]


def test_choices_are_those_of_the_judge(contest, found) -> None:
    for judgement, one in zip(contest[0], found, strict=True):
        assert [choice.source for choice in one.choices] == list(SOURCES)
        for choice in one.choices:
            label = "BV-OT" if choice.source == "cls" else "BV-VT"
            decision, _ = judgement.find(choice.source, label, "max_box_acc")
            assert choice.run.label == judgement.runs[decision.run].label
            assert choice.epoch == decision.epoch
            assert (() if choice.tau is None else (choice.tau,)) == decision.taus
            assert choice.supervision == decision.supervision


def test_no_manual_box_is_read(contest) -> None:
    judgements, protocol, boxes = contest
    with firewall.ledger() as book:
        choose_untested(
            "cam", judgements[0].runs, {"ss": boxes.val["ss"]}, boxes.keys, ("cls", "ss"), protocol, replicates=10
        )
    assert {access.source for access in book.accesses} == {"pseudo:ss"}


def test_a_choice_agrees_with_its_own_source_as_much_as_selected_it(contest, found) -> None:
    judgements, protocol, _ = contest
    level = selection_level(protocol)
    for judgement, one in zip(judgements, found, strict=True):
        for choice in one.choices[1:]:
            decision, _ = judgement.find(choice.source, "BV-VT", "max_box_acc")
            run = judgement.scores[decision.run]
            place = run.epochs.index(choice.epoch)
            assert choice.overlaps[choice.source].share == pytest.approx(run.val[choice.source].box_acc[place, level])


def test_drawn_boxes_are_those_of_the_record_at_the_threshold(found) -> None:
    for choice in found[0].choices:
        record = read_record(choice.run.path("test", choice.epoch))
        for index in (0, 7, 35):
            if choice.tau is None:
                expected = record.otsu_boxes[index]
            else:
                cut = int(choice.tau * int(record.curves.max_levels[index]))
                expected = record.curves.boxes_at(np.array([cut]))[index, 0]
            assert choice.boxes[index].tolist() == expected.tolist()
        assert choice.test_top1 == pytest.approx(100 * record.top1_hits.mean())


def test_sources_are_compared_box_by_box_and_order_by_order(contest, found) -> None:
    judgements, protocol, boxes = contest
    val = {name: boxes.val[name] for name in SOURCES[1:]}
    (pair,) = pairs_of_sources(val, found, protocol, 24, 60)
    first, second = val["ss"], val["mine"]
    a, b = first.in_frame(24, 24), second.in_frame(24, 24)
    ious = np.array(
        [
            best_iou(
                a[first.offsets[i] : first.offsets[i + 1]], b[second.offsets[i] : second.offsets[i + 1]]
            ).max()
            for i in range(len(first))
        ]
    )  # fmt: skip
    assert (pair.first, pair.second, pair.overlap.n) == ("ss", "mine", 24)
    assert pair.overlap.share == pytest.approx(100 * np.mean(ious >= 0.5))
    assert pair.overlap.mean_iou == pytest.approx(100 * ious.mean())
    assert pair.overlap.interval.low <= pair.overlap.share <= pair.overlap.interval.high
    with firewall.judging("test"):
        orders = [
            [validation_score(run, name, protocol)[chosen_epoch(run, name, protocol)] for run in judgements[1].scores]
            for name in SOURCES[1:]
        ]
    assert pair.kendall["acol"] == pytest.approx(kendall_tau(*orders))


def test_every_two_choices_are_compared(contest, found) -> None:
    pairs = pairs_of_choices(found, contest[1], 60)
    assert [(pair.method, pair.first, pair.second) for pair in pairs[:3]] == [
        ("cam", "cls", "ss"),
        ("cam", "cls", "mine"),
        ("cam", "ss", "mine"),
    ]
    one, other = found[0].choices[:2]
    ious = [best_iou(a[None], b[None])[0] for a, b in zip(one.boxes, other.boxes, strict=True)]
    assert pairs[0].overlap.share == pytest.approx(100 * np.mean(np.array(ious) >= 0.5))
    assert pairs[0].same_model == ((one.run.folder, one.epoch) == (other.run.folder, other.epoch))


def test_missing_runs_are_an_error_unless_allowed(contest) -> None:
    judgements, protocol, boxes = contest
    given = ("cam", judgements[0].runs, {"ss": boxes.val["ss"]}, boxes.keys, ("ss",), protocol)
    with pytest.raises(RecordError, match="cam/9"):
        choose_untested(*given, replicates=10, absent=["cam/9"])
    found = choose_untested(*given, replicates=10, absent=["cam/9"], allow_missing=True)
    assert found.missing == "1 of 6 runs"


def test_an_epoch_with_a_damaged_test_record_is_left_out_when_told(contest, tmp_path) -> None:
    judgements, protocol, boxes = contest
    runs = []
    for run in judgements[0].runs:
        shutil.copytree(run.folder, tmp_path / run.folder.name)
        runs.append(RecordedRun(run.label, tmp_path / run.folder.name, run.epochs))
    given = ("cam", runs, {"ss": boxes.val["ss"]}, boxes.keys, ("ss",), protocol)
    (before,) = choose_untested(*given, replicates=10).choices
    path = before.run.path("test", before.epoch)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RecordError, match=path.name):
        choose_untested(*given, replicates=10)
    found = choose_untested(*given, replicates=10, allow_missing=True)
    assert (found.choices[0].run.label, found.choices[0].epoch) != (before.run.label, before.epoch)
    assert found.missing == "1 epochs"
    assert path.name in found.dropped[0]
