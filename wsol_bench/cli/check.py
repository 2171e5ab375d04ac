"""``wsol-bench check``: the conformance suite for a method of one's own."""

from __future__ import annotations

from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_json, print_rows, working
from wsol_bench.errors import PluginError


def check(
    method: Annotated[
        str, typer.Argument(metavar="FILE|METHOD", help="Python file that registers methods, or a registered name.")
    ],
    json_: options.AsJson = False,
) -> None:
    """Check that a method keeps to its contract.

    Runs on a handful of embedded pictures: shapes, repeatable and batch-independent predictions, losses that fall,
    nothing left behind, no box read, and more. The exit status is 1 when a check fails that the method does not
    declare.

    \b
    Examples:
      wsol-bench check my_method.py
      wsol-bench check acol
    """
    from pathlib import Path

    from wsol_bench.registry import METHODS, load_plugin_file
    from wsol_bench.testing.conformance import run_checks

    path = Path(method)
    names = [method]
    if path.suffix == ".py":
        names = METHODS.names_of(load_plugin_file(path))
        if not names:
            raise PluginError(f"Expected '{path}' to register a method but it registers none; see examples/edge_cam/.")
    with working():
        results = {name: run_checks(name) for name in names}
    if json_:
        print_json({"methods": {name: [vars(one) for one in found] for name, found in results.items()}})
    else:
        for name, found in results.items():
            rows = [{name: one.expectation, "result": one.status, "found": one.reason or "-"} for one in found]
            print_rows(rows, as_json=False)
            wrong = sum(not one.fine for one in found)
            typer.echo(f"{name}: {len(found) - wrong} of {len(found)} checks are as they should be")
    if not all(one.fine for found in results.values() for one in found):
        raise typer.Exit(1)
