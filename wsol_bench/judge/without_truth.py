"""Selection on a dataset whose test images have no manual boxes: what each source chooses, and how far sources agree.

Epoch, configuration and threshold are chosen exactly as ``BV-VT`` chooses them (``BV-OT`` for class labels). What there
cannot be is a score: nothing here is an accuracy of localization. Agreement takes its place, of choices with sources,
of sources with each other, and of the boxes that different choices draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.errors import RecordError
from wsol_bench.judge.agreement import kendall_tau
from wsol_bench.judge.judgement import missing_text, refuse_unfinished
from wsol_bench.judge.scores import CLS, RunScores
from wsol_bench.judge.scoring import RecordedRun, Scorer, ScoringBoxes, UnreadableTestError, different_runs, summary_of
from wsol_bench.judge.selection import chosen_epoch, selection_level, validation_score
from wsol_bench.judge.whole_records import decide_from_whole
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.thresholds import cuts_of_taus
from wsol_bench.metrics.bootstrap import (
    Interval,
    percentile_interval,
    poisson_weights,
    replicate_sums,
    replicates_at_fixed_tau,
)
from wsol_bench.metrics.curve_iou import curves_of_boxes, iou_of_curves
from wsol_bench.metrics.iou import best_iou, box_iou
from wsol_bench.protocol import Protocol
from wsol_bench.records.run_record import RunRecord


@dataclass(frozen=True)
class Overlap:
    """How far two sets of boxes of the same images agree.

    Attributes:
        n: images.
        share: images whose boxes overlap by at least the protocol's selection IoU, percent.
        interval: 95 % bootstrap interval of ``share`` over the images.
        mean_iou: mean IoU of the two boxes, percent.
    """

    n: int
    share: float
    interval: Interval
    mean_iou: float


@dataclass(frozen=True)
class SourcePair:
    """Two sources on the validation images.

    Attributes:
        first: name of one source.
        second: name of the other.
        overlap: of their boxes.
        kendall: by method, Kendall's tau of their orders of the configurations; NaN where one of them ranks nothing.
    """

    first: str
    second: str
    overlap: Overlap
    kendall: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Choice:
    """What one source chose of a method.

    Attributes:
        source: ``cls`` or a set of boxes.
        run: the chosen run.
        epoch: its chosen epoch.
        tau: the threshold, in [0, 1); None for Otsu's in each image.
        val_top1: classification accuracy of the chosen epoch on the validation images, percent.
        test_top1: the same on the test images.
        overlaps: by source, agreement of the boxes that the choice draws on the validation images with the source's.
        ids: the N test images.
        labels: ``[N]`` their classes.
        boxes: ``[N, 4]`` int16, the box that the choice draws in each, in the frame.
        frame: side of the frame in pixels.
        supervision: annotations that the choice read, from the ledger; ``none`` for class labels only.
    """

    source: str
    run: RecordedRun
    epoch: int
    tau: float | None
    val_top1: float
    test_top1: float
    overlaps: Mapping[str, Overlap]
    ids: tuple[str, ...]
    labels: NDArray[np.int16]
    boxes: NDArray[np.int16]
    frame: int
    supervision: str


@dataclass(frozen=True)
class UntestedMethod:
    """What the sources chose of one method.

    Attributes:
        method: registered name.
        runs: labels of the runs that competed.
        choices: one per source, in the order of the sources.
        orders: by source, the validation score of every run at the epoch that the source chose in it.
        dropped: what was wrong with epochs that were left out.
        missing: everything that was left out, in a few words; or empty.
    """

    method: str
    runs: tuple[str, ...]
    choices: tuple[Choice, ...]
    orders: Mapping[str, NDArray[np.float64]]
    dropped: tuple[str, ...]
    missing: str


@dataclass(frozen=True)
class ChoicePair:
    """Two choices of a method on the test images.

    Attributes:
        method: registered name.
        first: the source of one choice.
        second: the source of the other.
        overlap: of the boxes that they draw.
        same_model: whether they are one network, which two thresholds may still cut differently.
    """

    method: str
    first: str
    second: str
    overlap: Overlap
    same_model: bool


def choose_untested(
    method: str,
    runs: Sequence[RecordedRun],
    val: Mapping[str, BoxSet],
    keys: Mapping[str, str],
    sources: Sequence[str],
    protocol: Protocol,
    *,
    replicates: int,
    threads: int = 1,
    absent: Sequence[str] = (),
    unfinished: Sequence[str] = (),
    allow_missing: bool = False,
) -> UntestedMethod:
    """Lets every source choose epoch, configuration and threshold of a method.

    Args:
        method: registered name.
        runs: recorded runs.
        val: boxes of the validation images by source.
        keys: what the ledger calls each source.
        sources: ``cls`` and names of ``val``.
        protocol: the rules.
        replicates: bootstrap replicates behind each interval.
        threads: records that are read at the same time.
        absent: labels of planned runs without records; an error unless ``allow_missing``.
        unfinished: labels of runs that have not ended; likewise.
        allow_missing: go on with what is whole, and say what is missing.

    Raises:
        RecordError: records are missing or damaged.
    """
    if not allow_missing:
        refuse_unfinished(method, [*absent, *unfinished])
    dropped: list[str] = []
    by_label = {run.label: run for run in runs}
    nothing = BoxSet.from_mapping({}, {})
    with firewall.judging(f"the judge of '{method}'"):
        scored = Scorer(ScoringBoxes(val, keys, nothing), protocol, threads).score(
            runs, dropped if allow_missing else None
        )

        def decide(competing: list[RunScores]) -> list[tuple[Choice, NDArray[np.float64]]]:
            if not competing:
                raise RecordError(f"Expected a usable record of '{method}' but there is none: {summary_of(dropped)}")
            return [_choose(by_label, competing, source, val, protocol, replicates) for source in sources]

        decided = decide_from_whole(runs, scored, decide, dropped if allow_missing else None)
    choices = [choice for choice, _ in decided]
    for choice in choices:
        if choice.ids != choices[0].ids:
            raise different_runs(choice.run, choices[0].run, "test")
    usable = [run for run, scores in zip(runs, scored, strict=True) if scores is not None]
    lost = [run.label for run, scores in zip(runs, scored, strict=True) if scores is None]
    return UntestedMethod(
        method=method,
        runs=tuple(run.label for run in usable),
        choices=tuple(choices),
        orders={choice.source: order for choice, order in decided},
        dropped=tuple(dropped),
        missing=missing_text([*absent, *lost], usable, unfinished, dropped),
    )


def pairs_of_sources(
    val: Mapping[str, BoxSet], found: Sequence[UntestedMethod], protocol: Protocol, frame: int, replicates: int
) -> list[SourcePair]:
    """Compares every two sources: their boxes, and their orders of the configurations of each method."""
    pairs = []
    for first, second in combinations(val, 2):
        ious = _ious_of_sets(val[first], val[second].select(val[first].ids), frame)
        overlap = _overlap(ious, val[first].ids, protocol, replicates)
        kendall = {one.method: kendall_tau(one.orders[first], one.orders[second]) for one in found}
        pairs.append(SourcePair(first, second, overlap, kendall))
    return pairs


def pairs_of_choices(found: Sequence[UntestedMethod], protocol: Protocol, replicates: int) -> list[ChoicePair]:
    """Compares the boxes that every two choices of a method draw on the test images."""
    pairs = []
    for one in found:
        for first, second in combinations(one.choices, 2):
            overlap = _overlap(box_iou(first.boxes, second.boxes), first.ids, protocol, replicates)
            same = (first.run.folder, first.epoch) == (second.run.folder, second.epoch)
            pairs.append(ChoicePair(one.method, first.source, second.source, overlap, same))
    return pairs


def _choose(
    runs: Mapping[str, RecordedRun],
    scored: Sequence[RunScores],
    source: str,
    val: Mapping[str, BoxSet],
    protocol: Protocol,
    replicates: int,
) -> tuple[Choice, NDArray[np.float64]]:
    """Returns the choice, and the validation score of every run at its chosen epoch."""
    with firewall.ledger() as book:
        epochs = [chosen_epoch(run, source, protocol) for run in scored]
        order = np.array([validation_score(run, source, protocol)[e] for run, e in zip(scored, epochs, strict=True)])
        chosen = int(np.argmax(order))
        scores, place = scored[chosen], epochs[chosen]
        tau = None if source == CLS else _frozen_tau(scores, source, place, protocol)
    run, epoch = runs[scores.label], scores.epochs[place]
    seen = run.record("val", epoch)
    try:
        unseen = run.record("test", epoch)
    except RecordError as error:
        raise UnreadableTestError(run, epoch, str(error)) from error
    drawn = curves_of_boxes(_boxes_at(seen, tau))
    choice = Choice(
        source=source,
        run=run,
        epoch=epoch,
        tau=tau,
        val_top1=100.0 * float(np.mean(seen.top1_hits)),
        test_top1=100.0 * float(np.mean(unseen.top1_hits)),
        overlaps={
            name: _overlap(
                _ious(drawn, boxes.select(seen.ids), seen.frame),
                seen.ids,
                protocol,
                replicates,
            )
            for name, boxes in val.items()
        },
        ids=unseen.ids,
        labels=unseen.labels,
        boxes=_boxes_at(unseen, tau),
        frame=unseen.frame,
        supervision=book.supervision(),
    )
    return choice, order


def _frozen_tau(run: RunScores, source: str, epoch: int, protocol: Protocol) -> float:
    best = run.val_scores(source).box_acc_tau[epoch, selection_level(protocol)]
    return float(run.taus[run.test_tau_index(int(best))])


def _boxes_at(record: RunRecord, tau: float | None) -> NDArray[np.int16]:
    """The box of each image, ``[N, 4]``: at a threshold, or at Otsu's."""
    if tau is None:
        return record.otsu_boxes
    return record.curves.boxes_at(cuts_of_taus([tau], record.curves.max_levels).astype(np.int64))[:, 0]


def _ious(drawn: BoxCurves, targets: BoxSet, frame: int) -> NDArray[np.float64]:
    """``[N]``: the best IoU of the one box of each image with any target of it."""
    return iou_of_curves(drawn, targets.in_frame(frame, frame), targets.offsets).ious


def _ious_of_sets(first: BoxSet, second: BoxSet, frame: int) -> NDArray[np.float64]:
    """``[N]``: the best IoU of any box of an image in one set with any of it in the other."""
    boxes, others = first.in_frame(frame, frame), second.in_frame(frame, frame)
    ends, other_ends = first.offsets, second.offsets
    return np.array(
        [
            best_iou(boxes[ends[i] : ends[i + 1]], others[other_ends[i] : other_ends[i + 1]]).max()
            for i in range(len(first))
        ]
    )


def _overlap(ious: NDArray[np.float64], ids: Sequence[str], protocol: Protocol, replicates: int) -> Overlap:
    hits = ious >= protocol.selection_iou
    weights = poisson_weights(ids, replicates)
    drawn = replicates_at_fixed_tau(replicate_sums(hits[:, None], weights), weights.sum(axis=0, dtype=np.int64), 0)
    return Overlap(len(ious), 100.0 * float(hits.mean()), percentile_interval(drawn), 100.0 * float(ious.mean()))
