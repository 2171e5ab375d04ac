"""What people see of an evaluation: a table, and a CSV of single images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsol_bench.atomic import whole_file

if TYPE_CHECKING:
    from rich.table import Table

    from wsol_bench.workflow.evaluate import EvaluationResult

CSV_COLUMNS = ("id", "contours", "tau", "iou", "x0", "y0", "x1", "y1", "px_ap", "map")
"""Columns of the CSV: the box in frame pixels at ``tau``, its best IoU, PxAP of the single image (empty without object
pixels), and what was wrong with the map (``ok`` or issues joined by ``+``)."""


def render_table(result: EvaluationResult) -> Table:
    """Returns the scores as a table for the terminal, and the issues of the maps below it."""
    from rich import box
    from rich.table import Table

    title = f"{result.split}: {result.n} images" + ("" if result.n == result.total else f" of {result.total}")
    table = Table(title=title, box=box.SIMPLE_HEAD, caption=_caption(result), caption_justify="left")
    for name in ("metric", "IoU", "contours", "tau", "value", f"{result.level:.0%} interval"):
        table.add_column(name, justify="left" if name in ("metric", "contours") else "right")
    for row in result.rows:
        table.add_row(
            row["metric"],
            "" if row["iou_threshold"] is None else f"{row['iou_threshold']:g}",
            row["contours"] or "",
            _tau_text(row),
            f"{row['value']:.2f}",
            "" if row["ci_low"] is None else f"{row['ci_low']:.2f} to {row['ci_high']:.2f}",
        )
    return table


def write_image_csv(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    """Writes one line per image (and contour mode) with the columns :data:`CSV_COLUMNS`."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, CSV_COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _tau_text(row: dict[str, Any]) -> str:
    if row["tau_source"] == "otsu":
        return "Otsu"
    if row["tau"] is None:
        return ""
    return f"{row['tau']:.3f}" + (" (fixed)" if row["tau_source"] == "fixed" else "")


def _caption(result: EvaluationResult) -> str:
    evaluators = sorted({row["evaluator"] for row in result.rows})
    lines = [f"evaluator {', '.join(evaluators)}; ground truth: {result.supervision}", *result.notes]
    return "\n".join(lines)
