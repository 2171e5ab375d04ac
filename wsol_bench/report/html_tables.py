"""Tables of the report as cells that a template prints: numbers, intervals, and what is marked as realistic."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wsol_bench.judge.audit import AuditedRow
from wsol_bench.judge.rows import ResultRow
from wsol_bench.report.printed_table import Cell, PrintedTable
from wsol_bench.report.tables import METRIC_TITLES

Realistic = Collection[tuple[str, str, str]]
"""Method, source and policy of every cell that read no ground truth."""

_INTERVAL: Final = ("ci low", "ci high")


@dataclass(frozen=True)
class HtmlCell:
    """One cell.

    Attributes:
        text: what is printed.
        sort: what the column is sorted by, as text; numbers with a point.
        small: printed behind, smaller: an interval.
        realistic: whether the number is marked.
    """

    text: str
    sort: str
    small: str = ""
    realistic: bool = False


@dataclass(frozen=True)
class HtmlRow:
    """One line.

    Attributes:
        cells: one per column.
        realistic: whether the whole line is marked.
        section: whether it is set apart from the line above.
    """

    cells: tuple[HtmlCell, ...]
    realistic: bool = False
    section: bool = False


@dataclass(frozen=True)
class HtmlTable:
    """One table.

    Attributes:
        id: name in links: ``table-4.2``.
        title: heading.
        columns: headings.
        numeric: which columns stand to the right.
        wrapped: which columns hold long texts, over several lines.
        rows: lines.
        notes: remarks below.
        files: the same table as files, by format; addresses relative to the page.
    """

    id: str
    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    wrapped: tuple[bool, ...]
    rows: tuple[HtmlRow, ...]
    notes: tuple[str, ...]
    files: Mapping[str, str]

    @property
    def spaced(self) -> tuple[bool, ...]:
        """Which columns hold an interval in some line, so that all their numbers leave room for it."""
        return tuple(any(row.cells[place].small for row in self.rows) for place in range(len(self.columns)))

    @property
    def marked(self) -> bool:
        """Whether some number is marked as realistic."""
        return any(row.realistic or any(cell.realistic for cell in row.cells) for row in self.rows)


def realistic_of(rows: Sequence[ResultRow]) -> Realistic:
    """Returns the cells of a study that read no ground truth and chose on the validation set."""
    return {(row.method, row.val_boxes, row.policy) for row in rows if row.realistic}


def printed_html(
    table: PrintedTable,
    files: Mapping[str, str],
    realistic: Realistic = (),
    intervals: Mapping[tuple[str, str, str], str] | None = None,
) -> HtmlTable:
    """Turns a printed table into cells.

    Args:
        table: as it is printed.
        files: where it lies as a file.
        realistic: what is marked.
        intervals: interval by method, source and policy, for tables with one column per source.
    """
    names = {name: place for place, name in enumerate(table.columns)}
    folded = all(name in names for name in _INTERVAL)
    kept = [place for name, place in names.items() if not (folded and name in _INTERVAL)]
    # The interval belongs to the column before it, or to the last number before it.
    holder = names["ci low"] - 1 if folded else -1
    lines = []
    for index, row in enumerate(table.rows):
        whole, single = _marked(table, names, row, realistic)
        cells = []
        for place in kept:
            small = ""
            if place == holder:
                small = _interval(row[names["ci low"]], row[names["ci high"]])
            elif intervals and "policy" in names and "source" not in names and row[place] is not None:
                key = (str(row[names["method"]]), table.columns[place], str(row[names["policy"]]))
                small = intervals.get(key, "")
            cells.append(_cell(row[place], small, place in single))
        lines.append(HtmlRow(tuple(cells), whole, table.starts_section(index)))
    return HtmlTable(
        id=f"table-{table.id}",
        title=table.title,
        columns=tuple(table.columns[place] for place in kept),
        numeric=tuple(table.numeric[place] for place in kept),
        wrapped=tuple(table.columns[place] in table.wrapped for place in kept),
        rows=tuple(lines),
        notes=table.notes,
        files=files,
    )


def intervals_of(rows: Sequence[ResultRow], metric: str) -> dict[tuple[str, str, str], str]:
    """Returns the interval of every cell of a metric."""
    return {
        (row.method, row.val_boxes, row.policy): f"{row.ci_low:.1f}\u2013{row.ci_high:.1f}"
        for row in rows
        if row.metric == metric
    }


def results_table(rows: Sequence[ResultRow], metrics: Sequence[str]) -> PrintedTable:
    """Every row of a protocol's metrics: what chose, what it chose, the number with its interval, what was read."""
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        if row.metric not in metrics:
            continue
        tau = "Otsu" if row.tau_from == "OT" else "/".join(f"{float(one):.3f}" for one in row.tau.split("+"))
        read = "class labels" if row.supervision == "none" else row.supervision
        metric = METRIC_TITLES.get(row.metric, row.metric)
        what = (row.method, row.val_boxes, row.policy, metric)
        lines.append((*what, row.value, row.ci_low, row.ci_high, row.run, row.epoch, tau, read, row.note))
    return PrintedTable(
        "results",
        "All results [%] on the test set, with 95 % intervals",
        (
            *("method", "source", "policy", "metric", "value", "ci low", "ci high"),
            *("run", "epoch", "tau", "the choice read", "note"),
        ),
        tuple(lines),
        (
            "BV, BT: the configuration is picked on the validation or test set. VT, TT, OT: the threshold comes from "
            "the validation set, the test set, or Otsu per image.",
        ),
        section=1,
        wrapped=("note",),
    )


def audit_counts(rows: Sequence[AuditedRow]) -> tuple[int, int, int]:
    """Returns how many rows call themselves realistic, how many of them the evidence confirms, how many it refutes."""
    claims = [row for row in rows if row.claims]
    confirmed = sum(row.verdict == "realistic" for row in claims)
    return len(claims), confirmed, sum(row.refused for row in claims)


def _marked(
    table: PrintedTable, names: Mapping[str, int], row: Sequence[Cell], realistic: Realistic
) -> tuple[bool, set[int]]:
    """Returns whether a line is realistic as a whole, and the places of single realistic numbers."""

    def of(name: str) -> str:
        return str(row[names[name]])

    if "verdict" in names:
        return of("verdict") == "realistic", set()
    if "policy" not in names:
        return False, set()
    methods = {of("method")} if "method" in names else {method for method, _, _ in realistic}
    if "source" in names:
        return any((method, of("source"), of("policy")) in realistic for method in methods), set()
    return False, {
        place
        for name, place in names.items()
        if row[place] is not None and any((method, name, of("policy")) in realistic for method in methods)
    }


def _cell(cell: Cell, small: str, realistic: bool) -> HtmlCell:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return HtmlCell("\u2013", "")
    if isinstance(cell, bool):
        return HtmlCell("yes" if cell else "no", str(int(cell)))
    if isinstance(cell, float):
        return HtmlCell(f"{cell:.2f}".replace("-", "\u2212"), repr(cell), small, realistic)
    return HtmlCell(str(cell), str(cell), small, realistic)


def _interval(low: Cell, high: Cell) -> str:
    if not isinstance(low, float) or not isinstance(high, float) or math.isnan(low) or math.isnan(high):
        return ""
    digits = 2 if abs(low) <= 1 and abs(high) <= 1 else 1
    between = "\u2013" if low >= 0 else " to "
    return f"{low:.{digits}f}{between}{high:.{digits}f}".replace("-", "\u2212")
