"""Measured rows of a workspace: read back, checked, merged."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from wsol_bench.errors import DataError
from wsol_bench.judge.rows import ResultRow

_HINTS = get_type_hints(ResultRow)
_IDENTITY = (
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
    "code_version",
)


def read_rows(path: Path) -> list[ResultRow]:
    """Reads rows from a CSV file written by ``wsol-bench select``.

    Raises:
        DataError: a column is missing or unknown, or a value does not parse; file and line are named.
    """
    expected = [field.name for field in fields(ResultRow)]
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != expected:
                raise DataError(f"Expected the columns {', '.join(expected)} but got {reader.fieldnames}.", path, 1)
            return [_parse(row, path, line) for line, row in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Expected a CSV file of result rows but it cannot be read ({error}).", path) from error


def merge_rows(groups: Iterable[Sequence[ResultRow]]) -> list[ResultRow]:
    """Merges rows of several files; the same measurement made twice appears once.

    Raises:
        DataError: two rows claim the same measurement with different values.
    """
    merged: dict[tuple[Any, ...], ResultRow] = {}
    for rows in groups:
        for row in rows:
            key = tuple(getattr(row, name) for name in _IDENTITY)
            known = merged.setdefault(key, row)
            if (known.value, known.config_hash) != (row.value, row.config_hash):
                raise DataError(
                    f"Expected one value for {' '.join(map(str, key))} but got {known.value} (config {known.config_hash}) "
                    f"and {row.value} (config {row.config_hash}); fix: keep studies of different plans in different "
                    "workspaces."
                )
    return sorted(merged.values(), key=lambda row: tuple(str(getattr(row, name)) for name in _IDENTITY))


def _parse(row: dict[str, str], path: Path, line: int) -> ResultRow:
    try:
        return ResultRow(**{name: _typed(_HINTS[name], row[name]) for name in row})
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"Expected a result row but a value does not parse ({error}).", path, line) from error


def _typed(kind: Any, text: str) -> Any:
    if kind is bool:
        return {"True": True, "False": False}[text]
    return kind(text)
