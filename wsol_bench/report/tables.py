"""Results as terminal tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from wsol_bench.judge.judgement import Overstatement
from wsol_bench.judge.rows import ResultRow, find

METRIC_TITLES = {
    "max_box_acc": "MaxBoxAcc",
    "box_acc_mean": "BoxAcc 30/50/70",
    "mean_iou": "mean IoU",
    "top1_loc": "Top-1 Loc",
}
"""Column titles; ``box_acc_mean`` is the mean over three IoU levels, single contour."""

POLICIES = ("BT-TT", "BT-VT", "BV-TT", "BV-VT", "BT-OT", "BV-OT")


def headline_table(rows: Sequence[ResultRow], metric: str, title: str) -> Table:
    """One line per selection source and policy: choice, threshold, value with interval, what the choice read.

    Args:
        rows: rows of one method and dataset.
        metric: the metric to show.
        title: heading.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for name, justify in (
        ("selected by", "left"),
        ("policy", "left"),
        ("config", "left"),
        ("epoch", "right"),
        ("tau", "right"),
        (f"{METRIC_TITLES[metric]} [95 % interval]", "right"),
        ("the choice read", "left"),
        ("realistic", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    sources = list(dict.fromkeys(row.val_boxes for row in rows))
    shown = [row for row in rows if row.metric == metric]
    shown.sort(key=lambda row: (sources.index(row.val_boxes), POLICIES.index(f"{row.selection}-{row.tau_from}")))
    previous = None
    for row in shown:
        if previous not in (None, row.val_boxes):
            table.add_section()
        tau = "Otsu" if row.tau_from == "OT" else "/".join(f"{float(tau):.2f}" for tau in row.tau.split("+"))
        table.add_row(
            row.val_boxes if row.val_boxes != previous else "",
            f"{row.selection}-{row.tau_from}",
            row.run,
            str(row.epoch),
            tau,
            f"{row.value:5.2f} [{row.ci_low:5.2f}, {row.ci_high:5.2f}]",
            "class labels" if row.supervision == "none" else row.supervision,
            "yes" if row.realistic else "no",
            style="bold" if row.realistic and row.selection == "BV" else "",
        )
        previous = row.val_boxes
    add_notes(table, shown)
    return table


def add_notes(table: Table, rows: Sequence[ResultRow]) -> None:
    """Puts the remarks of rows below their table: what a row says about itself must not get lost on the page.

    Each remark appears once, with the policies where not all rows of a source carry it.
    """
    notes = _notes(rows)
    table.caption = Text("\n".join(notes)) if notes else None
    table.caption_justify = "left"


def _notes(rows: Sequence[ResultRow]) -> list[str]:
    lines = []
    for source, note in dict.fromkeys((row.val_boxes, row.note) for row in rows if row.note):
        of_source = [row for row in rows if row.val_boxes == source]
        policies = [row.policy for row in of_source if row.note == note]
        place = source if len(policies) == len(of_source) else f"{source} {', '.join(policies)}"
        lines.append(f"{place}: {note}.")
    return lines


def metrics_table(rows: Sequence[ResultRow], title: str) -> Table:
    """All metrics side by side: one line per source, one column per metric and policy BV-VT (BV-OT for ``cls``)."""
    metrics = [metric for metric in dict.fromkeys(row.metric for row in rows) if metric in METRIC_TITLES]
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("selected by", no_wrap=True)
    table.add_column("policy", no_wrap=True)
    for metric in metrics:
        table.add_column(METRIC_TITLES[metric], justify="right", no_wrap=True)
    for source in dict.fromkeys(row.val_boxes for row in rows):
        for policy in POLICIES:
            selection, _, tau_from = policy.partition("-")
            cells = [
                find(rows, val_boxes=source, selection=selection, tau_from=tau_from, metric=metric)
                for metric in metrics
            ]
            if any(cells):
                table.add_row(source, policy, *("-" if cell is None else f"{cell.value:.2f}" for cell in cells))
    return table


def closing_sentence(method: str, gap: Overstatement) -> str:
    """Says in one sentence what ground truth would have made of the result."""
    usual, real = gap.usual.value, gap.realistic.value
    numbers = (
        f"{usual:.1f} % (best configuration and threshold of the test set) against {real:.1f} % "
        f"(everything chosen with '{gap.source}' pseudo-boxes)"
    )
    return effect_of("ground-truth boxes", method, gap, numbers)


def effect_of(truth: str, method: str, gap: Overstatement, numbers: str) -> str:
    """Says what selecting with ``truth`` would have made of a method, and that nothing is known where it is not."""
    spread = f"{abs(gap.difference):.1f} points [95 % interval {gap.interval.low:.1f} to {gap.interval.high:.1f}]"
    if gap.interval.low > 0:
        return f"Selecting with {truth} would have overstated {method} by {spread}: {numbers}."
    if gap.interval.high < 0:
        return f"Selecting with {truth} would have understated {method} by {spread}: {numbers}."
    return f"Selecting with {truth} makes no difference for {method} that these images can show: {spread}, {numbers}."
