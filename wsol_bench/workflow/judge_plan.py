"""Judges recorded runs by a plan: no model runs, no torch is loaded, only records and boxes are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.sources import load_source
from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import DataError, RecordError, UsageError
from wsol_bench.judge.fixed_boxes import centre_box, fixed_box_scores, frame_box
from wsol_bench.judge.judgement import Judgement, Overstatement, judge_method, overstatement, rows_of
from wsol_bench.judge.rows import ResultRow
from wsol_bench.judge.scores import CLS
from wsol_bench.judge.scoring import RecordedRun, ScoringBoxes, summary_of
from wsol_bench.protocol import Protocol
from wsol_bench.workflow.selection_plan import SelectionPlan
from wsol_bench.workflow.workspace import Workspace


@dataclass(frozen=True)
class Judged:
    """What the judge concluded from a plan.

    Attributes:
        rows: every measured number.
        judgements: one per method.
        overstatements: by method, how much ground truth would have flattered it, one per pseudo source.
        fixed_boxes: box accuracy and mean IoU of the whole frame and of a centred box, in percent.
        protocol: the rules that were applied.
        sources: names of the sources, as rows call them.
        boxes: what was scored against.
        supervision: everything that was read, for selection and for reporting.
    """

    rows: list[ResultRow]
    judgements: list[Judgement]
    overstatements: dict[str, list[Overstatement]]
    fixed_boxes: dict[str, tuple[float, float]]
    protocol: Protocol
    sources: tuple[str, ...]
    boxes: ScoringBoxes
    supervision: str


def judge_plan(
    dataset: Dataset,
    plan: SelectionPlan,
    workspace: Workspace,
    *,
    threads: int = 1,
    allow_missing: bool = False,
) -> Judged:
    """Judges what a plan lists.

    Args:
        dataset: whose boxes count; its version must be the plan's.
        plan: runs, sources and rules.
        workspace: where records and pseudo-boxes are.
        threads: records that are read and scored at the same time.
        allow_missing: go on with what is whole; rows then say what is missing.

    Raises:
        DataError: the dataset has another version, or boxes are missing.
        RecordError: records are missing or damaged.
        UsageError: a source is not known.
    """
    if dataset.version != plan.dataset_version:
        raise DataError(
            f"Expected {dataset.name} in the version '{plan.dataset_version}' that was judged but it is "
            f"'{dataset.version}'; fix: open the dataset with the same options, or 'wsol-bench select' again."
        )
    protocol = plan.rules
    recorded, absent = _recorded(plan, workspace)
    with firewall.ledger() as book, firewall.judging("the judge of recorded runs"):
        boxes, names = _load_boxes(dataset, plan, workspace, _images([run for one in recorded.values() for run in one]))
        judgements = [
            judge_method(
                method,
                runs,
                boxes,
                names,
                protocol,
                replicates=plan.replicates,
                threads=threads,
                absent=absent[method],
                unfinished=[
                    run.label for run in plan.unfinished if run.method == method and run.label not in absent[method]
                ],
                allow_missing=allow_missing,
            )
            for method, runs in recorded.items()
        ]
        fixed = {
            name: fixed_box_scores(box, boxes.test, dataset.frame, protocol.selection_iou)
            for name, box in (("whole frame", frame_box(dataset.frame)), ("centre box", centre_box(dataset.frame)))
        }
    return Judged(
        rows=[row for one in judgements for row in rows_of(one, protocol, dataset.name, dataset.version)],
        judgements=judgements,
        overstatements={one.method: _overstatements(one, names, protocol) for one in judgements},
        fixed_boxes=fixed,
        protocol=protocol,
        sources=names,
        boxes=boxes,
        supervision=book.supervision(),
    )


def _recorded(plan: SelectionPlan, workspace: Workspace) -> tuple[dict[str, list[RecordedRun]], dict[str, list[str]]]:
    """Returns by method the runs that have epochs, and the labels of those that have none."""
    runs: dict[str, list[RecordedRun]] = {}
    absent: dict[str, list[str]] = {}
    for run in plan.runs:
        runs.setdefault(run.method, [])
        absent.setdefault(run.method, [])
        folder = plan.folder_of(run, workspace)
        if run.epochs and folder.is_dir():
            runs[run.method].append(RecordedRun(run.label, folder, run.epochs))
        else:
            absent[run.method].append(run.label)
    for method, labels in absent.items():
        if not runs[method]:
            raise RecordError(
                f"Expected records of '{method}' but none of {', '.join(labels)} has any in {workspace.root}; fix: "
                f"'wsol-bench sweep {plan.options}'."
            )
    return runs, absent


def _images(runs: Sequence[RecordedRun]) -> dict[str, tuple[str, ...]]:
    """Returns the recorded images of val and test; the judge makes sure that all runs have the same ones."""
    return {split: _first_ids(runs, split) for split in ("val", "test")}


def _first_ids(runs: Sequence[RecordedRun], split: str) -> tuple[str, ...]:
    problems = []
    for run in runs:
        for epoch in run.epochs:
            try:
                return run.record(split, epoch).ids
            except RecordError as error:
                problems.append(str(error))
    raise RecordError(summary_of(problems))


def _load_boxes(
    dataset: Dataset, plan: SelectionPlan, workspace: Workspace, ids: Mapping[str, Sequence[str]]
) -> tuple[ScoringBoxes, tuple[str, ...]]:
    """Loads validation boxes of every source and the manual test boxes; returns them with the sources' names."""
    val: dict[str, BoxSet] = {}
    keys: dict[str, str] = {}
    names: list[str] = []
    roots: list[Path] = [workspace.pseudo_boxes(plan.dataset)]
    for text in plan.sources:
        if text == CLS:
            names.append(CLS)
            continue
        loaded = load_source(dataset, "val", text, pseudo_roots=roots, ids=ids["val"])
        name = loaded.source.name
        if name in val:
            raise UsageError(f"Expected different sources but two of them are called '{name}'.")
        val[name], keys[name] = loaded.boxes, loaded.source.key
        names.append(name)
    test = dataset.ground_truth("test").select(ids["test"])
    return ScoringBoxes(val=val, keys=keys, test=test), tuple(names)


def _overstatements(judgement: Judgement, names: Sequence[str], protocol: Protocol) -> list[Overstatement]:
    gaps = (overstatement(judgement, name, protocol) for name in names)
    return [gap for gap in gaps if gap is not None]
