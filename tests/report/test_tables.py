"""What a reader sees: the order of rows, what is marked, and the closing sentence in its three forms."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from wsol_bench.judge.judgement import Overstatement
from wsol_bench.judge.rows import ResultRow
from wsol_bench.judge.selection import Decision
from wsol_bench.metrics.bootstrap import percentile_interval
from wsol_bench.report.tables import closing_sentence, headline_table, metrics_table

ROW = ResultRow(
    dataset="d", dataset_version="1", method="cam", run="cam/0", config_hash="0" * 12, epoch=3, split="test",
    protocol="realistic@2", evaluator="box@1", val_boxes="ss", selection="BV", tau_from="VT", metric="max_box_acc",
    iou_threshold="0.5", tau="0.2500", value=41.25, ci_low=38.0, ci_high=44.0, n=400, supervision="pseudo:ss",
    realistic=True, configs=3, seeds=1, missing="", study="s", record_hash="r", val_boxes_hash="v", test_boxes_hash="t",
    note="", code_version="0",
)  # fmt: skip


def text_of(table) -> list[str]:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text().splitlines()


def changed(**values) -> ResultRow:
    return dataclasses.replace(ROW, **values)


def gap(usual: float, realistic: float, differences: list[float]) -> Overstatement:
    decision = Decision("gt", "BT", "TT", "max_box_acc", 0, 3, (0.2,), usual, "gt:test+gt:val")
    return Overstatement(
        "ss",
        dataclasses.replace(decision, source="ss", selection="BV", threshold="VT", value=realistic),
        decision,
        usual - realistic,
        percentile_interval(np.asarray(differences)),
    )


def test_headline_orders_policies_and_marks_what_is_realistic():
    rows = [
        changed(selection="BV", tau_from="TT", supervision="gt:test+pseudo:ss", realistic=False),
        ROW,
        changed(selection="BT", tau_from="TT", supervision="gt:test+pseudo:ss", realistic=False),
        changed(val_boxes="cls", tau_from="OT", tau="", supervision="none", run="cam/1"),
        changed(metric="mean_iou"),
    ]
    lines = [line for line in text_of(headline_table(rows, "max_box_acc", "title")) if "cam/" in line]
    assert [line.split()[-1] for line in lines] == ["no", "no", "yes", "yes"]
    assert lines[0].split()[:2] == ["ss", "BT-TT"]
    assert "41.25 [38.00, 44.00]" in lines[2]
    assert "class labels" in lines[3]
    assert "Otsu" in lines[3]


def test_a_long_row_fits_into_120_columns():
    wide = changed(
        run="ted_loc/117/seed2", supervision="gt:test+labels:test", realistic=False, value=100.0, ci_high=100.0
    )
    assert any(
        "labels:test" in line and "100.00]" in line for line in text_of(headline_table([wide], "max_box_acc", "t"))
    )


def test_metrics_table_has_one_column_per_metric_and_dashes_where_nothing_was_measured():
    rows = [ROW, changed(metric="mean_iou", value=33.0), changed(selection="BT", metric="mean_iou", value=34.0)]
    lines = text_of(metrics_table(rows, "All metrics"))
    assert any(line.split() == ["ss", "BT-VT", "-", "34.00"] for line in lines)
    assert any(line.split() == ["ss", "BV-VT", "41.25", "33.00"] for line in lines)


@pytest.mark.parametrize(
    ("usual", "realistic", "differences", "expected"),
    [
        (46.0, 41.0, [3.0, 5.0, 7.0], "would have overstated cam by 5.0 points"),
        (40.0, 42.0, [-3.0, -2.0, -1.0], "would have understated cam by 2.0 points"),
        (42.0, 41.0, [-1.0, 1.0, 3.0], "makes no difference for cam that these images can show"),
    ],
)
def test_closing_sentence(usual, realistic, differences, expected):
    sentence = closing_sentence("cam", gap(usual, realistic, differences))
    assert expected in sentence
    assert f"{usual:.1f} %" in sentence
    assert f"{realistic:.1f} %" in sentence
    assert "'ss' pseudo-boxes" in sentence


def test_notes_are_printed_below_once():
    rows = [
        changed(note="read me"),
        changed(note="read me", selection="BT"),
        changed(val_boxes="cls", tau_from="OT", tau=""),
    ]
    lines = text_of(headline_table(rows, "max_box_acc", "title"))
    assert [line.strip() for line in lines if "read me" in line] == ["ss: read me."]
