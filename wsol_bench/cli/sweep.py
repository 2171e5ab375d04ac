"""``wsol-bench sweep``: train and record the plan."""

from __future__ import annotations

from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_json, print_unwrapped, working
from wsol_bench.cli.parsing import pairs


def sweep(
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    method: options.Methods = None,
    configs: options.Configs = 3,
    seeds: options.Seeds = 1,
    hparam_seed: options.HparamSeed = 0,
    epochs: options.Epochs = None,
    set_: options.Overrides = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    compile_: options.Compile = False,
    on_bad_image: options.OnBadImage = "error",
    keep_maps: Annotated[
        bool, typer.Option("--keep-maps", help="Also record maps at native resolution (masks need them).")
    ] = False,
    study: options.Study = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Start so many workers.", show_default="work in this process"),
    ] = None,
    launcher: Annotated[str, typer.Option(metavar="NAME", help="Where workers run: local, ray or slurm.")] = "local",
    launch_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of the launcher, as in partition=gpu; repeatable."),
    ] = None,
    sampler: options.Sampler = "plan",
    retries: Annotated[
        int, typer.Option(min=0, metavar="N", help="How often a trial is taken up again after its worker died.")
    ] = 3,
    grace: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Silence after which a worker counts as dead.")
    ] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan, how far it is and what it costs; run nothing.")
    ] = False,
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Train every planned configuration and record each epoch.

    The plan is fixed beforehand: configuration 0 of a method is its recipe, the others are drawn, and a longer plan
    extends a shorter one. Stopped at any moment, the same command goes on with the epoch that was in progress. Every
    trial of the plan ends complete, diverged or failed; none is left out in silence.

    \b
    Examples:
      wsol-bench sweep --configs 8 --dry-run
      wsol-bench sweep --method cam --set backbone=resnet18 --epochs 20
      wsol-bench sweep --method acol --configs 180 --workers 8
      wsol-bench sweep --workers 40 --launcher slurm --launch-option gpus=1
      torchrun --nproc-per-node 4 -m wsol_bench sweep --precision bf16
    """
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.search.plan import PlanRequest, enumerate_trials

    plan = PlanRequest(tuple(method or ["cam"]), configs, seeds, hparam_seed, epochs, pairs("--set", set_), precision)
    # From here on torch is needed, which takes seconds to import.
    from wsol_bench.report.plan_table import plan_rows, plan_table
    from wsol_bench.search.study_setting import SearchSetting
    from wsol_bench.training.parallel import launched
    from wsol_bench.workflow.progress import Screen
    from wsol_bench.workflow.run_study import StudyRequest, run_study
    from wsol_bench.workflow.sweep import plan_status
    from wsol_bench.workflow.sweep_cost import cost_lines, sweep_cost
    from wsol_bench.workflow.workspace import Workspace

    opened = open_dataset(dataset, root=root, metadata=metadata)
    search = None if sampler == "plan" else SearchSetting.of(plan, sampler)
    trials = enumerate_trials(plan.recipes if search else plan, dataset, opened.version)
    place = Workspace(workspace)
    cost = None
    # Started by torchrun: all processes train, the first one talks.
    silent = launched()[0] > 0
    if dry_run:
        outcomes = plan_status(trials, place)
        cost = sweep_cost(opened, outcomes)
    else:
        request = StudyRequest(
            dataset_spec=dataset,
            root=root,
            metadata=metadata,
            study=study,
            workers=workers,
            launcher=launcher,
            launch_options=pairs("--launch-option", launch_option),
            device=device,
            on_bad_image=on_bad_image,
            keep_maps=keep_maps,
            retries=retries,
            grace=grace,
            compiled=compile_,
            search=search,
        )
        with working():
            outcomes = run_study(opened, trials, place, request, screen=Screen(quiet=quiet or silent))
    if silent:
        return
    if json_:
        print_json({"trials": plan_rows(outcomes)} | ({"cost": cost} if cost else {}))
        return
    print_unwrapped(plan_table(outcomes))
    for line in cost_lines(cost or []):
        typer.echo(line)
