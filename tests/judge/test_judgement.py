"""From records to rows: intervals, provenance and the size of the overstatement."""

from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.judge.confidence import ReplicateValues
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
    assert len(rows) == 3 * 4 * len(protocol.metrics)
    for row in rows:
        assert row.ci_low <= row.value + 1e-9 or row.tau_from == "TT"
        assert row.ci_low <= row.ci_high
        assert (row.n, row.split, row.evaluator, row.protocol) == (30, "test", "box@1", "realistic@1")
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
