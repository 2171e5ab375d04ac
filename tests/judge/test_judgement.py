"""From records to rows: intervals, provenance and the size of the overstatement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from wsol_bench.annotations import firewall
from wsol_bench.errors import RecordError
from wsol_bench.judge.confidence import ReplicateValues
from wsol_bench.judge.fingerprints import boxes_hash, record_hash, study_hash
from wsol_bench.judge.fixed_boxes import centre_box, fixed_box_scores, frame_box
from wsol_bench.judge.judgement import judge_method, overstatement, rows_of
from wsol_bench.judge.rows import find, write_csv
from wsol_bench.judge.scoring import ScoringBoxes, iou_of_record
from wsol_bench.leaderboard.measured import read_rows
from wsol_bench.metrics.bootstrap import poisson_weights
from wsol_bench.metrics.curve_counts import iou_at_taus
from wsol_bench.protocol import load_protocol

REPLICATES = 60


@pytest.fixture
def judged(study):
    runs, _, val, test = study
    protocol = load_protocol("realistic")
    boxes = ScoringBoxes({"gt": val, "ss": val}, {"gt": "gt", "ss": "pseudo:ss"}, test)
    return judge_method("cam", runs, boxes, ("cls", "gt", "ss"), protocol, replicates=REPLICATES), protocol, boxes


def test_every_cell_becomes_a_row_with_an_interval(judged, tmp_path):
    judgement, protocol, _ = judged
    rows = rows_of(judgement, protocol, "invented", "1")
    assert len(rows) == 3 * 4 * (len(protocol.metrics) + len(protocol.iou_thresholds))
    for row in rows:
        assert row.ci_low <= row.value + 1e-9 or row.tau_from == "TT"
        assert row.ci_low <= row.ci_high
        assert (row.n, row.split, row.evaluator, row.protocol) == (30, "test", "box@1", "realistic@2")
    realistic = {(row.val_boxes, row.selection, row.tau_from) for row in rows if row.realistic}
    assert realistic == {("ss", "BV", "VT"), ("cls", "BV", "OT")}
    path = tmp_path / "rows.csv"
    write_csv(path, rows)
    again = read_rows(path)
    assert [row.config_hash for row in again] == [row.config_hash for row in rows]
    assert find(again, val_boxes="ss", selection="BV", tau_from="VT", metric="mean_iou").value == pytest.approx(
        find(rows, val_boxes="ss", selection="BV", tau_from="VT", metric="mean_iou").value, abs=1e-4
    )


def test_equal_boxes_give_equal_choices_and_no_overstatement_by_the_source(judged):
    judgement, _, _ = judged
    gt, ss = judgement.find("gt", "BV-VT", "max_box_acc"), judgement.find("ss", "BV-VT", "max_box_acc")
    assert (gt[0].run, gt[0].epoch, gt[0].taus, gt[0].value) == (ss[0].run, ss[0].epoch, ss[0].taus, ss[0].value)
    np.testing.assert_array_equal(gt[1], ss[1])


def test_replicates_equal_the_slow_way(judged, study):
    judgement, protocol, boxes = judged
    runs = study[0]
    for decision, values in zip(judgement.decisions, judgement.replicates, strict=True):
        if decision.threshold == "OT" or decision.metric not in ("max_box_acc", "mean_iou"):
            continue
        record = runs[decision.run].record("test", decision.epoch)
        taus = judgement.scores[0].taus
        ious = iou_at_taus(iou_of_record(record, boxes.test), taus)
        per_image = ious if decision.metric == "mean_iou" else (ious >= protocol.selection_iou).astype(float)
        weights = poisson_weights(record.ids, REPLICATES, 0).astype(float)
        sums = per_image.T @ weights
        picked = sums.max(axis=0) if decision.threshold == "TT" else sums[np.searchsorted(taus, decision.taus[0])]
        np.testing.assert_allclose(values, 100 * picked / weights.sum(axis=0), atol=1e-6)


def test_the_parts_of_a_mean_are_rows_of_the_same_model(judged):
    judgement, protocol, _ = judged
    rows = rows_of(judgement, protocol, "invented", "1")
    for source, selection, tau_from in {(row.val_boxes, row.selection, row.tau_from) for row in rows}:
        cell = {"val_boxes": source, "selection": selection, "tau_from": tau_from}
        whole = find(rows, metric="box_acc_mean", **cell)
        parts = [find(rows, metric=f"box_acc_{level}", **cell) for level in (30, 50, 70)]
        assert whole.value == pytest.approx(np.mean([part.value for part in parts]))
        assert {(part.run, part.epoch) for part in parts} == {(whole.run, whole.epoch)}
        assert [part.iou_threshold for part in parts] == ["0.3", "0.5", "0.7"]
        assert "+".join(part.tau for part in parts).strip("+") == whole.tau.strip("+")
        if tau_from == "TT":
            assert parts[0].value >= parts[1].value >= parts[2].value


def test_rows_say_what_they_were_made_of(judged, study):
    judgement, protocol, boxes = judged
    rows = rows_of(judgement, protocol, "invented", "1")
    assert {(row.configs, row.seeds, row.missing) for row in rows} == {(2, 1, "")}
    assert {row.val_boxes_hash for row in rows if row.val_boxes == "cls"} == {""}
    assert {row.val_boxes_hash for row in rows if row.val_boxes == "ss"} == {boxes_hash(boxes.val["ss"])}
    assert {row.test_boxes_hash for row in rows} == {boxes_hash(boxes.test)}
    for row in rows[:6]:
        run = next(run for run in study[0] if run.label == row.run)
        assert row.record_hash == record_hash(run, "test", row.epoch)
    other = protocol.model_copy(update={"selection_iou": 0.7})
    assert study_hash(protocol, "invented", "1", judgement.runs) == rows[0].study
    assert study_hash(other, "invented", "1", judgement.runs) != rows[0].study
    assert study_hash(protocol, "invented", "1", judgement.runs[:1]) != rows[0].study


def test_a_row_that_read_ground_truth_cannot_be_realistic(judged):
    judgement, protocol, _ = judged
    row = find(rows_of(judgement, protocol, "invented", "1"), val_boxes="gt", selection="BV", tau_from="VT")
    with pytest.raises(ValidationError, match="cannot be realistic"):
        replace(row, realistic=True)


def _damage(path):
    path.write_bytes(path.read_bytes()[:100])


def test_missing_runs_and_records_are_named_or_left_out_and_told(study):
    runs, _, val, test = study
    protocol = load_protocol("realistic")
    boxes = ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test)

    def judge(**options):
        return judge_method("cam", runs, boxes, ("cls", "ss"), protocol, replicates=5, **options)

    with pytest.raises(RecordError, match=r"cam/2, cam/3 are not; .*--allow-missing"):
        judge(absent=("cam/2", "cam/3"))
    assert judge(unfinished=("cam/1",), allow_missing=True).missing == "the rest of 1 runs"
    whole = judge()
    first = whole.find("ss", "BV-VT", "max_box_acc")[0]
    _damage(runs[first.run].path("test", first.epoch))
    with pytest.raises(RecordError, match="damaged"):
        judge()
    judged = judge(absent=("cam/2",), allow_missing=True)
    assert first.epoch not in judged.runs[first.run].epochs
    assert judged.missing == "1 of 3 runs; 1 epochs"
    assert f"test-{first.epoch:03d}.parquet" in judged.dropped[0]
    assert {row.missing for row in rows_of(judged, protocol, "d", "1")} == {"1 of 3 runs; 1 epochs"}
    for epoch in range(3):
        _damage(runs[1 - first.run].path("val", epoch))
    alone = judge(allow_missing=True)
    assert alone.absent == (runs[1 - first.run].label,)
    assert len(alone.runs) == 1
    for epoch in range(3):
        _damage(runs[first.run].path("val", epoch))
    with pytest.raises(RecordError, match="usable record"):
        judge(allow_missing=True)


def test_overstatement_is_paired(judged):
    judgement, protocol, _ = judged
    gap = overstatement(judgement, "ss", protocol)
    assert gap.difference == pytest.approx(gap.usual.value - gap.realistic.value)
    assert gap.difference >= 0
    assert gap.interval.low <= gap.difference <= gap.interval.high
    assert overstatement(judgement, "cls", protocol) is None
    assert overstatement(judgement, "clip", protocol) is None


def test_replicates_depend_on_their_seed_only(study):
    runs, _, val, test = study
    protocol = load_protocol("realistic")
    boxes = ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test)
    judgement = judge_method("cam", runs, boxes, ("ss",), protocol, replicates=REPLICATES)
    decision = judgement.decisions[0]
    same, other = (
        ReplicateValues(test, protocol, REPLICATES, seed).of(decision, runs[decision.run]) for seed in (0, 1)
    )
    np.testing.assert_array_equal(same, judgement.replicates[0])
    assert not np.array_equal(same, other)


def test_fixed_boxes(study):
    _, _, _, test = study
    with firewall.judging("test"):
        whole = fixed_box_scores(frame_box(24), test, 24, 0.5)
        centre = fixed_box_scores(centre_box(24), test, 24, 0.5)
    assert centre_box(24).tolist() == [4, 4, 19, 19]
    for accuracy, iou in (whole, centre):
        assert 0 <= accuracy <= 100
        assert 0 < iou < 100
