"""How a result depends on the number of configurations that were tried: the expected best of n.

If only n of the N configurations had been run, all subsets being equally likely, the one with rank r by the key of the
selection (r others are better) would have been chosen with probability ``C(N - 1 - r, n - 1) / C(N, n)``: it must be
drawn, and the r better ones must not. That is exact, without replacement; resampling with replacement understates large
n (Dodge et al. 2019 gave the estimate, Tang et al. 2020 the bias).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.scores import CLS
from wsol_bench.judge.selection import (
    chosen_epoch,
    key_metric,
    score_at,
    thresholds_of,
    validation_score,
)
from wsol_bench.protocol import Metric, Protocol, Selection, Threshold


@dataclass(frozen=True)
class BudgetCurve:
    """Expected test number of what would have been selected among n configurations.

    Attributes:
        method: registered name.
        source: what selects.
        policy: ``BV-VT`` and the like.
        metric: what is reported.
        expected: ``[N]`` percent, for n = 1..N; the last one is the row of the whole study.
        spread: ``[N]`` points, standard deviation over the subsets.
    """

    method: str
    source: str
    policy: str
    metric: str
    expected: NDArray[np.float64]
    spread: NDArray[np.float64]


def selection_probabilities(keys: ArrayLike) -> NDArray[np.float64]:
    """Returns ``[N, N]``: the probability that configuration ``c`` is chosen among ``n`` drawn ones, at ``[n - 1, c]``.

    Args:
        keys: ``[N]`` numbers by which configurations are chosen, largest first; of equal ones the first wins.

    Raises:
        UsageError: there is no configuration.
    """
    scores = np.asarray(keys, dtype=np.float64)
    count = len(scores)
    if count == 0:
        raise UsageError("Expected at least one configuration but got none.")
    order = np.argsort(-scores, kind="stable")
    table = np.zeros((count, count))
    for n in range(1, count + 1):
        subsets = math.comb(count, n)
        for rank in range(count - n + 1):
            table[n - 1, order[rank]] = math.comb(count - 1 - rank, n - 1) / subsets
    return table


def budget_curves(judgement: Judgement, protocol: Protocol, metric: Metric | None = None) -> list[BudgetCurve]:
    """Returns the curves of every source and policy of a judgement.

    Args:
        judgement: what was judged.
        protocol: the rules.
        metric: what is reported; the protocol's headline metric when None.
    """
    reported = metric or protocol.headline.metric
    curves = []
    with firewall.judging(f"the budget of '{judgement.method}'"):
        for source in judgement.sources:
            for threshold in thresholds_of(source, protocol):
                for selection in protocol.selections:
                    keys, values = _keys_and_values(judgement, source, selection, threshold, reported, protocol)
                    chosen = selection_probabilities(keys)
                    expected = chosen @ np.asarray(values)
                    second = chosen @ np.square(values)
                    curves.append(
                        BudgetCurve(
                            method=judgement.method,
                            source=source,
                            policy=f"{selection}-{threshold}",
                            metric=reported,
                            expected=expected,
                            spread=np.sqrt(np.maximum(second - expected**2, 0)),
                        )
                    )
    return curves


def budgets(count: int) -> list[int]:
    """Returns the numbers of configurations that a table shows: powers of two, and all."""
    powers = [2**k for k in range(count.bit_length()) if 2**k < count]
    return [*powers, count]


def _keys_and_values(
    judgement: Judgement, source: str, selection: Selection, threshold: Threshold, metric: Metric, protocol: Protocol
) -> tuple[list[float], list[float]]:
    """Returns what configurations are chosen by, and what each would report."""
    runs = judgement.scores
    epochs = [chosen_epoch(run, source, protocol) for run in runs]
    pairs = list(zip(runs, epochs, strict=True))
    values = [score_at(run, epoch, source, threshold, metric, protocol) for run, epoch in pairs]
    if selection == "BV":
        keys: Sequence[float] = [float(validation_score(run, source, protocol)[epoch]) for run, epoch in pairs]
    elif source == CLS and protocol.cls_bt_key == "top1":
        keys = [run.test_top1_for_selection(epoch) for run, epoch in pairs]
    else:
        policy: Threshold = threshold if protocol.reselect_per_policy or threshold == "OT" else "TT"
        by = key_metric(metric, protocol)
        keys = [score_at(run, epoch, source, policy, by, protocol) for run, epoch in pairs]
    return list(keys), values
