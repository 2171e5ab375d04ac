"""Judges recorded runs by masks and a plan: no model runs, no torch is loaded, only records and masks are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsol_bench.annotations import firewall
from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import UsageError
from wsol_bench.judge.audit import AuditedRow, Provenance, audit
from wsol_bench.judge.frame_masks import error_of, without_maps
from wsol_bench.judge.judgement import Overstatement, gap_between, rows_of
from wsol_bench.judge.mask_scoring import ScoringMasks
from wsol_bench.judge.mask_selection import MaskJudgement, judge_masks
from wsol_bench.judge.rows import ResultRow
from wsol_bench.judge.scores import PX_AP
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.protocol import Protocol
from wsol_bench.records.run_record import has_maps
from wsol_bench.workflow.judge_plan import recorded_runs
from wsol_bench.workflow.mask_sources import load_masks, parse_mask_source
from wsol_bench.workflow.mask_stats import blind_scores
from wsol_bench.workflow.selection_plan import SelectionPlan, training_accesses
from wsol_bench.workflow.workspace import Workspace


@dataclass(frozen=True)
class MaskJudged:
    """What the judge concluded from a plan by masks.

    Attributes:
        rows: every measured number.
        judgements: one per method.
        overstatements: by method, how much exact masks and the test set would have flattered it, one per source
            without ground truth.
        blind: PxAP of maps that look at no pixel, by name, in percent.
        mask_errors: ``100 (1 - AUC)`` of the validation masks by source, where there are exact ones to compare with.
        protocol: the rules that were applied.
        sources: names of the sources, as rows call them.
        makers: what the training behind each set of pseudo-masks had read.
        supervision: everything that was read, for selection and for reporting.
    """

    rows: list[ResultRow]
    judgements: list[MaskJudgement]
    overstatements: dict[str, list[Overstatement]]
    blind: dict[str, float]
    mask_errors: dict[str, float]
    protocol: Protocol
    sources: tuple[str, ...]
    makers: Mapping[str, str]
    supervision: str


def judge_mask_plan(
    dataset: Dataset,
    plan: SelectionPlan,
    workspace: Workspace,
    *,
    threads: int = 1,
    allow_missing: bool = False,
) -> MaskJudged:
    """Judges what a plan lists, by masks.

    Args:
        dataset: whose masks count; its version must be the plan's.
        plan: runs, sources and rules.
        workspace: where records are.
        threads: records that are read and scored at the same time.
        allow_missing: go on with what is whole; rows then say what is missing.

    Raises:
        DataError: the dataset has another version, or a mask is missing.
        RecordError: records are missing, damaged or without maps.
        UsageError: a source is not known.
    """
    protocol = plan.rules
    recorded = recorded_runs(dataset, plan, workspace)
    sources = [parse_mask_source(text, list(recorded.runs), workspace, plan.dataset) for text in plan.sources]
    names = tuple(source.name for source in sources)
    if len(set(names)) < len(names):
        raise UsageError(f"Expected different sources but got {', '.join(names)}.")
    if not allow_missing:
        require_maps(recorded.all_runs)
    with firewall.ledger() as book, firewall.judging("the judge of masks"):
        ids = {split: recorded.ids(split) for split in ("val", "test")}
        masks = load_masks(dataset, sources, ids, recorded.runs, protocol, allow_missing=allow_missing)
        judgements = [
            judge_masks(
                method,
                runs,
                ScoringMasks(masks.val, masks.test),
                names,
                protocol,
                replicates=plan.replicates,
                threads=threads,
                absent=recorded.absent[method],
                unfinished=recorded.unfinished[method],
                allow_missing=allow_missing,
            )
            for method, runs in recorded.runs.items()
        ]
        exact = masks.exact
        errors = {} if exact is None else {name: error_of(exact, one) for name, one in masks.val.items()}
        blind = blind_scores(masks.test.masks)
    return MaskJudged(
        rows=[row for one in judgements for row in rows_of(one, protocol, dataset.name, dataset.version)],
        judgements=judgements,
        overstatements={one.method: _overstatements(one) for one in judgements},
        blind=blind,
        mask_errors=errors,
        protocol=protocol,
        sources=names,
        makers=masks.makers,
        supervision=book.supervision(),
    )


def audit_of_masks(plan: SelectionPlan, judged: MaskJudged, workspace: Workspace) -> list[AuditedRow]:
    """Audits every row of a judgement by masks.

    Raises:
        RecordError: the provenance of a run is damaged.
    """
    provenance = Provenance(training_accesses(plan, workspace), judged.makers)
    return [row for one in judged.judgements for row in audit(one, provenance, judged.protocol)]


def require_maps(runs: Sequence[RecordedRun]) -> None:
    """Refuses runs that were recorded without maps, before anything is trained or scored; reads schemas only.

    Raises:
        RecordError: a record has none, or is damaged; the first is named. Missing ones are left to the judge.
    """
    for run in runs:
        for epoch in run.epochs:
            for split in ("val", "test"):
                path = run.path(split, epoch)
                if path.is_file() and not has_maps(path):
                    raise without_maps(path)


def _overstatements(judgement: MaskJudgement) -> list[Overstatement]:
    gaps = (gap_between(judgement, source, "BV", "BT", PX_AP) for source in judgement.sources)
    return [gap for gap in gaps if gap is not None]
