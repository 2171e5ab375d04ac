"""``wsol-bench select``: the whole protocol in one command."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import console, print_json, print_unwrapped, working
from wsol_bench.cli.parsing import pairs
from wsol_bench.errors import MissingPackageError, UsageError, unknown_choice

if TYPE_CHECKING:
    from pathlib import Path

    from wsol_bench.protocol import Protocol
    from wsol_bench.report.untested_result import UntestedSelection
    from wsol_bench.search.plan import PlanRequest
    from wsol_bench.workflow.run_study import StudyRequest

TABLE_WIDTH = 120
"""Columns of the result tables where the output is no terminal."""


def select(
    val: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="What selects on the validation set: pseudo=ss, a folder of boxes, or noise:25; where masks are "
            "scored maps:cam (pseudo-masks), maps:TRIAL-ID or noise:25; repeatable.",
            show_default="pseudo=ss, or maps:cam for masks, if the protocol allows it",
        ),
    ] = None,
    reference: Annotated[
        bool, typer.Option(help="Also select by class labels and by ground truth, to compare.")
    ] = True,
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    method: options.Methods = None,
    configs: options.Configs = 3,
    seeds: options.Seeds = 1,
    hparam_seed: options.HparamSeed = 0,
    epochs: options.Epochs = None,
    set_: options.Overrides = None,
    sampler: options.Sampler = "plan",
    study: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            envvar="WSOL_BENCH_STUDY",
            show_envvar=False,
            help="Where a search keeps its trials, as in 'sweep'; a plan is judged without.",
            show_default="(WORKSPACE/studies/DATASET-SAMPLER.journal)",
        ),
    ] = None,
    protocol: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="realistic, choe2020, or a YAML file.")
    ] = "realistic",
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Metric of the first table; px_ap scores masks although there are boxes.",
            show_default="the protocol's headline; px_ap where there are masks only",
        ),
    ] = None,
    replicates: Annotated[
        int, typer.Option(min=1, metavar="N", help="Bootstrap replicates behind each interval.")
    ] = 1000,
    allow_missing: options.AllowMissing = False,
    workers: options.Workers = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    compile_: options.Compile = False,
    on_bad_image: options.OnBadImage = "error",
    figures: Annotated[bool, typer.Option(help="Write figures beside the rows.")] = True,
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Run what is missing and print what the protocol concludes.

    Trains the planned configurations, makes the pseudo-boxes, lets every source select, and scores the choices on the
    test set. A policy names where the configuration is picked (BV validation, BT test) and where the threshold comes
    from (VT validation, TT test, OT Otsu per image). Only BV-VT with pseudo-boxes and BV-OT with class labels use no
    ground truth. Rows and figures are written to WORKSPACE/results/DATASET.

    Datasets with masks and no boxes (glas, camelyon16, openimages) are scored by PxAP, which has no threshold: BV and
    BT remain, and pseudo-masks are made of recorded maps. Where the test images have neither, nothing is scored: the
    sources choose all the same, how far they agree is printed, and the boxes that each choice draws are written.

    With --sampler what was searched competes instead of the plan. Its rows are of another protocol (realistic@2+tpe)
    and lie in WORKSPACE/results/DATASET+SAMPLER; the other commands take the same --sampler.

    \b
    Examples:
      wsol-bench select
      wsol-bench select --method cam --configs 8 --val pseudo=ss --val my_boxes/
      wsol-bench select -d tiny-imagenet --root tiny-imagenet-200 --json
      wsol-bench select -d openimages --root ROOT --val maps:cam --val noise:20
      wsol-bench select --sampler tpe --configs 20
    """
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.judge.scores import PX_AP
    from wsol_bench.protocol import load_protocol
    from wsol_bench.search.plan import PlanRequest, enumerate_trials
    from wsol_bench.workflow.scored import default_source, what_is_scored

    rules = load_protocol(protocol)
    if metric is not None and metric not in (*rules.metrics, PX_AP):
        raise unknown_choice("--metric", metric, [*rules.metrics, PX_AP])
    methods = tuple(method or ["cam"])
    plan = PlanRequest(methods, configs, seeds, hparam_seed, epochs, pairs("--set", set_), precision)
    opened = open_dataset(dataset, root=root, metadata=metadata)
    scored = what_is_scored(opened, metric)
    if figures and scored == "boxes" and find_spec("matplotlib") is None:
        raise MissingPackageError(
            "Expected matplotlib for the figures but it is not installed; fix: pip install 'wsol-bench[plots]', or "
            "--no-figures."
        )
    if scored == "masks":
        sources = _sources(rules, val, reference, opened.has_masks("val"), default_source(methods))
    else:
        sources = _sources(rules, val, reference, opened.has_ground_truth("val"), "pseudo=ss")
    # From here on torch is needed, which takes seconds to import.
    from wsol_bench.report.mask_result import MaskSelectionResult
    from wsol_bench.report.mask_text import print_mask_selection
    from wsol_bench.report.selection_text import print_selection
    from wsol_bench.report.untested_result import UntestedSelection
    from wsol_bench.training.parallel import refuse_several
    from wsol_bench.workflow.annotate import ClassifierRequest
    from wsol_bench.workflow.progress import Screen
    from wsol_bench.workflow.select import SelectionRequest
    from wsol_bench.workflow.select import select as run
    from wsol_bench.workflow.workspace import Workspace

    refuse_several("select")
    searched = _searched(sampler, plan, dataset, root, metadata, study)
    with working():
        result = run(
            opened,
            SelectionRequest(
                dataset_spec=dataset,
                trials=enumerate_trials(plan.recipes if searched else plan, dataset, opened.version),
                sources=sources,
                metric=metric,
                protocol=protocol,
                replicates=replicates,
                workers=workers or options.cores(),
                classifier=ClassifierRequest.like(plan, dataset),
                allow_missing=allow_missing,
                study=searched,
            ),
            Workspace(workspace),
            device=device,
            on_bad_image=on_bad_image,
            figures=figures,
            compiled=compile_,
            screen=Screen(quiet=quiet),
        )
    if json_:
        print_json(result.as_dict())
    elif isinstance(result, MaskSelectionResult):
        print_mask_selection(result, console(TABLE_WIDTH))
    elif isinstance(result, UntestedSelection):
        print_untested(result)
    else:
        print_selection(result, metric, console(TABLE_WIDTH))


def _searched(
    sampler: options.SamplerName,
    plan: PlanRequest,
    dataset: str,
    root: Path | None,
    metadata: Path | None,
    study: str | None,
) -> StudyRequest | None:
    """The study of the search that competes, if one does: a plan needs none, and no Optuna."""
    if sampler == "plan":
        return None
    from wsol_bench.search.study_setting import SearchSetting
    from wsol_bench.workflow.run_study import StudyRequest

    return StudyRequest(dataset, root, metadata, study, search=SearchSetting.of(plan, sampler))


def print_untested(result: UntestedSelection) -> None:
    """Prints what sources chose where nothing can be scored, and says so."""
    screen = console(TABLE_WIDTH)
    for table in result.tables():
        print_unwrapped(table.rendered())
        screen.print()
    for sentence in result.sentences():
        screen.print(sentence, markup=False)
    screen.print(f"Written: {', '.join(str(path) for path in result.files)}", markup=False, soft_wrap=True)


def _sources(rules: Protocol, val: list[str] | None, reference: bool, manual: bool, default: str) -> list[str]:
    """What selects: the sources asked for, and for comparison those that need nothing to be made."""
    there = ("cls", "gt") if manual else ("cls",)
    compared = [source for source in there if reference and source in rules.sources]
    asked = val or ([default] if "pseudo" in rules.sources else [])
    if not compared + asked:
        raise UsageError(f"Expected --reference, because nothing else may select by the protocol '{rules.id}'.")
    return compared + asked
