"""``wsol-bench tables`` and ``wsol-bench audit``: what a selection means, from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import console, print_json, print_unwrapped
from wsol_bench.errors import unknown_choice

AUDIT_WIDTH = 150
"""Columns of the audit where the output is no terminal."""


def tables(
    table: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="4.1, 4.2, 4.3, 4.5, 4.6, 4.7, 4.9, intervals, regret, agreement, comparisons, budget or reuse; "
            "repeatable.",
            show_default="all",
        ),
    ] = None,
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    sampler: options.ChosenBy = "plan",
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also write each table as CSV.")] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw Figs. 2.5, 4.1, 4.2, and 4.4 for noisy boxes, into DIR.")
    ] = None,
    allow_missing: options.AllowMissing = False,
    threads: options.JudgeThreads = None,
    json_: options.AsJson = False,
) -> None:
    """Print the tables of the latest selection.

    Nothing is run: the records are judged again. Numbers name the tables of the protocol chapter (Murtaza, PhD thesis,
    2025); 4.7 stands for 4.7 and 4.8.
    'regret' says what each source's choices cost, 'agreement' whether it orders configurations and methods as manual
    boxes do, 'comparisons' which methods differ, 'budget' what fewer configurations would have given. A selection by
    masks (PxAP) has Table 4.9 only.

    \b
    Examples:
      wsol-bench tables
      wsol-bench tables --table 4.2 -d tiny-imagenet --root tiny-imagenet-200
      wsol-bench tables --sampler tpe --table regret
    """
    from wsol_bench.workflow.mask_tables import MaskStudy, only_boxes, tables_of_masks
    from wsol_bench.workflow.selection_tables import TABLES, figures_of, tables_of

    study = options.judged_study(dataset, root, metadata, workspace, threads, allow_missing, sampler)
    if isinstance(study, MaskStudy):
        if figures is not None:
            raise only_boxes("the figures", study)
        made = tables_of_masks(study, list(TABLES), table)
    else:
        made = tables_of(study, table)
        for figure in [] if figures is None else figures_of(study, figures):
            typer.echo(f"drawn: {figure.files[0]}", err=True)
    if out is not None:
        for one in made:
            one.write_csv(out)
    if json_:
        print_json({"tables": [one.as_dict() for one in made]})
        return
    for one in made:
        print_unwrapped(one.rendered())


def audit(
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    sampler: options.ChosenBy = "plan",
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show the rows of one metric, or 'all'; all rows are checked.",
            show_default="the protocol's headline, px_ap for masks",
        ),
    ] = None,
    allow_missing: options.AllowMissing = False,
    threads: options.JudgeThreads = None,
    json_: options.AsJson = False,
) -> None:
    """List which annotations each row rests on.

    For each row: what was read, by whom and when, and whether it may be called realistic. Evidence is the ledger of
    each choice, the provenance of each run and the card of each set of pseudo-boxes. Exits with 1 where a row calls
    itself realistic although ground truth was read for its training, selection or threshold.
    """
    from wsol_bench.judge.scores import PX_AP
    from wsol_bench.report.searched import marked
    from wsol_bench.report.study_tables import audit_table
    from wsol_bench.workflow.judge_mask_plan import audit_of_masks
    from wsol_bench.workflow.mask_tables import MaskStudy
    from wsol_bench.workflow.selection_tables import audit_of

    study = options.judged_study(dataset, root, metadata, workspace, threads, allow_missing, sampler)
    if isinstance(study, MaskStudy):
        rows = audit_of_masks(study.plan, study.judged, study.workspace)
        metric = metric or PX_AP
    else:
        rows = audit_of(study)
        metric = metric or study.judged.protocol.headline.metric
    if metric not in ("all", *(row.metric for row in rows)):
        raise unknown_choice("--metric", metric, {"all", *(row.metric for row in rows)})
    shown = [row for row in rows if metric in ("all", row.metric)]
    if json_:
        print_json({"rows": [row.as_dict() for row in shown]})
    else:
        console(AUDIT_WIDTH).print(marked(audit_table(shown), study.judged.protocol).rendered())
    if any(row.refused for row in rows):
        raise typer.Exit(1)
