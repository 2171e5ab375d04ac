"""The audit believes what was read, not what a row says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wsol_bench.annotations.firewall import Access
from wsol_bench.judge.audit import Provenance, audit

CLEAN = Provenance({f"cam/{k}": () for k in range(5)}, {"ss": "none"})


def _verdicts(judgement, provenance, protocol) -> dict[tuple[str, str], str]:
    return {
        (row.source, row.policy): row.verdict
        for row in audit(judgement, provenance, protocol)
        if row.metric == "max_box_acc"
    }


def test_only_choices_without_ground_truth_are_realistic(contest) -> None:
    judgements, protocol, _ = contest
    verdicts = _verdicts(judgements[0], CLEAN, protocol)
    assert {cell for cell, verdict in verdicts.items() if verdict == "realistic"} == {("cls", "BV-OT"), ("ss", "BV-VT")}
    assert verdicts["mine", "BV-VT"] == "unvouched"
    assert verdicts["gt", "BV-VT"] == "not realistic"
    rows = audit(judgements[0], CLEAN, protocol)
    assert not any(row.refused for row in rows)
    assert len(rows) == len(judgements[0].decisions)


def test_each_row_names_who_read_what_and_when(contest) -> None:
    judgements, protocol, _ = contest
    row = next(
        row for row in audit(judgements[0], CLEAN, protocol)
        if (row.source, row.policy, row.metric) == ("ss", "BT-VT", "max_box_acc")
    )  # fmt: skip
    choice = {(one.source, one.split, one.reader) for one in row.evidence if one.stage == "choice"}
    assert choice == {("pseudo:ss", "val", "the judge of 'cam'"), ("gt", "test", "the judge of 'cam'")}
    assert all(one.at.endswith("+00:00") and one.count > 0 for one in row.evidence if one.stage == "choice")
    assert row.reasons == ("the choice read gt:test",)
    assert [one.source for one in row.evidence if one.stage == "pseudo-boxes"] == ["none"]
    assert row.as_dict()["evidence"][0]["stage"] == "pseudo-boxes"


@pytest.mark.parametrize("source", ["gt", "gt:noise:25"])
def test_ground_truth_read_in_training_is_not_realistic(contest, source) -> None:
    judgements, protocol, _ = contest
    spoilt = tuple(Access(source, "val", "cam", "2026-01-01T00:00:00+00:00") for _ in range(2))
    training = {run.label: spoilt for run in judgements[0].runs}
    rows = audit(judgements[0], replace(CLEAN, training=training), protocol)
    assert {row.verdict for row in rows} == {"not realistic"}
    claimed = [row for row in rows if row.claims]
    assert claimed and all(row.refused for row in claimed)
    assert "training read" in claimed[0].reasons[0]


def test_what_nobody_recorded_is_unvouched(contest) -> None:
    judgements, protocol, _ = contest
    assert _verdicts(judgements[0], replace(CLEAN, training={}), protocol)["cls", "BV-OT"] == "unvouched"
    verdicts = _verdicts(judgements[0], replace(CLEAN, annotators={}), protocol)
    assert (verdicts["ss", "BV-VT"], verdicts["cls", "BV-OT"]) == ("unvouched", "realistic")


def test_too_few_seeds_are_remarked(contest) -> None:
    judgements, protocol, _ = contest
    assert all("fewer than 3 seeds" in row.remarks[0] for row in audit(judgements[0], CLEAN, protocol))
    assert not any(row.remarks for row in audit(judgements[0], CLEAN, protocol.model_copy(update={"seeds": 1})))
