"""Which methods differ: paired comparisons over the same test images, corrected for their number.

Source: Holm 1979 (step-down correction); the paired Poisson bootstrap of :mod:`wsol_bench.metrics.bootstrap`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.judge.judgement import Judgement
from wsol_bench.metrics.bootstrap import Interval, paired_difference

SIGNIFICANT = 0.05
"""Corrected p-value below which two methods count as different."""


@dataclass(frozen=True)
class Comparison:
    """Two methods under the same source and policy.

    Attributes:
        source: what selected.
        policy: ``BV-VT`` and the like.
        metric: what is compared.
        first: one method.
        second: the other.
        difference: points by which ``first`` is better.
        interval: its 95 % interval, not corrected.
        p_value: two-sided bootstrap p-value of no difference.
        p_holm: the same corrected for all comparisons of this source, policy and metric.
        resolvable: whether the number of replicates allows a corrected p-value below 5 % at all.
    """

    source: str
    policy: str
    metric: str
    first: str
    second: str
    difference: float
    interval: Interval
    p_value: float
    p_holm: float
    resolvable: bool

    @property
    def significant(self) -> bool:
        """Whether the two differ after the correction."""
        return self.p_holm < SIGNIFICANT


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Returns Holm's corrected p-values ``[m]``: family-wise error at most alpha if those below alpha are rejected.

    Args:
        p_values: ``[m]``, in any order.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def compare_methods(judgements: Sequence[Judgement], source: str, policy: str, metric: str) -> list[Comparison]:
    """Compares every pair of methods that have the cell.

    Args:
        judgements: one per method, over the same test images.
        source: what selected.
        policy: ``BV-VT`` and the like.
        metric: what is compared.

    Returns:
        One comparison per pair, in the order of the methods; empty with fewer than two.
    """
    cells = [(judgement.method, judgement.find(source, policy, metric)) for judgement in judgements]
    known = [(method, cell) for method, cell in cells if cell is not None]
    pairs = list(itertools.combinations(known, 2))
    if not pairs:
        return []
    differences = [paired_difference(a[1], b[1], a[0].value, b[0].value) for (_, a), (_, b) in pairs]
    corrected = holm([one.p_value for one in differences])
    smallest = 2 / (1 + differences[0].interval.replicates)
    return [
        Comparison(
            source=source,
            policy=policy,
            metric=metric,
            first=first,
            second=second,
            difference=one.difference,
            interval=one.interval,
            p_value=one.p_value,
            p_holm=float(p),
            resolvable=smallest * len(pairs) < SIGNIFICANT,
        )
        for ((first, _), (second, _)), one, p in zip(pairs, differences, corrected, strict=True)
    ]
