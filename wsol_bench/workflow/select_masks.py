"""The part of the main job that is about masks: what may select, the judge, the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wsol_bench.atomic import write_json
from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import UsageError
from wsol_bench.judge.rows import write_csv
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.report.mask_result import MaskSelectionResult
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.workflow.judge_mask_plan import audit_of_masks, judge_mask_plan, require_maps
from wsol_bench.workflow.mask_sources import parse_mask_source
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.selection_plan import SelectionPlan
from wsol_bench.workflow.sweep import plan_status
from wsol_bench.workflow.workspace import Workspace


def check_before_training(
    dataset: Dataset,
    dataset_spec: str,
    trials: Sequence[PlannedTrial],
    sources: Sequence[str],
    workspace: Workspace,
    *,
    allow_missing: bool,
) -> None:
    """Finds what would keep the judge of masks from working, before anything is trained.

    Args:
        dataset: the dataset.
        dataset_spec: the dataset as the user named it.
        trials: the plan.
        sources: what selects, in the user's words.
        workspace: where trials are.
        allow_missing: leave records without maps to the judge, which leaves them out.

    Raises:
        UsageError: a source is unknown or gives boxes, or needs masks of val that do not exist.
        RecordError: a trial was recorded without maps.
    """
    methods = list(dict.fromkeys(trial.config.method for trial in trials))
    parsed = [parse_mask_source(source, methods, workspace, dataset_spec) for source in sources]
    exact = [source.name for source in parsed if source.needs_exact]
    if exact and not dataset.has_masks("val"):
        raise UsageError(
            f"Expected masks of val, of which {', '.join(exact)} would select, but '{dataset.name}' has none; fix: "
            "--no-reference, and --val maps:<method>."
        )
    if not allow_missing:
        outcomes = plan_status(trials, workspace)
        require_maps([RecordedRun(one.trial.label, one.folder.path, one.epochs) for one in outcomes])


def judge_by_masks(
    dataset: Dataset,
    plan: SelectionPlan,
    workspace: Workspace,
    *,
    threads: int,
    allow_missing: bool,
    skipped: Mapping[str, int],
    screen: Screen,
) -> MaskSelectionResult:
    """Judges a plan by masks and writes plan, rows, audit and conclusions beside each other.

    Args:
        dataset: whose masks count.
        plan: what competes.
        workspace: where everything lies.
        threads: records that are read and scored at the same time.
        allow_missing: go on with what is whole.
        skipped: unreadable images left out, by split.
        screen: says what was left out.

    Raises:
        DataError: a mask is missing or damaged.
        RecordError: records are missing, damaged or without maps.
    """
    judged = judge_mask_plan(dataset, plan, workspace, threads=threads, allow_missing=allow_missing)
    for judgement in judged.judgements:
        for problem in judgement.dropped:
            screen.say(f"left out: {problem}")
    result = MaskSelectionResult(
        rows=judged.rows,
        judgements=judged.judgements,
        overstatements=judged.overstatements,
        blind=judged.blind,
        mask_errors=judged.mask_errors,
        protocol=judged.protocol,
        dataset=dataset.name,
        folder=plan.results(workspace),
        supervision=judged.supervision,
        skipped=skipped,
    )
    plan.write(result.folder)
    audited = audit_of_masks(plan, judged, workspace)
    write_json(result.folder / "audit.json", {"rows": [row.as_dict() for row in audited]})
    write_csv(result.folder / "rows.csv", result.rows)
    write_json(result.folder / "select.json", result.as_dict())
    return result
