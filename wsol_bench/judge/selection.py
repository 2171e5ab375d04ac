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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError
from wsol_bench.judge.scores import CLS, AccuracyCurves, RunScores
from wsol_bench.protocol import Metric, Protocol, Selection, Threshold


@dataclass(frozen=True)
class Decision:
    """One cell of a results table and how it came about.

    Attributes:
        source: ``cls``, ``gt`` or the name of a pseudo-box set.
        selection: how the configuration was picked.
        threshold: where tau comes from.
        metric: what ``value`` is.
        run: index of the chosen run.
        epoch: its chosen epoch.
        taus: one per IoU level that enters the metric (one for ``mean_iou``); empty for Otsu.
        value: percent, on the test split against manual boxes.
        supervision: annotations that the choice read, from the ledger; ``none`` for class labels only.
        note: a remark that a reader must see, or an empty string.
    """

    source: str
    selection: Selection
    threshold: Threshold
    metric: Metric
    run: int
    epoch: int
    taus: tuple[float, ...]
    value: float
    supervision: str
    note: str = ""

    @property
    def label(self) -> str:
        """``BV-VT`` and the like."""
        return f"{self.selection}-{self.threshold}"

    @property
    def realistic(self) -> bool:
        """Whether no ground truth, of val or test, had a say in the choice."""
        return not any(key.startswith(("gt", "labels:test")) for key in self.supervision.split("+"))


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
            for threshold in _thresholds_of(source, protocol):
                decisions += [
                    decide(runs, source, selection, threshold, metric, protocol) for selection in protocol.selections
                ]
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
    levels = _levels(metric, protocol)
    with firewall.ledger() as book:
        epochs = [_first_best_epoch(run, source, protocol) for run in runs]
        if selection == "BV":
            keys = [validation_score(run, source, protocol)[epoch] for run, epoch in zip(runs, epochs, strict=True)]
        elif source == CLS:
            keys = [run.test_top1_for_selection()[epoch] for run, epoch in zip(runs, epochs, strict=True)]
        else:
            policy: Threshold = threshold if protocol.reselect_per_policy else "TT"
            keys = []
            for run, epoch in zip(runs, epochs, strict=True):
                taus = _tau_indices(run, source, policy, epoch, metric, levels)
                keys.append(_test_value(run.test_curves(), epoch, metric, taus, levels))
        chosen = int(np.argmax(keys))
        run, epoch = runs[chosen], epochs[chosen]
        taus = _tau_indices(run, source, threshold, epoch, metric, levels)
    curves = run.otsu if threshold == "OT" else run.test
    return Decision(
        source=source,
        selection=selection,
        threshold=threshold,
        metric=metric,
        run=chosen,
        epoch=run.epochs[epoch],
        taus=() if threshold == "OT" else tuple(float(run.taus[index]) for index in taus),
        value=_test_value(curves, epoch, metric, taus, levels),
        supervision=book.supervision(),
        note=_note(runs, source, book),
    )


def validation_score(run: RunScores, source: str, protocol: Protocol) -> NDArray[np.float64]:
    """Returns ``[E]``, percent: what ``source`` picks an epoch by, top-1 or the best box accuracy over tau."""
    if source == CLS:
        return run.val_top1
    level = protocol.iou_thresholds.index(protocol.selection_iou)
    best: NDArray[np.float64] = run.val_curves(source).box_acc[:, level].max(axis=1)
    return best


def _thresholds_of(source: str, protocol: Protocol) -> list[Threshold]:
    # Class labels give no validation threshold; Otsu is the 'class labels only' reading and stands beside TT.
    wanted = ("OT", "TT") if source == CLS else ("TT", "VT")
    return [threshold for threshold in protocol.thresholds if threshold in wanted]


def _levels(metric: Metric, protocol: Protocol) -> list[int]:
    """Indices of the IoU thresholds that enter a metric; mean IoU has none and gets a placeholder."""
    if metric == "box_acc_mean":
        return list(range(len(protocol.iou_thresholds)))
    return [protocol.iou_thresholds.index(protocol.selection_iou)]


def _first_best_epoch(run: RunScores, source: str, protocol: Protocol) -> int:
    score = validation_score(run, source, protocol)
    if not protocol.epoch_zero_eligible and len(score) > 1 and run.epochs[0] == 0:
        return int(np.argmax(score[1:])) + 1
    return int(np.argmax(score))


def _tau_indices(
    run: RunScores, source: str, threshold: Threshold, epoch: int, metric: Metric, levels: Sequence[int]
) -> list[int]:
    """First best threshold for each level, from the boxes that the policy allows; Otsu curves have one entry."""
    if threshold == "OT":
        return [0 for _ in levels]
    curves = run.test_curves() if threshold == "TT" else run.val_curves(source)
    if metric == "mean_iou":
        return [int(np.argmax(curves.mean_iou[epoch]))]
    # Top-1 localization keeps the threshold of the box accuracy: a localiser has one threshold.
    return [int(np.argmax(curves.box_acc[epoch, level])) for level in levels]


def _test_value(
    curves: AccuracyCurves,
    epoch: int,
    metric: Metric,
    taus: Sequence[int],
    levels: Sequence[int],
) -> float:
    if metric == "mean_iou":
        return float(curves.mean_iou[epoch, taus[0]])
    table = curves.top1_loc if metric == "top1_loc" else curves.box_acc
    return float(np.mean([table[epoch, level, tau] for level, tau in zip(levels, taus, strict=True)]))


def _note(runs: Sequence[RunScores], source: str, book: firewall.Ledger) -> str:
    if source == CLS and all(len(run.val_top1) > 1 and np.ptp(run.val_top1) == 0 for run in runs):
        return "undefined: classification does not change over the epochs"
    if any(access.source.startswith("folder:") for access in book.accesses):
        return "nobody vouches for the origin of these boxes"
    return ""


def _check_order(decisions: Sequence[Decision], protocol: Protocol) -> None:
    """Asserts what must hold between cells (protocol spec, section 8): a violation is a bug, not a finding."""
    order = _ORDER if protocol.reselect_per_policy else _ORDER_OF_ONE_CONFIGURATION
    values = {(d.source, d.metric, d.label): d.value for d in decisions}
    for source, metric, label in values:
        if source == CLS or metric == "top1_loc":
            continue
        for higher, lower in order:
            if label == higher and (source, metric, lower) in values:
                gap = values[source, metric, higher] - values[source, metric, lower]
                if gap < -1e-9:
                    raise AssertionError(f"{source} {metric}: {higher} is {-gap:.6f} below {lower}; this is a bug.")


_ORDER_OF_ONE_CONFIGURATION = (("BT-TT", "BT-VT"), ("BT-TT", "BV-TT"), ("BV-TT", "BV-VT"))
_ORDER = (*_ORDER_OF_ONE_CONFIGURATION, ("BT-VT", "BV-VT"))
