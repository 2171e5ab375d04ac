"""``wsol-bench leaderboard``: what was measured, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_rows
from wsol_bench.cli.parsing import HelpfulGroup
from wsol_bench.errors import UsageError

app = typer.Typer(cls=HelpfulGroup, help="Collect measured rows.", rich_markup_mode=None)

_COLUMNS = (
    "dataset",
    "method",
    "val_boxes",
    "selection",
    "tau_from",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "realistic",
)


@app.command()
def build(
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all columns of all rows to this CSV."),
    ] = None,
    json_: options.AsJson = False,
) -> None:
    """Merge the rows that 'select' measured in a workspace.

    Rows that contradict each other are an error. Without --out a table of the most important columns is printed.
    """
    from wsol_bench.judge.rows import write_csv
    from wsol_bench.leaderboard.measured import merge_files

    results = workspace / "results"
    files = sorted(results.glob("*/rows.csv"))
    if not files:
        raise UsageError(f"Expected results in {results} but there are none; fix: 'wsol-bench select', or -w DIR.")
    rows = merge_files(files)
    if out is not None:
        write_csv(out, rows)
        typer.echo(f"{len(rows)} rows of {len(files)} files are in {out}", err=True)
    if json_:
        print_rows([row.as_dict() for row in rows], as_json=True)
    elif out is None:
        print_rows([{key: getattr(row, key) for key in _COLUMNS} for row in rows], as_json=False)
