"""What ``wsol-bench select`` prints: tables, baselines, and a sentence that a person understands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from wsol_bench.errors import unknown_choice
from wsol_bench.judge.judgement import Decided
from wsol_bench.protocol import Protocol
from wsol_bench.report.selection_result import SelectionResult
from wsol_bench.report.tables import closing_sentence, headline_table, metrics_table


def print_selection(result: SelectionResult, metric: str | None, console: Console) -> None:
    """Prints a selection's result.

    Args:
        result: what the protocol concluded.
        metric: metric of the first table; the protocol's headline metric when None.
        console: where to print.

    Raises:
        UsageError: the metric is not part of the protocol.
    """
    shown = metric or result.protocol.headline.metric
    if shown not in result.protocol.metrics:
        raise unknown_choice("--metric", shown, result.protocol.metrics)
    for judgement in result.judgements:
        rows = [row for row in result.rows if row.method == judgement.method]
        title = (
            f"{judgement.method} on {result.dataset}, {len(judgement.runs)} configurations, test n = "
            f"{judgement.num_images}, protocol {result.protocol.label}"
        )
        console.print(headline_table(rows, shown, title))
        console.print(metrics_table(rows, "All metrics, percent"))
        print_missing(judgement, console)
    print_skipped(result.skipped, console)
    _print_baselines(result.fixed_boxes, result.protocol, console)
    for method, gaps in result.overstatements.items():
        for gap in gaps:
            console.print(closing_sentence(method, gap), markup=False)
    print_files([result.folder / "rows.csv", *result.figures], console)


def _print_baselines(fixed: Mapping[str, tuple[float, float]], protocol: Protocol, console: Console) -> None:
    parts = [f"{name} {accuracy:.2f} (mean IoU {iou:.2f})" for name, (accuracy, iou) in fixed.items()]
    console.print(f"Without looking, box accuracy at IoU {protocol.selection_iou:g}: {', '.join(parts)}.", markup=False)


def print_missing(judgement: Decided, console: Console) -> None:
    """Says what a method was judged without, if anything."""
    if judgement.missing:
        console.print(f"{judgement.method}: made without {judgement.missing}.", markup=False)


def print_skipped(skipped: Mapping[str, int], console: Console) -> None:
    """Says how many unreadable images were left out, by split, if any."""
    if any(skipped.values()):
        counts = ", ".join(f"{count} of {split}" for split, count in skipped.items())
        console.print(f"Unreadable images left out: {counts}.", markup=False)


def print_files(paths: Sequence[Path], console: Console) -> None:
    """Says which files were written."""
    console.print(f"Written: {', '.join(str(path) for path in paths)}", markup=False, soft_wrap=True)
