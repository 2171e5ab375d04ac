"""Rank agreement: would another source put configurations, or whole methods, into the same order?

Source: Kendall 1945, tau-b, which counts ties on either side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.scores import CLS, GT
from wsol_bench.judge.selection import chosen_epoch, score_at, selection_level, validation_score
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES
from wsol_bench.protocol import Protocol

Oracle = Literal["gt", "test"]


@dataclass(frozen=True)
class Agreement:
    """Agreement of a source's order with the order of an oracle.

    Attributes:
        what: name of the method whose configurations are ordered, or ``methods``.
        source: whose order.
        oracle: ``gt`` (manual boxes of the validation images; for methods the usual practice BT-TT with them) or
            ``test`` (test accuracy of the same models at their best thresholds).
        n: how many are ordered.
        tau: Kendall's tau-b, 1 for the same order, -1 for the opposite; NaN where one side has ties only.
        low: lower bound of the 95 % interval; NaN where it cannot be given.
        high: upper bound.
    """

    what: str
    source: str
    oracle: Oracle
    n: int
    tau: float
    low: float
    high: float


def kendall_tau(first: ArrayLike, second: ArrayLike) -> float:
    """Returns Kendall's tau-b of two lists of scores; NaN where either has fewer than two different values.

    Raises:
        UsageError: the lists differ in length.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise UsageError(f"Expected two lists of the same length but got shapes {list(a.shape)} and {list(b.shape)}.")
    signs_a, signs_b = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
    scale = np.sqrt(np.count_nonzero(signs_a) * np.count_nonzero(signs_b))
    return float((signs_a * signs_b).sum() / scale) if scale else float("nan")


def configuration_agreement(
    judgement: Judgement, protocol: Protocol, *, replicates: int = DEFAULT_REPLICATES, seed: int = 0
) -> list[Agreement]:
    """Compares each source's order of a method's configurations with the orders of manual boxes and of the test set.

    Every run stands at the epoch that the ordering source chose in it. Intervals are a bootstrap over configurations.

    Args:
        judgement: what was judged.
        protocol: the rules.
        replicates: draws of configurations.
        seed: of the draws.
    """
    runs = judgement.scores
    level = selection_level(protocol)
    found = []
    draws = np.random.default_rng(seed).integers(0, len(runs), (replicates, len(runs)))
    with firewall.judging(f"the rank agreement of '{judgement.method}'"):
        by_gt = None
        if GT in runs[0].val:
            by_gt = [run.val_scores(GT).box_acc[chosen_epoch(run, GT, protocol), level] for run in runs]
        for source in judgement.sources:
            epochs = [chosen_epoch(run, source, protocol) for run in runs]
            own = [validation_score(run, source, protocol)[epoch] for run, epoch in zip(runs, epochs, strict=True)]
            test = [
                score_at(run, epoch, source, "TT", "max_box_acc", protocol)
                for run, epoch in zip(runs, epochs, strict=True)
            ]
            orders: list[tuple[Oracle, list[float] | None]] = [("gt", by_gt), ("test", test)]
            for oracle, other in orders:
                if other is None or (source == GT and oracle == "gt"):
                    continue
                spread = [kendall_tau(np.asarray(own)[rows], np.asarray(other)[rows]) for rows in draws]
                found.append(
                    Agreement(
                        judgement.method, source, oracle, len(runs), kendall_tau(own, other), *_bounds(np.array(spread))
                    )
                )
    return found


def method_agreement(judgements: Sequence[Judgement], protocol: Protocol) -> list[Agreement]:
    """Compares each source's order of methods with that of the usual practice.

    A source orders methods by the number that it would publish: the headline policy, ``BV-OT`` for class labels. The
    usual practice is ``BT-TT`` with manual boxes. Intervals are a paired bootstrap over test images.

    Args:
        judgements: one per method, at least two for a result.
        protocol: the rules.
    """
    if len(judgements) < 2:
        return []
    metric = protocol.headline.metric
    usual = [judgement.find(GT, "BT-TT", metric) for judgement in judgements]
    if any(cell is None for cell in usual):
        return []
    found = []
    for source in judgements[0].sources:
        label = "BV-OT" if source == CLS else f"{protocol.headline.selection}-{protocol.headline.threshold}"
        cells = [judgement.find(source, label, metric) for judgement in judgements]
        if any(cell is None for cell in cells):
            continue
        own, reference = (np.array([cell[0].value for cell in side if cell]) for side in (cells, usual))
        drawn_own, drawn_reference = (np.stack([cell[1] for cell in side if cell]) for side in (cells, usual))
        spread = np.array([kendall_tau(a, b) for a, b in zip(drawn_own.T, drawn_reference.T, strict=True)])
        found.append(Agreement("methods", source, "gt", len(judgements), kendall_tau(own, reference), *_bounds(spread)))
    return found


def _bounds(values: NDArray[np.float64]) -> tuple[float, float]:
    drawn = values[~np.isnan(values)]
    if not drawn.size:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
