"""Cells of the page: what is marked as realistic, where intervals go, and what columns are sorted by."""

from __future__ import annotations

from dataclasses import replace

from wsol_bench.judge.rows import ResultRow
from wsol_bench.report.html_tables import intervals_of, printed_html, realistic_of, results_table
from wsol_bench.report.printed_table import PrintedTable

ROW = ResultRow(
    dataset="d", dataset_version="1", method="cam", run="cam/0", config_hash="0" * 12, epoch=3, split="test",
    protocol="realistic@2", evaluator="box@1", val_boxes="ss", selection="BV", tau_from="VT", metric="max_box_acc",
    iou_threshold="0.5", tau="0.2500", value=41.25, ci_low=38.0, ci_high=44.0, n=400, supervision="pseudo:ss",
    realistic=True, configs=3, seeds=1, missing="", study="s", record_hash="r", val_boxes_hash="v", test_boxes_hash="t",
    note="", code_version="0",
)  # fmt: skip
USUAL = replace(
    ROW, selection="BT", tau_from="TT", val_boxes="gt", supervision="gt:test", realistic=False, value=50.0, ci_high=55.0
)
OTSU = replace(ROW, val_boxes="cls", tau_from="OT", tau="", supervision="none")
ROWS = [ROW, USUAL, OTSU, replace(ROW, metric="box_acc_30")]


def test_realistic_cells_of_a_table_with_one_column_per_source() -> None:
    table = PrintedTable(
        "4.2", "t", ("dataset", "method", "policy", "gt", "ss"),
        (("d", "cam", "BT-TT", 50.0, 48.0), ("d", "cam", "BV-VT", 40.0, 41.25), ("d", "has", "BV-VT", 1.0, None)),
    )  # fmt: skip
    made = printed_html(table, {}, realistic_of(ROWS), intervals_of(ROWS, "max_box_acc"))
    marked = [[cell.realistic for cell in row.cells] for row in made.rows]
    assert marked == [[False] * 5, [False] * 4 + [True], [False] * 5]
    assert made.marked
    assert made.rows[1].cells[4].small == "38.0\u201344.0"
    assert made.rows[0].cells[3].small == "38.0\u201355.0"
    assert made.rows[2].cells[4].text == "\u2013"
    assert made.rows[2].cells[4].sort == ""


def test_lines_of_tables_that_name_source_and_policy() -> None:
    made = printed_html(results_table(ROWS, ("max_box_acc",)), {"CSV": "x.csv"}, realistic_of(ROWS))
    assert [row.realistic for row in made.rows] == [True, False, True]
    assert "ci low" not in made.columns
    cell = made.rows[0].cells[made.columns.index("value")]
    assert (cell.text, cell.small, cell.sort) == ("41.25", "38.0\u201344.0", "41.25")
    assert made.rows[2].cells[made.columns.index("tau")].text == "Otsu"
    assert made.rows[2].cells[made.columns.index("the choice read")].text == "class labels"
    assert [row.section for row in made.rows] == [False, True, True]
    assert [name for name, wrapped in zip(made.columns, made.wrapped, strict=True) if wrapped] == ["note"]
    comparisons = PrintedTable("c", "t", ("source", "policy", "p"), (("ss", "BV-VT", 0.5), ("gt", "BT-TT", 0.1)))
    assert [row.realistic for row in printed_html(comparisons, {}, realistic_of(ROWS)).rows] == [True, False]


def test_negative_numbers_and_their_intervals() -> None:
    table = PrintedTable(
        "regret", "t", ("method", "regret", "ci low", "ci high", "differ"),
        (("cam", -1.5, -2.0, 0.25, True), ("has", float("nan"), float("nan"), float("nan"), False)),
    )  # fmt: skip
    made = printed_html(table, {})
    assert made.columns == ("method", "regret", "differ")
    first, second = made.rows
    assert [cell.text for cell in first.cells] == ["cam", "\u22121.50", "yes"]
    assert first.cells[1].sort == "-1.5"
    assert first.cells[1].small == "\u22122.0 to 0.2"
    assert (second.cells[1].text, second.cells[1].small) == ("\u2013", "")
    assert not made.marked
