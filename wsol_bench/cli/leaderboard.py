"""``wsol-bench leaderboard``: what was measured and what was printed, side by side, and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_json, print_rows, print_unwrapped, table
from wsol_bench.cli.parsing import HelpfulGroup
from wsol_bench.errors import UsageError, unknown_choice

app = typer.Typer(cls=HelpfulGroup, help="Collect, check and show measured and printed rows.", rich_markup_mode=None)

_COLUMNS = (
    "dataset",
    "method",
    "protocol",
    "val_boxes",
    "policy",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "realistic",
)
_Files = Annotated[
    list[Path] | None,
    typer.Option("--file", metavar="FILE", help="Measured rows; repeatable.", show_default="those of the benchmark"),
]


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
        print_unwrapped(table([{key: getattr(row, key) for key in _COLUMNS} for row in rows]))


@app.command()
def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder.")],
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", metavar="NAME[:OPTIONS]", help="With a selection; repeatable."),
    ] = None,
    sampler: Annotated[
        list[str] | None,
        typer.Option(
            "--sampler",
            metavar="NAME",
            help="What chose the configurations of the selection: plan, tpe or random; repeatable.",
            show_default="plan",
        ),
    ] = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    json_: options.AsJson = False,
) -> None:
    """Copy what others need to derive the rows of a selection again.

    Records, pseudo-boxes, provenance and the plan; no weights and no images. 'leaderboard check --study DIR' reads it.
    """
    from wsol_bench.workflow.leaderboard_check import export_study
    from wsol_bench.workflow.workspace import Workspace

    export_study(Workspace(workspace), dataset or ["critters"], out, [_sampler(name) for name in sampler or ["plan"]])
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if json_:
        print_json({"folder": out, "bytes": size})
    else:
        typer.echo(f"{size / 1e6:.1f} MB are in {out}")


@app.command()
def check(
    file: _Files = None,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Workspace or exported study with the records.",
            show_default="that of the benchmark with the name of the file",
        ),
    ] = None,
    root: options.Root = None,
    metadata: options.Metadata = None,
    json_: options.AsJson = False,
) -> None:
    """Derive every measured row again from its records, and compare.

    Exits with 1 where a row is different, is not given by the records, or was left out of the file. Only the version of
    wsol-bench may be another one.

    \b
    Examples:
      wsol-bench leaderboard check
      wsol-bench leaderboard check --file rows.csv --study wsol_workspace
    """
    from wsol_bench.workflow.leaderboard_check import check_file, measured_files, study_of

    files = file or measured_files()
    if not files:
        raise UsageError("Expected measured leaderboards but the benchmark has none; fix: --file FILE --study DIR.")
    differences = [
        difference
        for one in files
        for difference in check_file(one, study or study_of(one), root=root, metadata=metadata, threads=options.cores())
    ]
    if json_:
        print_json({"files": files, "differences": [vars(one) for one in differences]})
    for one in [] if json_ else differences:
        typer.echo(f"{one.file}: {one.row}: {one.problem}")
    if differences:
        raise typer.Exit(1)
    if not json_:
        typer.echo(f"all rows of {', '.join(map(str, files))} follow from their records")


@app.command()
def show(
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", metavar="NAME", help="As in 'cub'.")] = None,
    method: Annotated[str | None, typer.Option("--method", "-m", metavar="NAME", help="As in 'cam'.")] = None,
    metric: Annotated[str | None, typer.Option(metavar="NAME", help="As in 'max_box_acc'.")] = None,
    policy: Annotated[str | None, typer.Option(metavar="NAME", help="As in BV-VT.")] = None,
    file: _Files = None,
    json_: options.AsJson = False,
) -> None:
    """Show printed and measured numbers side by side.

    Printed numbers are those of papers, with their place and, where a column had to be concluded or a digit is in
    doubt, a word about it. They are never mixed with measured ones: other images, other training, other evaluators.

    \b
    Examples:
      wsol-bench leaderboard show -d cub --metric max_box_acc --policy BV-VT
      wsol-bench leaderboard show -m ts_cam
    """
    from wsol_bench.leaderboard.measured import merge_files
    from wsol_bench.leaderboard.published import read_published
    from wsol_bench.leaderboard.side_by_side import side_by_side
    from wsol_bench.workflow.leaderboard_check import measured_files

    found = side_by_side(
        read_published(),
        merge_files(file or measured_files()),
        dataset=dataset,
        method=method,
        metric=metric,
        policy=policy,
    )
    if not found and not json_:
        raise UsageError("Expected numbers that fit but there are none; fix: fewer options, or other names.")
    print_rows([entry.as_dict() for entry in found], as_json=json_)


def _sampler(name: str) -> options.SamplerName:
    """Checks a name; options that may be repeated cannot have a list of choices."""
    known: dict[str, options.SamplerName] = {one: one for one in get_args(options.SamplerName)}
    if name not in known:
        raise unknown_choice("--sampler", name, known)
    return known[name]
