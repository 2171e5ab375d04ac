"""Measured rows of a workspace: read back, checked, merged."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from pydantic import ValidationError

from wsol_bench.errors import DataError
from wsol_bench.judge.rows import ResultRow

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
    """Reads rows from a CSV file written by ``wsol-bench select``.

    Raises:
        DataError: a column is missing or unknown, or a value does not parse; file and line are named.
    """
    expected = [field.name for field in fields(ResultRow)]
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            if header != expected:
                raise DataError(f"Expected {_difference(header, expected)}; fix: measure again with 'select'.", path, 1)
            return [_parse(cells, path, reader.line_num) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Expected a CSV file of result rows but it cannot be read ({error}).", path) from error


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


def _parse(cells: list[str], path: Path, line: int) -> ResultRow:
    if len(cells) != len(_KINDS):
        raise DataError(f"Expected {len(_KINDS)} values but got {len(cells)}; the file is damaged.", path, line)
    values: dict[str, Any] = {}
    for (name, kind), text in zip(_KINDS.items(), cells, strict=True):
        try:
            values[name] = _typed(kind, text)
        except (KeyError, ValueError):
            raise DataError(f"Expected {name} to be {_KIND_NAMES[kind]} but got '{text}'.", path, line) from None
    try:
        return ResultRow(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = f"{problem['loc'][-1]}: " if problem["loc"] else ""
        raise DataError(f"Expected a valid row but {where}{problem['msg']}.", path, line) from error


_HINTS = get_type_hints(ResultRow)
_KINDS: dict[str, type] = {
    field.name: _HINTS[field.name] if _HINTS[field.name] in (bool, int, float) else str for field in fields(ResultRow)
}
_KIND_NAMES: dict[type, str] = {bool: "True or False", int: "a whole number", float: "a finite number", str: "a text"}


def _typed(kind: type, text: str) -> Any:
    if kind is bool:
        return {"True": True, "False": False}[text]
    value = kind(text)
    if kind is float and not math.isfinite(value):
        raise ValueError(text)
    return value


def _difference(header: list[str], expected: list[str]) -> str:
    missing = [name for name in expected if name not in header]
    unknown = [name for name in header if name not in expected]
    if not missing and not unknown:
        return f"the columns in the order {', '.join(expected)}"
    parts = [f"the columns {', '.join(missing)}"] if missing else []
    return " and ".join([*parts, f"no columns {', '.join(unknown)}"] if unknown else parts)
