"""Where the trials of a study stand, as rows and as a screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wsol_bench.search.cells import Cell, CellState


def study_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Returns one plain dictionary per trial: where it stands, who runs it, and how far it is."""
    return [
        {
            "trial": cell.trial.label,
            "id": cell.trial.config.trial_id,
            "status": cell.state.value,
            "attempt": cell.attempt.turn + 1,
            "worker": cell.attempt.worker or None,
            "message": cell.message or None,
            **{key: cell.attempt.progress.get(key) for key in ("epoch", "epochs", "loss", "val_top1", "gpu_mb")},
            "eta_seconds": eta_seconds(cell.attempt.progress) if cell.state == CellState.RUNNING else None,
        }
        for cell in cells
    ]


def summary_line(cells: Sequence[Cell]) -> str:
    """Returns ``12 of 24 trials complete, 1 failed, 4 running, 7 waiting``."""
    counts = Counter(cell.state for cell in cells)
    done = counts[CellState.COMPLETE] + counts[CellState.DIVERGED]
    parts = [f"{done} of {len(cells)} trials complete"]
    if counts[CellState.DIVERGED]:
        parts[0] += f" ({counts[CellState.DIVERGED]} diverged)"
    states = (CellState.FAILED, CellState.RUNNING, CellState.WAITING)
    return ", ".join(parts + [f"{counts[state]} {state.value}" for state in states if counts[state]])


def study_screen(cells: Sequence[Cell]) -> RenderableType:
    """The live screen: what is running, what failed, and how much is left."""
    running = [cell for cell in cells if cell.state == CellState.RUNNING]
    parts: list[RenderableType] = []
    if running:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("trial", "epoch", "loss", "val top-1", "left", "GPU memory", "attempt", "worker"):
            table.add_column(name, justify="left" if name in ("trial", "worker") else "right", overflow="fold")
        for cell in running:
            table.add_row(*map(Text, _running_row(cell)))
        parts.append(table)
    parts += [
        Text(f"{cell.trial.label} failed: {cell.message}", style="red")
        for cell in cells
        if cell.state == CellState.FAILED
    ]
    left = left_seconds(cells)
    rest = "" if left is None else f"; about {_time(left)} left"
    parts.append(Text(summary_line(cells) + rest))
    return Group(*parts)


def eta_seconds(progress: Mapping[str, Any]) -> float | None:
    """Returns the seconds that a trial still needs; None before its first epoch has been timed."""
    per_epoch = progress.get("seconds_per_epoch")
    if per_epoch is None:
        return None
    steps = progress.get("steps") or 1
    # While an epoch is running, `epoch` is its number; when it is finished, `step` is 0 until the next one begins.
    within = progress["step"] / steps - 1 if progress.get("step") else 0.0
    return float(max(0.0, per_epoch * (progress["epochs"] - progress["epoch"] - within)))


def left_seconds(cells: Sequence[Cell]) -> float | None:
    """Returns the seconds that the study still needs with the workers of now; None while nobody knows.

    Trials that wait are taken to need as long per epoch as those of the same method, or of any, whose time is known.
    """
    times: dict[str, list[float]] = {}
    for cell in cells:
        if "seconds_per_epoch" in cell.attempt.progress:
            times.setdefault(cell.trial.config.method, []).append(cell.attempt.progress["seconds_per_epoch"])
    if not times:
        return None
    means = {method: sum(known) / len(known) for method, known in times.items()}
    anyone = sum(means.values()) / len(means)
    work, workers = 0.0, 0
    for cell in cells:
        whole = means.get(cell.trial.config.method, anyone) * cell.trial.config.epochs
        if cell.state == CellState.RUNNING:
            workers += 1
            left = eta_seconds(cell.attempt.progress)
            work += whole if left is None else left
        elif cell.state == CellState.WAITING:
            work += whole
    return work / workers if workers else None


def _running_row(cell: Cell) -> tuple[str, ...]:
    progress = cell.attempt.progress
    left = eta_seconds(progress)
    gpu = progress.get("gpu_mb")
    return (
        cell.trial.label,
        f"{progress.get('epoch', 0)}/{cell.trial.config.epochs}",
        _number(progress.get("loss"), "{:.3f}"),
        _number(progress.get("val_top1"), "{:.1f} %"),
        "-" if left is None else _time(left),
        "-" if gpu is None else f"{gpu / 1024:.1f} GB",
        str(cell.attempt.turn + 1),
        cell.attempt.worker,
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
