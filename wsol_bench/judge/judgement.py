"""The judge: every protocol question answered from records, with intervals and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsol_bench import __version__
from wsol_bench.annotations import firewall
from wsol_bench.errors import RecordError
from wsol_bench.judge.confidence import ReplicateValues
from wsol_bench.judge.fingerprints import boxes_hash, record_hash, study_hash
from wsol_bench.judge.rows import ResultRow
from wsol_bench.judge.scores import CLS, RunScores
from wsol_bench.judge.scoring import RecordedRun, Scorer, ScoringBoxes, UnreadableTestError, summary_of
from wsol_bench.judge.selection import Decision, chosen_epoch, decide_all
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES, Interval, percentile_interval
from wsol_bench.metrics.evaluator import BOX_EVALUATOR
from wsol_bench.protocol import Protocol


@dataclass(frozen=True)
class Judgement:
    """What the judge found for one method on one dataset.

    Attributes:
        method: registered name.
        runs: the recorded runs that competed, in the order of the plan.
        scores: their scores, in the same order.
        decisions: every cell that the protocol asks for.
        replicates: value of each decision in every bootstrap replicate, ``[len(decisions), R]``.
        num_images: test images.
        sources: what selected, in order.
        resampled: makes replicate values of other choices over the same images.
        box_hashes: hash of the boxes by source; ``test`` for the manual test boxes.
        absent: planned runs that have no usable record.
        unfinished: runs that competed before their training had ended.
        dropped: what was wrong with the epochs that were left out.
    """

    method: str
    runs: tuple[RecordedRun, ...]
    scores: tuple[RunScores, ...]
    decisions: tuple[Decision, ...]
    replicates: NDArray[np.float64]
    num_images: int
    sources: tuple[str, ...]
    resampled: ReplicateValues
    box_hashes: Mapping[str, str]
    absent: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def find(self, source: str, label: str, metric: str) -> tuple[Decision, NDArray[np.float64]] | None:
        """Returns the decision ``BV-VT`` (say) of a source for a metric with its replicates, or None."""
        for decision, values in zip(self.decisions, self.replicates, strict=True):
            if (decision.source, decision.label, decision.metric) == (source, label, metric):
                return decision, values
        return None

    def interval(self, index: int) -> Interval:
        """Returns the 95 % interval of a decision."""
        return percentile_interval(self.replicates[index])

    @property
    def missing(self) -> str:
        """What was left out, in a few words; empty where everything is whole."""
        counts = (
            (len(self.absent), f"{len(self.absent)} of {len(self.absent) + len(self.runs)} runs"),
            (len(self.unfinished), f"the rest of {len(self.unfinished)} runs"),
            (len(self.dropped), f"{len(self.dropped)} epochs"),
        )
        return "; ".join(text for count, text in counts if count)


def judge_method(
    method: str,
    runs: Sequence[RecordedRun],
    boxes: ScoringBoxes,
    sources: Sequence[str],
    protocol: Protocol,
    *,
    replicates: int = DEFAULT_REPLICATES,
    threads: int = 1,
    absent: Sequence[str] = (),
    unfinished: Sequence[str] = (),
    allow_missing: bool = False,
) -> Judgement:
    """Scores the runs of a method and makes every decision of the protocol.

    Args:
        method: registered name.
        runs: recorded runs.
        boxes: what to score against.
        sources: selection sources, ``cls`` and names of ``boxes.val``.
        protocol: the rules.
        replicates: bootstrap replicates behind each interval.
        threads: records that are read and scored at the same time.
        absent: labels of planned runs without records; an error unless ``allow_missing``.
        unfinished: labels of runs that have not ended; likewise.
        allow_missing: go on with what is whole; every row then says what is missing.

    Raises:
        RecordError: records are missing or damaged; all of them are named.
        UsageError: there is nothing to select from.
    """
    if (absent or unfinished) and not allow_missing:
        raise RecordError(
            f"Expected all planned runs of '{method}' to be finished but {', '.join([*absent, *unfinished])} are not; "
            "fix: the 'wsol-bench sweep' that they belong to, or --allow-missing to go on with what there is."
        )
    with firewall.judging(f"the judge of '{method}'"):
        scorer = Scorer(boxes, protocol, threads)
        dropped: list[str] = []
        scored = scorer.score(runs, dropped if allow_missing else None)
        while True:
            pairs = [(run, scores) for run, scores in zip(runs, scored, strict=True) if scores is not None]
            if runs and not pairs:
                raise RecordError(f"Expected a usable record of '{method}' but there is none: {summary_of(dropped)}")
            competing = [scores for _, scores in pairs]
            try:
                if "BT" in protocol.selections:
                    scorer.read_ahead(competing, _compared(competing, sources, protocol))
                decisions = decide_all(competing, sources, protocol)
                break
            except UnreadableTestError as error:
                if not allow_missing:
                    raise
                # As if the run had never finished that epoch: everything is decided anew.
                dropped.append(str(error))
                place = next(k for k, run in enumerate(runs) if run.folder == error.run.folder)
                kept = scored[place]
                scored[place] = None if kept is None else kept.without(error.epoch)
        resampled = ReplicateValues(boxes.test, protocol, replicates)
        usable = tuple(RecordedRun(run.label, run.folder, scores.epochs) for run, scores in pairs)
        chosen = [(decision, usable[decision.run]) for decision in decisions]
        resampled.read_ahead(chosen, threads)
        values = np.stack([resampled.of(decision, run) for decision, run in chosen])
    lost = [run.label for run, scores in zip(runs, scored, strict=True) if scores is None]
    return Judgement(
        method=method,
        runs=usable,
        scores=tuple(competing),
        decisions=tuple(decisions),
        replicates=values,
        num_images=_num_test(competing, decisions),
        sources=tuple(sources),
        resampled=resampled,
        box_hashes={name: boxes_hash(one) for name, one in boxes.val.items()} | {"test": boxes_hash(boxes.test)},
        absent=(*absent, *lost),
        unfinished=tuple(unfinished),
        dropped=tuple(dropped),
    )


def rows_of(judgement: Judgement, protocol: Protocol, dataset: str, dataset_version: str) -> list[ResultRow]:
    """Turns decisions into result rows."""
    rows = []
    study = study_hash(protocol, dataset, dataset_version, judgement.runs)
    records: dict[tuple[int, int], str] = {}
    for index, decision in enumerate(judgement.decisions):
        interval = judgement.interval(index)
        run = judgement.runs[decision.run]
        place = (decision.run, decision.epoch)
        if place not in records:
            records[place] = record_hash(run, "test", decision.epoch)
        rows.append(
            ResultRow(
                dataset=dataset,
                dataset_version=dataset_version,
                method=judgement.method,
                run=run.label,
                config_hash=run.folder.name,
                epoch=decision.epoch,
                split="test",
                protocol=protocol.label,
                evaluator=BOX_EVALUATOR,
                val_boxes=decision.source,
                selection=decision.selection,
                tau_from=decision.threshold,
                metric=decision.metric,
                iou_threshold=_iou_levels(decision, protocol),
                tau="+".join(f"{tau:.4f}" for tau in decision.taus),
                value=decision.value,
                ci_low=interval.low,
                ci_high=interval.high,
                n=judgement.num_images,
                supervision=decision.supervision,
                realistic=decision.realistic,
                configs=len(judgement.runs),
                seeds=sum(_configuration(one) == _configuration(run) for one in judgement.runs),
                missing=judgement.missing,
                study=study,
                record_hash=records[place],
                val_boxes_hash=judgement.box_hashes.get(decision.source, ""),
                test_boxes_hash=judgement.box_hashes["test"],
                note=decision.note,
                code_version=__version__,
            )
        )
    return rows


@dataclass(frozen=True)
class Overstatement:
    """How much ground truth flatters a method.

    Attributes:
        source: the pseudo-boxes of the realistic number.
        realistic: BV-VT with that source.
        usual: BT-TT with ground-truth boxes, the common practice.
        difference: ``usual - realistic`` in points.
        interval: its 95 % interval, paired over the same images.
    """

    source: str
    realistic: Decision
    usual: Decision
    difference: float
    interval: Interval


def overstatement(judgement: Judgement, source: str, protocol: Protocol) -> Overstatement | None:
    """Compares the common practice with the headline number of ``source``.

    Returns:
        None where either is missing, and for sources that are ground truth or made from it, or need no boxes.
    """
    metric = protocol.headline.metric
    realistic = judgement.find(source, f"{protocol.headline.selection}-{protocol.headline.threshold}", metric)
    usual = judgement.find("gt", "BT-TT", metric)
    if source == CLS or realistic is None or usual is None or not realistic[0].realistic:
        return None
    return Overstatement(
        source=source,
        realistic=realistic[0],
        usual=usual[0],
        difference=usual[0].value - realistic[0].value,
        interval=percentile_interval(usual[1] - realistic[1]),
    )


def _compared(runs: Sequence[RunScores], sources: Sequence[str], protocol: Protocol) -> list[tuple[int, int]]:
    """Runs and epochs, by index, whose test scores BT compares."""
    return sorted(
        {(index, chosen_epoch(run, source, protocol)) for index, run in enumerate(runs) for source in sources}
    )


def _num_test(runs: Sequence[RunScores], decisions: Sequence[Decision]) -> int:
    first = decisions[0]
    run = runs[first.run]
    return run.test[run.epochs.index(first.epoch)].n


def _configuration(run: RecordedRun) -> str:
    """The label without its seed: ``cam/3`` for ``cam/3/seed1``."""
    return run.label.partition("/seed")[0]


def _iou_levels(decision: Decision, protocol: Protocol) -> str:
    if decision.metric == "mean_iou":
        return ""
    if decision.metric == "box_acc_mean":
        return "+".join(f"{level:g}" for level in protocol.iou_thresholds)
    level = protocol.selection_iou if decision.level is None else protocol.iou_thresholds[decision.level]
    return f"{level:g}"
