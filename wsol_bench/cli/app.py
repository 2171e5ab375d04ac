"""The command ``wsol-bench``: its parts put together, and how it ends.

Commands import what they need when they run: ``--help`` and argument errors come without torch, cv2 or matplotlib.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from wsol_bench import __version__
from wsol_bench.cli import (
    annotate,
    check,
    datasets,
    evaluate,
    leaderboard,
    methods,
    report,
    select,
    status,
    sweep,
    tables,
    worker,
)
from wsol_bench.cli.parsing import HelpfulGroup
from wsol_bench.errors import WsolBenchError, missing_package

USER_ERROR: Final = 2

app = typer.Typer(
    name="wsol-bench",
    cls=HelpfulGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command()(select.select)
app.command()(sweep.sweep)
app.command()(status.status)
app.command()(worker.worker)
app.command()(tables.tables)
app.command()(tables.audit)
app.command()(report.report)
app.add_typer(annotate.app, name="annotate")
app.command(cls=evaluate.EvaluateCommand)(evaluate.evaluate)
app.command()(check.check)
app.add_typer(datasets.app, name="datasets")
app.add_typer(methods.app, name="methods")
app.add_typer(leaderboard.app, name="leaderboard")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _wsol_bench(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Python file that registers plug-ins. Stands before the command; repeatable."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """The realistic evaluation protocol for weakly supervised object localization.

    Methods are trained with class labels only; pseudo-boxes, not manual boxes, choose the epoch, the configuration
    and the threshold. Everything is kept in one folder, the workspace; nothing that is there is computed again.

    \b
    Start with:
      wsol-bench select                               the protocol, end to end
      wsol-bench evaluate --maps DIR --metadata DIR   score maps of your own
    """
    from wsol_bench.registry import load_plugin_file

    for path in plugin or []:
        load_plugin_file(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; those of the process when not given.

    Returns:
        The exit status: 0, 1 when a check found something wrong or the reader of a pipe went away, 2 for an error
        caused by input (one line on standard error), 130 after Ctrl-C. Anything else is a fault of wsol-bench and
        ends with its traceback.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = app(args=given, prog_name="wsol-bench", standalone_mode=False)
        # A pipe that was closed early (| head) shows itself here, not in the interpreter's last breath.
        sys.stdout.flush()
    except WsolBenchError as error:
        return _fail(str(error))
    except TyperException as error:
        return _fail(_usage_problem(error))
    except ImportError as error:
        missing = missing_package(error)
        if missing is None:
            raise
        return _fail(str(missing))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    one_line = re.sub(r"\s*\n\s*", " ", message.strip())
    typer.echo(f"error: {one_line}", err=True)
    return USER_ERROR


def _usage_problem(error: TyperException) -> str:
    """What is wrong with the arguments, and where help is."""
    message = error.format_message().replace("Value error, ", "").replace("Input should", "should")
    if getattr(error, "option_name", None) == "--plugin":
        return "Expected --plugin FILE before the command: wsol-bench --plugin FILE select ..."
    context = getattr(error, "ctx", None)
    command = "wsol-bench" if context is None else context.command_path
    stop = "" if message.endswith((".", "?")) else "."
    return f"{message}{stop} See '{command} --help'."
