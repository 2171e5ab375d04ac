"""Tables as queries over rows: cells stand where they belong, and nothing is invented where nothing was measured."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from wsol_bench.judge.pseudo_quality import BoxQuality, FunnelQuality, Stage
from wsol_bench.judge.rows import ResultRow
from wsol_bench.report import protocol_tables as chapter
from wsol_bench.report.printed_table import PrintedTable

ROW = ResultRow(
    dataset="cub", dataset_version="1", method="cam", run="cam/0", config_hash="0" * 12, epoch=3, split="test",
    protocol="realistic@2", evaluator="box@1", val_boxes="gt", selection="BT", tau_from="TT", metric="max_box_acc",
    iou_threshold="0.5", tau="0.2500", value=70.4, ci_low=69.0, ci_high=71.0, n=400, supervision="gt:test+gt:val",
    realistic=False, configs=3, seeds=1, missing="", study="s", record_hash="r", val_boxes_hash="v",
    test_boxes_hash="t", note="", code_version="0",
)  # fmt: skip


def cell(value: float, **changes: object) -> ResultRow:
    return replace(ROW, value=value, ci_low=0.0, ci_high=100.0, **changes)


ROWS = [
    ROW,
    cell(56.71, metric="mean_iou", iou_threshold=""),
    cell(60.1, selection="BV", tau_from="VT"),
    cell(66.98, val_boxes="cls"),
    cell(32.99, val_boxes="cls", tau_from="OT", tau=""),
    cell(95.2, metric="box_acc_30"),
    cell(70.4, metric="box_acc_50"),
    cell(20.0, metric="box_acc_70"),
    cell(61.87, metric="box_acc_mean"),
    cell(64.06, dataset="ilsvrc", missing="1 of 3 runs"),
    cell(71.0, method="has", val_boxes="ss"),
]


def test_class_labels_stand_under_the_threshold_that_they_had() -> None:
    table = chapter.selection_table(ROWS)
    assert table.columns == ("dataset", "method", "policy", "gt", "cls", "ss")
    lines = {row[:3]: row[3:] for row in table.rows}
    assert lines["cub", "cam", "BT-TT"] == (70.4, 66.98, None)
    assert lines["cub", "cam", "BT-OT"] == (None, 32.99, None)
    assert lines["cub", "cam", "BV-VT"] == (60.1, None, None)
    assert lines["cub", "has", "BT-TT"] == (None, None, 71.0)
    assert lines["ilsvrc", "cam", "BT-TT"] == (64.06, None, None)
    assert len(lines) == 5
    assert table.notes == ("ilsvrc, cam: made without 1 of 3 runs.",)


def test_intervals_stand_beside_the_values_of_the_same_table() -> None:
    plain, table = chapter.selection_table(ROWS), chapter.interval_table(ROWS)
    assert table.columns == plain.columns and len(table.rows) == len(plain.rows)
    lines = {row[:3]: row[3:] for row in table.rows}
    assert lines["cub", "cam", "BT-TT"] == ("70.40 [69.0, 71.0]", "66.98 [0.0, 100.0]", None)
    assert table.notes == plain.notes


def test_accuracy_and_iou() -> None:
    table = chapter.accuracy_and_iou_table(ROWS)
    assert table.rows == (("cub", "cam", 70.4, 56.71), ("ilsvrc", "cam", 64.06, None))


def test_supervision() -> None:
    table = chapter.supervision_table(ROWS)
    assert table.columns == ("dataset", "method", "metric", "gt", "cls", "ss")
    assert ("cub", "cam", "MaxBoxAcc", 70.4, 66.98, None) in table.rows
    assert ("cub", "cam", "mean IoU", 56.71, None, None) in table.rows


def test_iou_levels_are_those_that_were_measured() -> None:
    table = chapter.iou_levels_table(ROWS)
    assert table.columns == ("dataset", "method", "policy", "source", "IoU-30", "IoU-50", "IoU-70", "mean")
    assert table.rows == (("cub", "cam", "BT-TT", "gt", 95.2, 70.4, 20.0, 61.87),)
    assert "not MaxBoxAccV2" in table.notes[0]
    other = chapter.iou_levels_table([cell(1.0, metric="box_acc_95"), cell(2.0, metric="box_acc_5")])
    assert other.columns[4:] == ("IoU-5", "IoU-95", "mean")


def test_no_rows_give_empty_tables() -> None:
    for make in (
        chapter.selection_table, chapter.accuracy_and_iou_table, chapter.supervision_table, chapter.iou_levels_table,
    ):  # fmt: skip
        assert make([]).rows == ()


def test_quality_of_boxes_and_of_the_funnel() -> None:
    quality = BoxQuality(60, 39.98, 20.0, 1, 50.0, 27.0, 27.0, 9.0)
    assert chapter.pseudo_box_table({"ss": quality}, "cub").rows == (("cub", "ss", 39.98, 20.0, 50.0, 27.0, 60),)
    funnels = {
        "ss": FunnelQuality((Stage("pointing game", 32.21, 10.0, 60, 0), Stage("final", 39.98, 20.0, 60, 0)), 90.0, 0),
        "rpn": FunnelQuality((Stage("pointing game", 28.71, 10.0, 60, 0),), 90.0, 0),
    }
    table = chapter.funnel_table(funnels, "cub")
    assert table.rows == (("cub", "pointing game", 32.21, 28.71), ("cub", "final", 39.98, None))
    assert "kept its stages" in chapter.funnel_table({}, "cub").notes[0]


@pytest.fixture
def table() -> PrintedTable:
    return PrintedTable(
        "x", "Values [%]", ("name", "a", "b"), (("[cam]", 1.23456, None), ("has", float("nan"), True)), ("A note.",)
    )


def test_a_table_prints_dashes_and_brackets_as_they_are(table: PrintedTable) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table.rendered())
    page = console.export_text()
    assert "Values [%]" in page
    lines = [line.split() for line in page.splitlines()]
    assert ["[cam]", "1.23", "-"] in lines
    assert ["has", "-", "yes"] in lines
    assert "A note." in page


def test_a_table_as_csv_and_json(table: PrintedTable, tmp_path) -> None:
    path = table.write_csv(tmp_path)
    assert path.name == "table-x.csv"
    with path.open(newline="") as stream:
        assert list(csv.reader(stream)) == [["name", "a", "b"], ["[cam]", "1.2346", ""], ["has", "", "yes"]]
    assert table.as_dict()["rows"][0] == {"name": "[cam]", "a": 1.23456, "b": None}
