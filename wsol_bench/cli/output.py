"""What commands print: tables for people, JSON for programs, and nothing else on standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Final

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

PIPE_WIDTH: Final = 110
"""Columns of tables that are not printed to a terminal: a pipe or a file has no width of its own."""

_STOPPED = 130


def console(least: int = PIPE_WIDTH) -> Console:
    """Returns the console for results.

    Args:
        least: columns where the output is no terminal.
    """
    probe = Console(highlight=False)
    return probe if probe.is_terminal else Console(highlight=False, width=least)


def print_unwrapped(table: Table) -> None:
    """Prints a table whose cells are to be read as they are; a pipe or a file is as wide as it needs."""
    screen = console()
    console(max(PIPE_WIDTH, Measurement.get(screen, screen.options.update(width=10_000), table).maximum)).print(table)


@contextmanager
def working() -> Iterator[None]:
    """Surrounds long work: what libraries print goes to standard error, and Ctrl-C ends it with a word of comfort."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        typer.echo("stopped; what is finished is kept, and the same command goes on from there.", err=True)
        raise typer.Exit(_STOPPED) from None


def print_json(content: Any) -> None:
    """Prints plain values, arrays' scalars and paths as JSON; what is not a finite number becomes null."""
    typer.echo(json.dumps(_plain(content), indent=2, allow_nan=False))


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, broken: Mapping[str, str] | None = None) -> None:
    """Prints rows with the same keys, and warns of plug-ins that are broken.

    Args:
        rows: what to print.
        as_json: JSON with the key ``rows``, and ``broken`` where there is any, instead of a table.
        broken: ``{name: reason}``.
    """
    if as_json:
        print_json({"rows": rows} | ({"broken": broken} if broken else {}))
    elif rows:
        console().print(table(rows))
    for reason in (broken or {}).values():
        typer.echo(f"warning: {reason}", err=True)


def table(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> Table:
    """Returns rows with the same keys as a table, numbers to the right."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for key, value in rows[0].items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # A long name runs on in the next line: cut short it could be another one.
        made.add_column(key.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for row in rows:
        # Square brackets are markup to rich.
        made.add_row(*(_cell(value).replace("[", "\\[") for value in row.values()))
    return made


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple | set | frozenset):
        return [_plain(value) for value in content]
    if isinstance(content, Path):
        return str(content)
    if hasattr(content, "item"):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content
