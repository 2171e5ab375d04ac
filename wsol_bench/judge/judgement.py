"""The judge: every protocol question answered from records, with intervals and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsol_bench import __version__
from wsol_bench.annotations import firewall
from wsol_bench.judge.confidence import ReplicateValues
from wsol_bench.judge.rows import ResultRow
from wsol_bench.judge.scores import CLS, RunScores
from wsol_bench.judge.scoring import RecordedRun, ScoringBoxes, score_run
from wsol_bench.judge.selection import Decision, decide_all
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES, Interval, percentile_interval
from wsol_bench.metrics.evaluator import BOX_EVALUATOR
from wsol_bench.protocol import Protocol


@dataclass(frozen=True)
class Judgement:
    """What the judge found for one method on one dataset.

    Attributes:
        method: registered name.
        runs: the recorded runs, in the order of the plan.
        scores: their scores, in the same order.
        decisions: every cell that the protocol asks for.
        replicates: value of each decision in every bootstrap replicate, ``[len(decisions), R]``.
        num_images: test images.
    """

    method: str
    runs: tuple[RecordedRun, ...]
    scores: tuple[RunScores, ...]
    decisions: tuple[Decision, ...]
    replicates: NDArray[np.float64]
    num_images: int

    def find(self, source: str, label: str, metric: str) -> tuple[Decision, NDArray[np.float64]] | None:
        """Returns the decision ``BV-VT`` (say) of a source for a metric with its replicates, or None."""
        for decision, values in zip(self.decisions, self.replicates, strict=True):
            if (decision.source, decision.label, decision.metric) == (source, label, metric):
                return decision, values
        return None

    def interval(self, index: int) -> Interval:
        """Returns the 95 % interval of a decision."""
        return percentile_interval(self.replicates[index])


def judge_method(
    method: str,
    runs: Sequence[RecordedRun],
    boxes: ScoringBoxes,
    sources: Sequence[str],
    protocol: Protocol,
    *,
    replicates: int = DEFAULT_REPLICATES,
) -> Judgement:
    """Scores the runs of a method and makes every decision of the protocol.

    Args:
        method: registered name.
        runs: finished runs.
        boxes: what to score against.
        sources: selection sources, ``cls`` and names of ``boxes.val``.
        protocol: the rules.
        replicates: bootstrap replicates behind each interval.

    Raises:
        RecordError: records are missing or damaged.
        UsageError: there is nothing to select from.
    """
    with firewall.judging(f"the judge of '{method}'"):
        scores = tuple(score_run(run, boxes, protocol) for run in runs)
        decisions = tuple(decide_all(scores, sources, protocol))
        resampled = ReplicateValues(boxes.test, protocol, replicates)
        values = np.stack([resampled.of(decision, runs[decision.run]) for decision in decisions])
    return Judgement(method, tuple(runs), scores, decisions, values, scores[0].num_test)


def rows_of(judgement: Judgement, protocol: Protocol, dataset: str, dataset_version: str) -> list[ResultRow]:
    """Turns decisions into result rows."""
    rows = []
    for index, decision in enumerate(judgement.decisions):
        interval = judgement.interval(index)
        run = judgement.runs[decision.run]
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


def _iou_levels(decision: Decision, protocol: Protocol) -> str:
    if decision.metric == "mean_iou":
        return ""
    if decision.metric == "box_acc_mean":
        return "+".join(f"{level:g}" for level in protocol.iou_thresholds)
    return f"{protocol.selection_iou:g}"
