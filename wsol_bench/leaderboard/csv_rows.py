"""CSV files of rows that have a schema: whatever does not fit is named with file and line."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_type_hints

from pydantic import ValidationError

from wsol_bench.errors import DataError

Row = TypeVar("Row")

_KIND_NAMES: Final[dict[type, str]] = {
    bool: "True or False",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
}


def read_csv(path: Path, row_class: type[Row], fix: str) -> list[Row]:
    """Reads rows of a pydantic dataclass.

    Args:
        path: the file; its header must be the fields of the class, in order.
        row_class: the schema.
        fix: what to do about a file with other columns.

    Raises:
        DataError: a column is missing or unknown, or a value does not fit; file and line are named.
    """
    kinds = _kinds(row_class)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            if header != list(kinds):
                raise DataError(f"Expected {_difference(header, list(kinds))}; fix: {fix}.", path, 1)
            return [_parse(cells, row_class, kinds, path, reader.line_num) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Expected a CSV file of rows but it cannot be read ({error}).", path) from error


def _kinds(row_class: type[Any]) -> dict[str, type]:
    hints = get_type_hints(row_class)
    plain = {name: hint if hint in _KIND_NAMES else str for name, hint in hints.items() if not get_args(hint)}
    return {field.name: plain.get(field.name, str) for field in dataclasses.fields(row_class)}


def _parse(cells: list[str], row_class: type[Row], kinds: dict[str, type], path: Path, line: int) -> Row:
    if len(cells) != len(kinds):
        raise DataError(f"Expected {len(kinds)} values but got {len(cells)}; the file is damaged.", path, line)
    values: dict[str, Any] = {}
    for (name, kind), text in zip(kinds.items(), cells, strict=True):
        try:
            values[name] = _typed(kind, text)
        except (KeyError, ValueError):
            raise DataError(f"Expected {name} to be {_KIND_NAMES[kind]} but got '{text}'.", path, line) from None
    try:
        return row_class(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = f"{problem['loc'][-1]}: " if problem["loc"] else ""
        raise DataError(f"Expected a valid row but {where}{problem['msg']}.", path, line) from error


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
