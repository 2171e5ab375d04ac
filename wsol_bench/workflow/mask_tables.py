"""Table 4.9 of a study, and what the other tables say of a study by masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsol_bench.annotations import firewall
from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.judge.frame_masks import EROSION_LEVELS, FrameMasks, error_of, masks_of_maps
from wsol_bench.judge.mask_scoring import ScoringMasks
from wsol_bench.judge.mask_selection import chosen_by_labels, judge_masks
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.protocol import Protocol
from wsol_bench.records.run_record import has_maps
from wsol_bench.report.printed_table import PrintedTable
from wsol_bench.report.protocol_tables import mask_table
from wsol_bench.report.searched import marked
from wsol_bench.workflow.judge_mask_plan import MaskJudged
from wsol_bench.workflow.judge_plan import recorded_ids
from wsol_bench.workflow.mask_sources import drawn_eroded, drawn_exact
from wsol_bench.workflow.selection_plan import SelectionPlan
from wsol_bench.workflow.workspace import Workspace

TABLE = "4.9"


@dataclass(frozen=True)
class MaskStudy:
    """A study by masks: everything that its table and its audit are made of.

    Attributes:
        dataset: whose masks count.
        plan: what competed.
        workspace: where records are.
        judged: what the judge concluded.
    """

    dataset: Dataset
    plan: SelectionPlan
    workspace: Workspace
    judged: MaskJudged


def tables_of_masks(study: MaskStudy, known: Sequence[str], wanted: Sequence[str] | None = None) -> list[PrintedTable]:
    """Makes Table 4.9.

    Args:
        study: what it is made of.
        known: names of all tables.
        wanted: what was asked for; None for all that masks can fill.

    Raises:
        UsageError: another table was asked for: those are about boxes.
        RecordError: a record is damaged.
    """
    for name in wanted or ():
        if name not in known:
            raise unknown_choice("--table", name, known)
        if name != TABLE:
            raise only_boxes(f"Table {name}", study)
    judged = study.judged
    runs = {one.method: one.runs for one in judged.judgements}
    return [marked(mask_table_of(study.dataset, runs, judged.protocol, study.plan.replicates), judged.protocol)]


def only_boxes(what: str, study: MaskStudy) -> UsageError:
    """Returns the error for something that a selection by masks does not have."""
    return UsageError(
        f"Expected a selection by boxes for {what} but the latest one on '{study.plan.dataset}' is by masks; fix: "
        f"'wsol-bench tables' (Table {TABLE}) and 'wsol-bench audit', or select by boxes if the dataset has any."
    )


def mask_table_of(
    dataset: Dataset, runs: Mapping[str, Sequence[RecordedRun]], protocol: Protocol, replicates: int
) -> PrintedTable:
    """Makes Table 4.9: exact masks, ten levels of erosion, and the maps of each method as pseudo-masks.

    Args:
        dataset: needs masks of val and test.
        runs: by method; those that kept no maps are left out.
        protocol: selections and eligible epochs.
        replicates: bootstrap replicates behind each interval.

    Raises:
        RecordError: a record is damaged.
    """
    if not (dataset.has_masks("val") and dataset.has_masks("test")):
        return mask_table([], {}, dataset.name, [f"{dataset.name} has no masks of val and test."])
    kept = {method: several for method, several in runs.items() if all(map(_keeps_maps, several))}
    if not kept:
        return mask_table([], {}, dataset.name, ["The runs kept no maps; 'wsol-bench sweep --keep-maps' does."])
    with firewall.judging("the table of masks"):
        every = [run for several in kept.values() for run in several]
        ids = {split: recorded_ids(every, split) for split in ("val", "test")}
        exact, test = (drawn_exact(dataset, split, ids[split]) for split in ("val", "test"))
        eroded = drawn_eroded(dataset, ids["val"], EROSION_LEVELS)
        val: dict[str, FrameMasks] = {"exact": exact}
        val |= {f"eroded {level} %": masks for level, masks in zip(EROSION_LEVELS, eroded, strict=True)}
        for method, several in kept.items():
            origin = chosen_by_labels(several, protocol)
            val[f"maps of {method}"] = masks_of_maps(origin, method, dataset.background_classes)
        judgements = [
            judge_masks(method, several, ScoringMasks(val, test), list(val), protocol, replicates=replicates)
            for method, several in kept.items()
        ]
        errors = {name: error_of(exact, masks) for name, masks in val.items()}
    left_out = [f"{method} is left out: its runs kept no maps." for method in runs if method not in kept]
    return mask_table(judgements, errors, dataset.name, left_out)


def _keeps_maps(run: RecordedRun) -> bool:
    return all(has_maps(run.path("val", epoch)) for epoch in run.epochs)
