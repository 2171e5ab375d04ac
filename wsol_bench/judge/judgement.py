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
from wsol_bench.judge.scores import CLS, GT, PX_AP, RunScores
from wsol_bench.judge.scoring import RecordedRun, Scorer, ScoringBoxes, summary_of
from wsol_bench.judge.selection import Decision, chosen_epoch, decide_all
from wsol_bench.judge.whole_records import decide_from_whole
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES, Interval, percentile_interval
from wsol_bench.metrics.evaluator import BOX_EVALUATOR, PX_EVALUATOR
from wsol_bench.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was decided for one method on one dataset, whether boxes or masks were scored.

    Attributes:
        method: registered name.
        runs: the recorded runs that competed, in the order of the plan.
        decisions: every cell that the protocol asks for.
        replicates: value of each decision in every bootstrap replicate, ``[len(decisions), R]``.
        num_images: test images.
        sources: what selected, in order.
        box_hashes: hash of the boxes or masks by source; ``test`` for the manual ones of the test images.
        absent: planned runs that have no usable record.
        unfinished: runs that competed before their training had ended.
        dropped: what was wrong with the epochs that were left out.
    """

    method: str
    runs: tuple[RecordedRun, ...]
    decisions: tuple[Decision, ...]
    replicates: NDArray[np.float64]
    num_images: int
    sources: tuple[str, ...]
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
        return missing_text(self.absent, self.runs, self.unfinished, self.dropped)


def missing_text(
    absent: Sequence[str], usable: Sequence[RecordedRun], unfinished: Sequence[str], dropped: Sequence[str]
) -> str:
    """Says in a few words which runs and epochs were left out; empty where everything is whole."""
    counts = (
        (len(absent), f"{len(absent)} of {len(absent) + len(usable)} runs"),
        (len(unfinished), f"the rest of {len(unfinished)} runs"),
        (len(dropped), f"{len(dropped)} epochs"),
    )
    return "; ".join(text for count, text in counts if count)


@dataclass(frozen=True, kw_only=True)
class Judgement(Decided):
    """What the judge of boxes found for one method on one dataset.

    Attributes:
        scores: scores of the runs, in their order.
        resampled: makes replicate values of other choices over the same images.
    """

    scores: tuple[RunScores, ...]
    resampled: ReplicateValues


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
    if not allow_missing:
        refuse_unfinished(method, [*absent, *unfinished])
    with firewall.judging(f"the judge of '{method}'"):
        scorer = Scorer(boxes, protocol, threads)
        dropped: list[str] = []
        scored = scorer.score(runs, dropped if allow_missing else None)

        def decide(competing: list[RunScores]) -> list[Decision]:
            if runs and not competing:
                raise RecordError(f"Expected a usable record of '{method}' but there is none: {summary_of(dropped)}")
            if "BT" in protocol.selections:
                scorer.read_ahead(competing, _compared(competing, sources, protocol))
            return decide_all(competing, sources, protocol)

        decisions = decide_from_whole(runs, scored, decide, dropped if allow_missing else None)
        pairs = [(run, scores) for run, scores in zip(runs, scored, strict=True) if scores is not None]
        competing = [scores for _, scores in pairs]
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


def refuse_unfinished(method: str, labels: Sequence[str]) -> None:
    """Refuses to judge a method of which some planned runs are missing or have not ended.

    Raises:
        RecordError: there are such runs.
    """
    if labels:
        raise RecordError(
            f"Expected all planned runs of '{method}' to be finished but {', '.join(labels)} are not; fix: "
            "the 'wsol-bench sweep' that they belong to, or --allow-missing to go on with what there is."
        )


def rows_of(judgement: Decided, protocol: Protocol, dataset: str, dataset_version: str) -> list[ResultRow]:
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
                evaluator=PX_EVALUATOR if decision.metric == PX_AP else BOX_EVALUATOR,
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
        source: what chose the realistic number.
        realistic: BV-VT with that source; BV for masks.
        usual: BT-TT with ground-truth boxes, the common practice; BT for masks.
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
    if source == CLS:
        return None
    headline = protocol.headline
    return gap_between(judgement, source, f"{headline.selection}-{headline.threshold}", "BT-TT", headline.metric)


def gap_between(judgement: Decided, source: str, policy: str, usual_policy: str, metric: str) -> Overstatement | None:
    """Compares what ground truth gives under one policy with what ``source`` gives under another.

    Returns:
        None where either is missing, or ground truth had a say in what should be realistic.
    """
    realistic = judgement.find(source, policy, metric)
    usual = judgement.find(GT, usual_policy, metric)
    if realistic is None or usual is None or not realistic[0].realistic:
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
    if decision.metric in ("mean_iou", PX_AP):
        return ""
    if decision.metric == "box_acc_mean":
        return "+".join(f"{level:g}" for level in protocol.iou_thresholds)
    level = protocol.selection_iou if decision.level is None else protocol.iou_thresholds[decision.level]
    return f"{level:g}"
