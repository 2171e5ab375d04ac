"""Official text files: UTF-8 lines of fields, and errors that name file and line."""

from __future__ import annotations

from pathlib import Path

from wsol_bench.annotations.metadata_lines import MetadataLines
from wsol_bench.errors import DataError


def read_fields(path: Path, form: str) -> list[list[str]]:
    """Reads lines of fields separated by blanks; the last field may hold blanks itself.

    Args:
        path: the file.
        form: the expected line as a person writes it, ``id x y width height``.

    Raises:
        DataError: the file is missing or not UTF-8, or a line has too few fields.
    """
    lines = MetadataLines.read(path)
    wanted = len(form.split())
    rows = [row.split(maxsplit=wanted - 1) for row in lines.rows]
    for row, fields in enumerate(rows):
        if len(fields) != wanted:
            lines.fail(row, f"Expected '{form}' but got '{lines.rows[row]}' ({len(fields)} of {wanted} fields).")
    return rows


def read_pairs(path: Path, form: str) -> dict[str, str]:
    """Reads lines ``key value`` into a dictionary.

    Raises:
        DataError: as :func:`read_fields`, or a key occurs twice.
    """
    pairs: dict[str, str] = {}
    for line, (key, value) in enumerate(read_fields(path, form), 1):
        if key in pairs:
            raise DataError(f"Expected every {form.split()[0]} once but got '{key}' again.", path, line)
        pairs[key] = value.strip()
    return pairs


def number(text: str, what: str, path: Path) -> float:
    """Returns a finite number.

    Raises:
        DataError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise DataError(f"Expected {what} to be a number but got '{text}'.", path)
    return value
