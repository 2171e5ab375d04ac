"""Every table of a selection, from its plan and the records: ``wsol-bench tables`` and ``wsol-bench audit``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.annotations.sources import parse_source
from wsol_bench.annotators.card import CARD, problem_with, read_card
from wsol_bench.annotators.store import has_trace, read_annotated
from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import unknown_choice
from wsol_bench.judge.agreement import configuration_agreement, method_agreement
from wsol_bench.judge.audit import AuditedRow, Provenance, audit
from wsol_bench.judge.budget import budget_curves
from wsol_bench.judge.comparisons import compare_methods
from wsol_bench.judge.noise_study import noise_levels
from wsol_bench.judge.pseudo_quality import FunnelQuality, box_quality, funnel_quality
from wsol_bench.judge.regret import regrets_of
from wsol_bench.judge.rows import ResultRow
from wsol_bench.judge.scores import CLS, GT
from wsol_bench.judge.selection import Decision, decide
from wsol_bench.report import protocol_tables as chapter
from wsol_bench.report import study_tables as beyond
from wsol_bench.report.printed_table import PrintedTable
from wsol_bench.report.searched import marked
from wsol_bench.training.trial_folder import dataset_slug
from wsol_bench.workflow.judge_plan import Judged
from wsol_bench.workflow.mask_tables import mask_table_of
from wsol_bench.workflow.selection_plan import SelectionPlan, training_accesses
from wsol_bench.workflow.workspace import Workspace


@dataclass(frozen=True)
class Study:
    """Everything that tables are made of.

    Attributes:
        dataset: whose boxes count.
        plan: what competed.
        workspace: where records and pseudo-boxes are.
        judged: what the judge concluded.
    """

    dataset: Dataset
    plan: SelectionPlan
    workspace: Workspace
    judged: Judged


def tables_of(study: Study, wanted: Sequence[str] | None = None) -> list[PrintedTable]:
    """Makes tables.

    Args:
        study: what they are made of.
        wanted: names of :data:`TABLES`; all when None.

    Raises:
        UsageError: a name is unknown.
        RecordError: a record that only this table needs is damaged.
    """
    for name in wanted or ():
        if name not in TABLES:
            raise unknown_choice("--table", name, TABLES)
    return [marked(TABLES[name](study), study.judged.protocol) for name in wanted or TABLES]


@dataclass(frozen=True)
class Figure:
    """One figure and its files.

    Attributes:
        name: of the files, without ending.
        title: what it shows, for those who cannot see it.
        files: one per format, in the order that was asked for.
    """

    name: str
    title: str
    files: tuple[Path, ...]


def figures_of(study: Study, folder: Path, suffixes: Sequence[str] = (".png",)) -> list[Figure]:
    """Draws Figs. 2.5, 4.1 and 4.2, and Fig. 4.4 where disturbed boxes selected.

    Args:
        study: what was judged.
        folder: where the files go.
        suffixes: formats, ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    from wsol_bench.report import chapter_figures as draw

    judged = study.judged
    figures: list[Figure] = []

    def made(name: str, title: str) -> tuple[Path, ...]:
        if study.plan.sampler != "plan":
            name, title = f"{name}+{study.plan.sampler}", f"{title}; {judged.protocol.label}"
        figures.append(Figure(name, title, tuple(folder / f"{name}{suffix}" for suffix in suffixes)))
        return figures[-1].files

    with firewall.judging("the figures of a selection"):
        title = "Test box accuracy over the threshold at each IoU level"
        draw.threshold_figure(judged.judgements, judged.protocol, *made("figure-2.5", title))
        title = "Classification and localization over epochs, and what each supervision reports"
        draw.conflict_figure(judged.judgements, judged.protocol, *made("figure-4.1", title))
        for judgement in judged.judgements:
            slug = dataset_slug(judgement.method)
            title = f"{judgement.method}: validation accuracy over epochs against each source"
            draw.selection_curves_figure(judgement, judged.protocol, *made(f"figure-4.2-{slug}", title))
            levels = noise_levels(judgement, dict(judged.boxes.val), judged.protocol, study.dataset.frame)
            if levels:
                title = f"{judgement.method}: what disturbed validation boxes select"
                draw.noise_figure(judgement.method, levels, *made(f"figure-4.4-{slug}", title))
    return figures


def audit_of(study: Study) -> list[AuditedRow]:
    """Audits every row of a study.

    Raises:
        RecordError: the provenance of a run is damaged.
    """
    provenance = _provenance(study)
    return [row for one in study.judged.judgements for row in audit(one, provenance, study.judged.protocol)]


def _pseudo_boxes(study: Study) -> PrintedTable:
    boxes = study.judged.boxes
    with firewall.judging("the table of validation boxes"):
        some = next(iter(boxes.val.values()), None)
        ids = () if some is None else some.ids
        truth = boxes.val[GT] if GT in boxes.val else study.dataset.ground_truth("val").select(ids)
        frame = study.dataset.frame
        quality = {name: box_quality(one, truth, frame) for name, one in boxes.val.items() if name != GT}
    return chapter.pseudo_box_table(quality, study.dataset.name)


def _funnels(study: Study) -> PrintedTable:
    roots = [study.workspace.pseudo_boxes(study.plan.dataset)]
    found: dict[str, FunnelQuality] = {}
    with firewall.judging("the table of the filter of proposals"):
        truth = study.dataset.ground_truth("val")
        for text in study.plan.sources:
            if text == CLS:
                continue
            source = parse_source(text, dataset=study.dataset.name, pseudo_roots=roots)
            folder = None if source.folder is None else source.folder / "val"
            if folder is None or not has_trace(folder) or next(read_annotated(folder)).funnel is None:
                continue
            found[source.name] = funnel_quality(read_annotated(folder), truth)
    return chapter.funnel_table(found, study.dataset.name)


def _masks(study: Study) -> PrintedTable:
    judged = study.judged
    runs = {one.method: one.runs for one in judged.judgements}
    return mask_table_of(study.dataset, runs, judged.protocol, study.plan.replicates)


def _regret(study: Study) -> PrintedTable:
    return beyond.regret_table(
        [regret for one in study.judged.judgements for regret in regrets_of(one, study.judged.protocol)]
    )


def _agreement(study: Study) -> PrintedTable:
    protocol, replicates = study.judged.protocol, study.plan.replicates
    found = [
        agreement
        for one in study.judged.judgements
        for agreement in configuration_agreement(one, protocol, replicates=replicates)
    ]
    return beyond.agreement_table([*found, *method_agreement(study.judged.judgements, protocol)])


def _comparisons(study: Study) -> PrintedTable:
    headline = study.judged.protocol.headline
    cells = [
        (source, "BV-OT" if source == CLS else f"{headline.selection}-{headline.threshold}")
        for source in study.judged.sources
    ]
    if GT in study.judged.sources:
        cells.append((GT, "BT-TT"))
    return beyond.comparison_table(
        [
            comparison
            for source, policy in dict.fromkeys(cells)
            for comparison in compare_methods(study.judged.judgements, source, policy, headline.metric)
        ]
    )


def _budget(study: Study) -> PrintedTable:
    table = beyond.budget_table(
        [curve for one in study.judged.judgements for curve in budget_curves(one, study.judged.protocol)]
    )
    if study.plan.sampler == "plan":
        return table
    return replace(table, notes=(*table.notes, "n configurations at random of those proposed, not the first n."))


def _reuse(study: Study) -> PrintedTable:
    protocol = study.judged.protocol
    both = [protocol.model_copy(update={"reselect_per_policy": again}) for again in (True, False)]
    cells: list[tuple[str, Decision, Decision]] = []
    with firewall.judging("the table of both readings of BT-VT"):
        for judgement in study.judged.judgements:
            for source in judgement.sources:
                if source == CLS or "BT" not in protocol.selections or "VT" not in protocol.thresholds:
                    continue
                for metric in protocol.metrics:
                    again, kept = (decide(judgement.scores, source, "BT", "VT", metric, rules) for rules in both)
                    cells.append((judgement.method, again, kept))
    return beyond.reuse_table(cells)


def _provenance(study: Study) -> Provenance:
    annotators = {}
    roots = [study.workspace.pseudo_boxes(study.plan.dataset)]
    for text in study.plan.sources:
        if text == CLS:
            continue
        source = parse_source(text, dataset=study.dataset.name, pseudo_roots=roots)
        folder = None if source.folder is None else source.folder / "val"
        # A card vouches for the boxes that it was written for, not for whatever lies beside it now.
        if folder is not None and (folder / CARD).is_file() and problem_with(folder) is None:
            annotators[source.name] = read_card(folder).recipe.supervision
    return Provenance(training_accesses(study.plan, study.workspace), annotators)


def _of_rows(make: Callable[[Sequence[ResultRow]], PrintedTable], study: Study) -> PrintedTable:
    return make(study.judged.rows)


TABLES: dict[str, Callable[[Study], PrintedTable]] = {
    "4.1": _pseudo_boxes,
    "4.2": partial(_of_rows, chapter.selection_table),
    "4.3": partial(_of_rows, chapter.accuracy_and_iou_table),
    "4.5": _funnels,
    "4.6": partial(_of_rows, chapter.supervision_table),
    "4.7": partial(_of_rows, chapter.iou_levels_table),
    "4.9": _masks,
    "intervals": partial(_of_rows, chapter.interval_table),
    "regret": _regret,
    "agreement": _agreement,
    "comparisons": _comparisons,
    "budget": _budget,
    "reuse": _reuse,
}
"""All tables by name; 4.7 and 4.8 are one, for whatever dataset was judged."""
