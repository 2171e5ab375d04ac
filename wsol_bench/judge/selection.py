"""The three decisions of the realistic protocol: epoch, configuration, threshold.

Rules (thesis, chapter 4; ambiguities as decided in ``protocols/realistic.yaml``):

* the epoch of a run is the first that maximises its validation score, never chosen on test;
* ``BV`` picks the configuration by that same validation score, ``BT`` by the test number about to be reported
  (for ``cls``: by test classification);
* ``TT`` takes the best threshold of the test set, ``VT`` freezes the best one of the validation set against the same
  boxes, ``OT`` is Otsu per image. Each IoU level has its own threshold. Ties: the first epoch, threshold,
  configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError
from wsol_bench.judge.scores import CLS, AccuracyCurves, RunScores
from wsol_bench.protocol import Metric, Protocol, Selection, TauFrom, Threshold, policy_label


@dataclass(frozen=True)
class Decision:
    """One cell of a results table and how it came about.

    Attributes:
        source: ``cls``, ``gt`` or the name of a set of pseudo-boxes or masks.
        selection: how the configuration was picked.
        threshold: where tau comes from; ``none`` for ``px_ap``.
        metric: what ``value`` is: a metric of the protocol, one part of ``box_acc_mean`` (``box_acc_30``), ``px_ap``.
        run: index of the chosen run.
        epoch: its chosen epoch.
        taus: one per IoU level that enters the metric (one for ``mean_iou``); empty for Otsu and ``px_ap``.
        value: percent, on the test split against manual boxes or masks.
        supervision: annotations that the choice read, from the ledger; ``none`` for class labels only.
        note: a remark that a reader must see, or an empty string.
        parts: percent, the values whose mean ``value`` is, one per IoU level.
        accesses: the ledger's entries behind ``supervision``.
        level: index of the IoU level of a part of ``box_acc_mean``, else None.
    """

    source: str
    selection: Selection
    threshold: TauFrom
    metric: str
    run: int
    epoch: int
    taus: tuple[float, ...]
    value: float
    supervision: str
    note: str = ""
    parts: tuple[float, ...] = ()
    accesses: tuple[firewall.Access, ...] = ()
    level: int | None = None

    @property
    def label(self) -> str:
        """``BV-VT`` and the like; ``BV`` where there is no threshold."""
        return policy_label(self.selection, self.threshold)

    @property
    def realistic(self) -> bool:
        """Whether no ground truth, of val or test, had a say in the choice."""
        return not reads_ground_truth(self.supervision)


def condensed(accesses: Iterable[firewall.Access]) -> tuple[firewall.Access, ...]:
    """Returns one access per source, split and reader: the first of its kind, with the number of readings."""
    first: dict[tuple[str, str, str], firewall.Access] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for access in accesses:
        key = (access.source, access.split, access.reader)
        first.setdefault(key, access)
        counts[key] += access.count
    return tuple(replace(access, count=counts[key]) for key, access in first.items())


def reads_ground_truth(supervision: str) -> bool:
    """Tells whether a ledger's summary (``gt:test+pseudo:ss``) holds manual boxes or labels of the test split."""
    return any(key.partition(":")[0] == "gt" or key == "labels:test" for key in supervision.split("+"))


def decide_all(runs: Sequence[RunScores], sources: Iterable[str], protocol: Protocol) -> list[Decision]:
    """Returns every decision that the protocol asks for, for runs of one method on one dataset.

    Args:
        runs: at least one run; all scored on the same tau grid.
        sources: selection sources, ``cls`` among them if wanted.
        protocol: what to report.

    Raises:
        UsageError: there is no run, or a run lacks a source.
    """
    if not runs:
        raise UsageError(
            "Expected at least one finished run to select from but there is none; fix: 'wsol-bench sweep'."
        )
    decisions = []
    for source in sources:
        for metric in protocol.metrics:
            for threshold in thresholds_of(source, protocol):
                for selection in protocol.selections:
                    one = decide(runs, source, selection, threshold, metric, protocol)
                    decisions += [one, *parts_of(one, protocol)]
    _check_order(decisions, protocol)
    return decisions


def decide(
    runs: Sequence[RunScores],
    source: str,
    selection: Selection,
    threshold: Threshold,
    metric: Metric,
    protocol: Protocol,
) -> Decision:
    """Makes the three decisions for one cell; only what they read is noted as its supervision."""
    with firewall.ledger() as book:
        epochs = [chosen_epoch(run, source, protocol) for run in runs]
        if selection == "BV":
            keys = [validation_score(run, source, protocol)[epoch] for run, epoch in zip(runs, epochs, strict=True)]
        else:
            keys = [
                _test_key(run, epoch, source, threshold, metric, protocol)
                for run, epoch in zip(runs, epochs, strict=True)
            ]
        chosen = int(np.argmax(keys))
        cell = cell_of(runs, chosen, epochs[chosen], source, threshold, metric, protocol)
    return replace(
        cell,
        selection=selection,
        supervision=book.supervision(),
        note=_note(runs, source, book) or cell.note,
        accesses=condensed(book.accesses),
    )


def cell_of(
    runs: Sequence[RunScores],
    chosen: int,
    epoch: int,
    source: str,
    threshold: Threshold,
    metric: Metric,
    protocol: Protocol,
) -> Decision:
    """Returns the cell of a choice that was made already, by whatever means; its provenance is left empty.

    Args:
        runs: the runs that compete.
        chosen: index of the chosen one.
        epoch: index of its chosen epoch.
        source: whose boxes freeze the threshold, where it is frozen.
        threshold: where tau comes from.
        metric: what to report.
        protocol: the rules.
    """
    run = runs[chosen]
    taus = _tau_indices(run, source, threshold, epoch, metric, protocol)
    parts = _values(run.test[epoch].otsu if threshold == "OT" else run.test[epoch].curves, metric, taus, protocol)
    return Decision(
        source=source,
        selection="BV",
        threshold=threshold,
        metric=metric,
        run=chosen,
        epoch=run.epochs[epoch],
        taus=() if threshold == "OT" else tuple(float(run.taus[index]) for index in taus),
        value=float(np.mean(parts)),
        supervision="",
        note=_tau_loss(run, epoch, threshold, metric, parts, protocol),
        parts=tuple(parts),
    )


def parts_of(decision: Decision, protocol: Protocol) -> list[Decision]:
    """Takes ``box_acc_mean`` apart: the same model at each IoU level, as Tables 4.7 and 4.8 print it."""
    if decision.metric != "box_acc_mean":
        return []
    return [
        replace(
            decision,
            metric=part_name(iou),
            taus=decision.taus[level : level + 1],
            value=decision.parts[level],
            parts=decision.parts[level : level + 1],
            level=level,
        )
        for level, iou in enumerate(protocol.iou_thresholds)
    ]


def part_name(iou_threshold: float) -> str:
    """Returns the metric of one IoU level: ``box_acc_30``."""
    return f"box_acc_{100 * iou_threshold:g}"


def validation_score(run: RunScores, source: str, protocol: Protocol) -> NDArray[np.float64]:
    """Returns ``[E]``, percent: what ``source`` picks an epoch by, top-1 or the best box accuracy over tau."""
    if source == CLS:
        return run.val_top1
    return run.val_scores(source).box_acc[:, selection_level(protocol)]


def chosen_epoch(run: RunScores, source: str, protocol: Protocol) -> int:
    """Returns the index of the first epoch with the best validation score among those that are eligible."""
    return first_best(validation_score(run, source, protocol), run.epochs, protocol)


def first_best(scores: NDArray[np.float64], epochs: Sequence[int], protocol: Protocol) -> int:
    """Returns the index of the first maximum, leaving epoch 0 out where the protocol does."""
    start = int(not protocol.epoch_zero_eligible and len(scores) > 1 and epochs[0] == 0)
    return start + int(np.argmax(scores[start:]))


def score_at(run: RunScores, epoch: int, source: str, threshold: Threshold, metric: str, protocol: Protocol) -> float:
    """Returns the test number, in percent, of a run at one epoch (by index) under a threshold policy.

    Reading it is noted in the ledger: use it where the number chooses something or explains a choice.
    """
    taus = _tau_indices(run, source, threshold, epoch, metric, protocol)
    curves = run.otsu_curves(epoch) if threshold == "OT" else run.test_curves(epoch)
    return float(np.mean(_values(curves, metric, taus, protocol)))


def selection_level(protocol: Protocol) -> int:
    """Index of the IoU level by which epochs and configurations are selected."""
    return protocol.iou_thresholds.index(protocol.selection_iou)


def thresholds_of(source: str, protocol: Protocol) -> list[Threshold]:
    """Returns the threshold policies that a source is reported with."""
    # Class labels give no validation threshold; Otsu is the 'class labels only' reading and stands beside TT.
    wanted: Sequence[str] = protocol.cls_thresholds if source == CLS else ("TT", "VT")
    return [threshold for threshold in protocol.thresholds if threshold in wanted]


def key_metric(metric: str, protocol: Protocol) -> str:
    """Returns the test number by which ``BT`` picks the configuration for ``metric``."""
    if protocol.bt_key == "selection" or (metric == "mean_iou" and protocol.mean_iou_model == "max_box_acc"):
        return "max_box_acc"
    return metric


def _test_key(run: RunScores, epoch: int, source: str, threshold: Threshold, metric: str, protocol: Protocol) -> float:
    if source == CLS and protocol.cls_bt_key == "top1":
        return run.test_top1_for_selection(epoch)
    policy: Threshold = threshold if protocol.reselect_per_policy or threshold == "OT" else "TT"
    return score_at(run, epoch, source, policy, key_metric(metric, protocol), protocol)


def _levels(metric: str, protocol: Protocol) -> list[int]:
    """Indices of the IoU thresholds that enter a metric; mean IoU has none and gets a placeholder."""
    return list(range(len(protocol.iou_thresholds))) if metric == "box_acc_mean" else [selection_level(protocol)]


def _tau_indices(
    run: RunScores, source: str, threshold: Threshold, epoch: int, metric: str, protocol: Protocol
) -> list[int]:
    """First best threshold for each level, from the boxes that the policy allows; Otsu curves have one entry."""
    levels = _levels(metric, protocol)
    if threshold == "OT":
        return [0 for _ in levels]
    # Top-1 localization keeps the threshold of the box accuracy: a localiser has one threshold.
    from_levels = [selection_level(protocol) for _ in levels] if protocol.tau_per_iou == "shared" else levels
    if threshold == "TT":
        curves = run.test_curves(epoch)
        if metric == "mean_iou":
            return [int(np.argmax(curves.mean_iou))]
        return [int(np.argmax(curves.box_acc[level])) for level in from_levels]
    scores = run.val_scores(source)
    if metric == "mean_iou":
        return [run.test_tau_index(int(scores.mean_iou_tau[epoch]))]
    return [run.test_tau_index(int(scores.box_acc_tau[epoch, level])) for level in from_levels]


def _values(curves: AccuracyCurves, metric: str, taus: Sequence[int], protocol: Protocol) -> list[float]:
    """Returns the values that enter a metric, one per IoU level."""
    if metric == "mean_iou":
        return [float(curves.mean_iou[taus[0]])]
    table = curves.top1_loc if metric == "top1_loc" else curves.box_acc
    return [float(table[level, tau]) for level, tau in zip(_levels(metric, protocol), taus, strict=True)]


def _note(runs: Sequence[RunScores], source: str, book: firewall.Ledger) -> str:
    if source == CLS and all(len(run.val_top1) > 1 and np.ptp(run.val_top1) == 0 for run in runs):
        return "undefined: classification does not change over the epochs"
    if any(access.source.startswith("folder:") for access in book.accesses):
        return "nobody vouches for the origin of these boxes"
    return ""


def _tau_loss(
    run: RunScores, epoch: int, threshold: Threshold, metric: str, parts: Sequence[float], protocol: Protocol
) -> str:
    """Says so where a frozen threshold fails on the test set; the remark explains and chooses nothing."""
    if threshold != "VT" or metric == "top1_loc":
        return ""
    curves = run.test[epoch].curves
    best = curves.mean_iou.max() if metric == "mean_iou" else curves.box_acc[_levels(metric, protocol)].max(axis=1)
    loss = float(np.mean(best) - np.mean(parts))
    if loss <= protocol.flag_tau_loss:
        return ""
    return f"the frozen threshold loses {loss:.1f} points against the best one of the test set"


def _check_order(decisions: Sequence[Decision], protocol: Protocol) -> None:
    """Asserts what must hold between cells (protocol spec, section 8): a violation is a bug, not a finding."""
    values = {(d.source, d.metric, d.label): d.value for d in decisions}
    for decision in decisions:
        _check_levels(decision, protocol)
        if decision.source == CLS or decision.metric == "top1_loc":
            continue
        if protocol.tau_per_iou == "shared" and decision.metric not in ("max_box_acc", "mean_iou"):
            continue
        # The configuration that is best by another number need not be the best by this one.
        if decision.level is not None or key_metric(decision.metric, protocol) != decision.metric:
            order: Sequence[tuple[str, str]] = _ORDER_OF_ONE_MODEL
        else:
            order = _ORDER if protocol.reselect_per_policy else _ORDER_OF_ONE_CONFIGURATION
        for higher, lower in order:
            if decision.label == higher and (decision.source, decision.metric, lower) in values:
                gap = decision.value - values[decision.source, decision.metric, lower]
                if gap < -1e-9:
                    raise AssertionError(
                        f"{decision.source} {decision.metric}: {higher} is {-gap:.6f} below {lower}; this is a bug."
                    )


def _check_levels(decision: Decision, protocol: Protocol) -> None:
    own = protocol.tau_per_iou == "own" and decision.threshold == "TT"
    if decision.metric == "box_acc_mean" and own and np.any(np.diff(decision.parts) > 1e-9):
        raise AssertionError(f"{decision.source}: accuracy rises with the IoU level {decision.parts}; this is a bug.")


_ORDER_OF_ONE_MODEL = (("BV-TT", "BV-VT"),)
_ORDER_OF_ONE_CONFIGURATION = (("BT-TT", "BT-VT"), ("BT-TT", "BV-TT"), *_ORDER_OF_ONE_MODEL)
_ORDER = (*_ORDER_OF_ONE_CONFIGURATION, ("BT-VT", "BV-VT"))
