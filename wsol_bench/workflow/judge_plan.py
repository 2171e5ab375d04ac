"""Judges recorded runs by a plan: no model runs, no torch is loaded, only records and boxes are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    protocol = plan.rules
    recorded = recorded_runs(dataset, plan, workspace)
    with firewall.ledger() as book, firewall.judging("the judge of recorded runs"):
        val = validation_boxes(dataset, plan, workspace, recorded)
        test = dataset.ground_truth("test").select(recorded.ids("test"))
        boxes, names = ScoringBoxes(val=val.boxes, keys=val.keys, test=test), val.names
        judgements = [
            judge_method(
                method,
                runs,
                boxes,
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


@dataclass(frozen=True)
class RecordedPlan:
    """What of a plan has been recorded.

    Attributes:
        runs: by method, the runs that have epochs.
        absent: by method, labels of planned runs that have none.
        unfinished: by method, labels of recorded runs whose training has not come to its end.
    """

    runs: dict[str, list[RecordedRun]]
    absent: dict[str, list[str]]
    unfinished: dict[str, list[str]]

    @property
    def all_runs(self) -> list[RecordedRun]:
        """The runs of all methods."""
        return [run for runs in self.runs.values() for run in runs]

    def ids(self, split: str) -> tuple[str, ...]:
        """Returns the recorded images of a split, as :func:`recorded_ids` does."""
        return recorded_ids(self.all_runs, split)


def recorded_ids(runs: Sequence[RecordedRun], split: str) -> tuple[str, ...]:
    """Returns the recorded images of a split; the judge makes sure that all runs have the same ones.

    Raises:
        RecordError: no record can be read.
    """
    problems = []
    for run in runs:
        for epoch in run.epochs:
            try:
                return run.record(split, epoch).ids
            except RecordError as error:
                problems.append(str(error))
    raise RecordError(summary_of(problems))


def recorded_runs(dataset: Dataset, plan: SelectionPlan, workspace: Workspace) -> RecordedPlan:
    """Returns what of a plan has been recorded.

    Raises:
        DataError: the dataset has another version than the plan.
        RecordError: there is nothing of a method.
    """
    if dataset.version != plan.dataset_version:
        raise DataError(
            f"Expected {dataset.name} in the version '{plan.dataset_version}' that was judged but it is "
            f"'{dataset.version}'; fix: open the dataset with the same options, or 'wsol-bench select' again."
        )
    methods = dict.fromkeys(run.method for run in plan.runs)
    found = RecordedPlan({one: [] for one in methods}, {one: [] for one in methods}, {one: [] for one in methods})
    for run in plan.runs:
        folder = plan.folder_of(run, workspace)
        if run.epochs and folder.is_dir():
            found.runs[run.method].append(RecordedRun(run.label, folder, run.epochs))
            if run in plan.unfinished:
                found.unfinished[run.method].append(run.label)
        else:
            found.absent[run.method].append(run.label)
    for method, labels in found.absent.items():
        if not found.runs[method]:
            raise RecordError(
                f"Expected records of '{method}' but none of {', '.join(labels)} has any in {workspace.root}; fix: "
                f"'wsol-bench sweep {plan.options}'."
            )
    return found


@dataclass(frozen=True)
class ValidationBoxes:
    """What selects on the validation images.

    Attributes:
        names: of the sources, in the order of the plan, ``cls`` among them.
        boxes: by source.
        keys: what the ledger calls each source.
    """

    names: tuple[str, ...]
    boxes: dict[str, BoxSet]
    keys: dict[str, str]


def validation_boxes(
    dataset: Dataset, plan: SelectionPlan, workspace: Workspace, recorded: RecordedPlan
) -> ValidationBoxes:
    """Loads the boxes of every source of a plan.

    Raises:
        UsageError: a source is not known, or two have one name.
        DataError: an image has no box.
    """
    boxes: dict[str, BoxSet] = {}
    keys: dict[str, str] = {}
    names: list[str] = []
    ids = recorded.ids("val")
    for text in plan.sources:
        if text == CLS:
            names.append(CLS)
            continue
        loaded = load_source(dataset, "val", text, pseudo_roots=[workspace.pseudo_boxes(plan.dataset)], ids=ids)
        name = loaded.source.name
        if name in boxes:
            raise UsageError(f"Expected different sources but two of them are called '{name}'.")
        boxes[name], keys[name] = loaded.boxes, loaded.source.key
        names.append(name)
    return ValidationBoxes(tuple(names), boxes, keys)


def _overstatements(judgement: Judgement, names: Sequence[str], protocol: Protocol) -> list[Overstatement]:
    gaps = (overstatement(judgement, name, protocol) for name in names)
    return [gap for gap in gaps if gap is not None]
