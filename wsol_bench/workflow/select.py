"""The main job: run what is missing, select by every source, and say what the protocol concludes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wsol_bench.annotations import firewall
from wsol_bench.annotations.sources import parse_source
from wsol_bench.atomic import write_json
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.errors import UsageError
from wsol_bench.judge.rows import write_csv
from wsol_bench.judge.scores import CLS, GT
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES
from wsol_bench.protocol import Protocol, Sampler, load_protocol
from wsol_bench.registry import ANNOTATORS
from wsol_bench.report.mask_result import MaskSelectionResult
from wsol_bench.report.selection_result import SelectionResult
from wsol_bench.report.untested_result import UntestedSelection
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.workflow.annotate import AnnotationRequest, ClassifierRequest, annotate, pseudo_boxes_ready
from wsol_bench.workflow.judge_plan import judge_plan
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.scored import Scored, what_is_scored
from wsol_bench.workflow.select_masks import check_before_training, judge_by_masks
from wsol_bench.workflow.select_untested import judge_untested
from wsol_bench.workflow.selection_plan import UNPROPOSED, PlannedRun, SelectionPlan, searched_label
from wsol_bench.workflow.selection_tables import Study, audit_of
from wsol_bench.workflow.sweep import TrialOutcome, plan_status, run_sweep
from wsol_bench.workflow.workspace import Workspace

if TYPE_CHECKING:
    from wsol_bench.search.study_setting import SearchSetting
    from wsol_bench.workflow.run_study import StudyRequest


@dataclass(frozen=True)
class SelectionRequest:
    """What ``wsol-bench select`` was asked for.

    Attributes:
        dataset_spec: the dataset as the user named it.
        trials: the plan whose runs compete.
        sources: selection sources in the user's words: ``cls``, ``gt``, ``noise:25``, ``pseudo=ss``, or a folder
            of boxes; for masks ``maps:cam``.
        protocol: name or file of the protocol.
        replicates: bootstrap replicates behind each interval.
        workers: processes for annotators that work on the CPU.
        classifier: how the classifier of the annotators is trained.
        allow_missing: run no trial; judge what is there, and say in every row what is missing.
        metric: ``px_ap`` scores masks although there are boxes.
        study: of a search that competes, beginning with ``trials``; None where ``trials`` are all that does.
    """

    dataset_spec: str
    trials: Sequence[PlannedTrial]
    sources: Sequence[str] = ("cls", "gt", "pseudo=ss")
    protocol: str = "realistic"
    replicates: int = DEFAULT_REPLICATES
    workers: int = 1
    classifier: ClassifierRequest = field(default_factory=ClassifierRequest)
    allow_missing: bool = False
    metric: str | None = None
    study: StudyRequest | None = None

    @property
    def search(self) -> SearchSetting | None:
        """How configurations are searched; None where they are planned."""
        return None if self.study is None else self.study.search

    @property
    def sampler(self) -> Sampler:
        """What chose the configurations."""
        return "plan" if self.search is None else self.search.sampler


def select(
    dataset: Dataset,
    request: SelectionRequest,
    workspace: Workspace,
    *,
    device: str = "auto",
    on_bad_image: OnBadImage = "error",
    figures: bool = True,
    compiled: bool = False,
    screen: Screen,
) -> SelectionResult | MaskSelectionResult | UntestedSelection:
    """Runs missing trials, makes missing pseudo-boxes, judges, and writes rows and figures.

    Boxes are judged where the dataset has boxes of test, masks where it has masks only or PxAP is asked for. Where it
    has neither, the sources choose, and nothing is scored.

    Raises:
        UsageError: a source or the protocol is unknown, or a source needs manual boxes that there are not.
        FirewallError: a method asked for ground truth while training.
        RecordError: a trial has no usable epoch.
    """
    protocol = load_protocol(request.protocol)
    sources = _allowed(request.sources, protocol)
    scored = what_is_scored(dataset, request.metric)
    if scored == "masks":
        check_before_training(
            dataset, request.dataset_spec, request.trials, sources, workspace, allow_missing=request.allow_missing
        )
    else:
        _check_box_sources(dataset, request, sources, workspace)
    outcomes = _trained(dataset, request, workspace, device, on_bad_image, scored == "masks", compiled, screen)
    if scored != "masks":
        _make_boxes(dataset, request, sources, workspace, device, on_bad_image, screen)
    plan = _plan(dataset, request, sources, outcomes, protocol, scored)
    counted = sum(len(run.epochs) for run in plan.runs)
    screen.say(f"judging {counted} epochs of {len(plan.runs)} runs of {', '.join(_methods(plan))}")
    if scored == "masks":
        return judge_by_masks(
            dataset, plan, workspace, threads=request.workers, allow_missing=request.allow_missing,
            skipped=_skipped(outcomes), screen=screen,
        )  # fmt: skip
    if scored == "nothing":
        return judge_untested(
            dataset, plan, workspace, threads=request.workers, allow_missing=request.allow_missing,
            skipped=_skipped(outcomes), screen=screen,
        )  # fmt: skip
    return _judge_boxes(dataset, request, plan, outcomes, workspace, figures, screen)


def _trained(
    dataset: Dataset,
    request: SelectionRequest,
    workspace: Workspace,
    device: str,
    on_bad_image: OnBadImage,
    keep_maps: bool,
    compiled: bool,
    screen: Screen,
) -> list[TrialOutcome]:
    """Runs the trials that are missing, unless that is allowed, and says how far each is."""
    if request.study is not None:
        # Optuna takes a while to import, and a plan does without.
        from wsol_bench.workflow.run_search import searched_trials

        wanted = replace(
            request.study, device=device, on_bad_image=on_bad_image, keep_maps=keep_maps, compiled=compiled
        )
        return searched_trials(dataset, request.trials, workspace, wanted, run=not request.allow_missing, screen=screen)
    if request.allow_missing:
        return plan_status(request.trials, workspace)
    return run_sweep(
        dataset,
        request.trials,
        workspace,
        device=device,
        on_bad_image=on_bad_image,
        keep_maps=keep_maps,
        compiled=compiled,
        screen=screen,
    )


def _check_box_sources(
    dataset: Dataset, request: SelectionRequest, sources: Sequence[str], workspace: Workspace
) -> None:
    pseudo_root = workspace.pseudo_boxes(request.dataset_spec)
    for source in sources:
        if source != CLS and source.removeprefix("pseudo=") not in ANNOTATORS:
            parsed = parse_source(source, dataset=dataset.name, pseudo_roots=[pseudo_root])
            if parsed.kind in ("gt", "noise") and not dataset.has_ground_truth("val"):
                raise UsageError(
                    f"Expected manual boxes of the validation images for the source '{source}' but {dataset.name} has "
                    "none; fix: leave it out, and let pseudo-boxes or class labels select."
                )


def _make_boxes(
    dataset: Dataset,
    request: SelectionRequest,
    sources: Sequence[str],
    workspace: Workspace,
    device: str,
    on_bad_image: OnBadImage,
    screen: Screen,
) -> None:
    """Lets the annotators among the sources make what they have not made yet."""
    for source in sources:
        wanted = AnnotationRequest(
            request.dataset_spec, source.removeprefix("pseudo="), workers=request.workers, classifier=request.classifier
        )
        if wanted.annotator not in ANNOTATORS or pseudo_boxes_ready(dataset, wanted, workspace):
            continue
        try:
            annotate(dataset, wanted, workspace, device=device, on_bad_image=on_bad_image, screen=screen)
        except UsageError as error:
            raise UsageError(
                f"{error} Boxes with other options, such as weights, are made by 'wsol-bench annotate --with "
                f"{wanted.annotator} --option NAME=VALUE'; this command then takes them as they are."
            ) from error


def _judge_boxes(
    dataset: Dataset,
    request: SelectionRequest,
    plan: SelectionPlan,
    outcomes: Sequence[TrialOutcome],
    workspace: Workspace,
    figures: bool,
    screen: Screen,
) -> SelectionResult:
    judged = judge_plan(dataset, plan, workspace, threads=request.workers, allow_missing=request.allow_missing)
    for judgement in judged.judgements:
        for problem in judgement.dropped:
            screen.say(f"left out: {problem}")
    result = SelectionResult(
        rows=judged.rows,
        judgements=judged.judgements,
        overstatements=judged.overstatements,
        fixed_boxes=judged.fixed_boxes,
        protocol=judged.protocol,
        sources=judged.sources,
        dataset=dataset.name,
        folder=plan.results(workspace),
        supervision=judged.supervision,
        skipped=_skipped(outcomes),
    )
    plan.write(result.folder)
    audited = audit_of(Study(dataset, plan, workspace, judged))
    write_json(result.folder / "audit.json", {"rows": [row.as_dict() for row in audited]})
    _write(result, figures)
    return result


def _allowed(sources: Sequence[str], protocol: Protocol) -> list[str]:
    """Checks the sources against the protocol and drops repetitions, keeping the order."""
    unique = list(dict.fromkeys(sources))
    for source in unique:
        kind = CLS if source == CLS else GT if source == GT or source.startswith("noise:") else "pseudo"
        if kind not in protocol.sources:
            raise UsageError(
                f"Expected sources that the protocol '{protocol.id}' allows ({', '.join(protocol.sources)}) but got "
                f"'{source}'; fix: another --protocol, or leave it out."
            )
    return unique


def _plan(
    dataset: Dataset,
    request: SelectionRequest,
    sources: Sequence[str],
    outcomes: Sequence[TrialOutcome],
    protocol: Protocol,
    scored: Scored,
) -> SelectionPlan:
    own_file = request.protocol.endswith((".yaml", ".yml"))
    return SelectionPlan(
        dataset=request.dataset_spec,
        dataset_version=dataset.version,
        protocol=protocol if own_file else request.protocol,
        sources=tuple(sources),
        scored=scored,
        replicates=request.replicates,
        sampler=request.sampler,
        runs=(*_runs(request, outcomes), *_unproposed(request, outcomes)),
    )


def _runs(request: SelectionRequest, outcomes: Sequence[TrialOutcome]) -> Iterator[PlannedRun]:
    for outcome in outcomes:
        yield PlannedRun(
            label=searched_label(outcome.trial.label, request.sampler),
            method=outcome.trial.config.method,
            trial=outcome.trial.config.trial_id,
            status=outcome.status,
            epochs=outcome.epochs,
        )


def _unproposed(request: SelectionRequest, outcomes: Sequence[TrialOutcome]) -> Iterator[PlannedRun]:
    """The configurations that a search was to try but has not come to."""
    if request.search is None:
        return
    for method in (recipe.config.method for recipe in request.trials):
        tried = sum(outcome.trial.config.method == method for outcome in outcomes)
        for index in range(tried, request.search.configs):
            label = searched_label(f"{method}/{index}", request.sampler)
            yield PlannedRun(label=label, method=method, trial=UNPROPOSED, status="missing", epochs=())


def _methods(plan: SelectionPlan) -> list[str]:
    return list(dict.fromkeys(run.method for run in plan.runs))


def _skipped(outcomes: Sequence[TrialOutcome]) -> dict[str, int]:
    """Returns how many unreadable images of each split were left out; the same for all trials of a workspace."""
    for outcome in outcomes:
        path = outcome.folder.path / "provenance.json"
        if path.is_file():
            skipped: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))["skipped_images"]
            return skipped
    return {}


def _write(result: SelectionResult, figures: bool) -> None:
    write_csv(result.folder / "rows.csv", result.rows)
    if figures:
        from wsol_bench.report.figures import epochs_figure, tau_figure

        with firewall.judging("the report of wsol-bench select"):
            for judgement in result.judgements:
                path = result.folder / f"epochs-{judgement.method}.png"
                epochs_figure(judgement, result.sources, result.protocol, path)
                result.figures.append(path)
            path = result.folder / "tau.png"
            tau_figure(result.judgements, result.sources, result.protocol, path)
            result.figures.append(path)
    write_json(result.folder / "select.json", result.as_dict())
