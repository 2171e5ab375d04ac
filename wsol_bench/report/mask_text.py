"""What ``wsol-bench select`` prints where masks are scored: a table per method, baselines, and a plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from rich import box
from rich.console import Console
from rich.table import Table

from wsol_bench.judge.judgement import Overstatement
from wsol_bench.judge.rows import ResultRow
from wsol_bench.judge.scores import CLS
from wsol_bench.report.mask_result import MaskSelectionResult
from wsol_bench.report.selection_text import print_files, print_missing, print_skipped
from wsol_bench.report.tables import add_notes, effect_of


def print_mask_selection(result: MaskSelectionResult, console: Console) -> None:
    """Prints the result of a selection by masks."""
    for judgement in result.judgements:
        rows = [row for row in result.rows if row.method == judgement.method]
        title = (
            f"{judgement.method} on {result.dataset}, {len(judgement.runs)} configurations, test n = "
            f"{judgement.num_images}, protocol {result.protocol.label}"
        )
        console.print(mask_rows_table(rows, title))
        print_missing(judgement, console)
    errors = ", ".join(f"{name} {error:.2f}" for name, error in result.mask_errors.items() if not isnan(error))
    if errors:
        console.print(f"Mask error, 100 (1 - AUC) against the exact validation masks: {errors}.", markup=False)
    print_skipped(result.skipped, console)
    blind = ", ".join(f"{name} {value:.2f}" for name, value in result.blind.items())
    console.print(f"Without looking, PxAP: {blind}.", markup=False)
    for method, gaps in result.overstatements.items():
        for gap in gaps:
            console.print(closing_sentence(method, gap), markup=False)
    print_files([result.folder / "rows.csv"], console)


def mask_rows_table(rows: Sequence[ResultRow], title: str) -> Table:
    """One line per source and policy: choice, PxAP with interval, what the choice read; fits into 80 columns.

    Args:
        rows: rows of one method and dataset.
        title: heading.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("chosen by", "policy", "config", "epoch", "PxAP [95 % interval]", "the choice read", "realistic"):
        number = name in ("epoch", "PxAP [95 % interval]")
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    previous = None
    for row in rows:
        if previous not in (None, row.val_boxes):
            table.add_section()
        table.add_row(
            row.val_boxes if row.val_boxes != previous else "",
            row.policy,
            row.run,
            str(row.epoch),
            f"{row.value:5.2f} [{row.ci_low:5.2f}, {row.ci_high:5.2f}]",
            "class labels" if row.supervision == "none" else row.supervision.replace("+", " + "),
            "yes" if row.realistic else "no",
            style="bold" if row.realistic and row.selection == "BV" else "",
        )
        previous = row.val_boxes
    add_notes(table, rows)
    return table


def closing_sentence(method: str, gap: Overstatement) -> str:
    """Says in one sentence what exact masks and the test set would have made of the result."""
    by = "class labels" if gap.source == CLS else f"'{gap.source}' pseudo-masks"
    numbers = (
        f"{gap.usual.value:.1f} % (best configuration of the test set) against {gap.realistic.value:.1f} % "
        f"(everything chosen with {by})"
    )
    return effect_of("exact masks", method, gap, numbers)
