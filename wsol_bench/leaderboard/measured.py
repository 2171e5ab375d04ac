"""Measured rows of a workspace: read back, checked, merged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from wsol_bench.errors import DataError
from wsol_bench.judge.rows import ResultRow
from wsol_bench.leaderboard.csv_rows import read_csv

IDENTITY: Final = (
    "dataset",
    "dataset_version",
    "method",
    "split",
    "protocol",
    "evaluator",
    "val_boxes",
    "selection",
    "tau_from",
    "metric",
    "iou_threshold",
    "code_version",
)
"""The columns that say what was measured; rows that agree in them must agree in the result."""


def read_rows(path: Path) -> list[ResultRow]:
    """Reads rows from a CSV file written by ``wsol-bench select`` or ``leaderboard build``.

    Raises:
        DataError: a column is missing or unknown, or a value does not fit; file and line are named.
    """
    return read_csv(path, ResultRow, "measure again with 'select'")


def merge_files(paths: Iterable[Path]) -> list[ResultRow]:
    """Reads several files and merges their rows; the same measurement made twice appears once.

    Returns:
        The rows, sorted by what was measured.

    Raises:
        DataError: a file is damaged, or two rows claim the same measurement with different results; both places are
            named.
    """
    merged: dict[tuple[str, ...], tuple[ResultRow, Path]] = {}
    for path in paths:
        for row in read_rows(path):
            key = tuple(str(getattr(row, name)) for name in IDENTITY)
            known, place = merged.setdefault(key, (row, path))
            if _result(known) != _result(row):
                raise DataError(
                    f"Expected one result for {', '.join(filter(None, key))} but got {_result(known)} in {place} and "
                    f"{_result(row)} in {path}; fix: keep plans that differ in different workspaces, or delete the "
                    "results that no longer hold."
                )
    return [merged[key][0] for key in sorted(merged)]


def _result(row: ResultRow) -> str:
    return f"{row.value} (trial {row.config_hash}, epoch {row.epoch}, n = {row.n})"
