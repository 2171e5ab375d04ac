"""The expected best of n equals deciding on every subset of n configurations and taking the mean."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError
from wsol_bench.judge.budget import budget_curves, budgets, selection_probabilities
from wsol_bench.judge.selection import decide


def test_curves_equal_all_subsets_decided_one_by_one(contest) -> None:
    judgements, protocol, _ = contest
    judgement = judgements[0]
    for curve in budget_curves(judgement, protocol):
        selection, _, threshold = curve.policy.partition("-")
        for n in range(1, 6):
            values = []
            for rows in combinations(range(5), n):
                with firewall.judging("test"):
                    runs = [judgement.scores[row] for row in rows]
                    values.append(decide(runs, curve.source, selection, threshold, "max_box_acc", protocol).value)
            assert curve.expected[n - 1] == pytest.approx(np.mean(values))
            assert curve.spread[n - 1] == pytest.approx(np.std(values), abs=1e-6)
        whole = judgement.find(curve.source, curve.policy, "max_box_acc")
        assert curve.expected[-1] == pytest.approx(whole[0].value)
        assert curve.spread[-1] == pytest.approx(0, abs=1e-6)


def test_probabilities_sum_to_one_and_ties_go_to_the_first() -> None:
    table = selection_probabilities([3.0, 5.0, 5.0, 1.0])
    np.testing.assert_allclose(table.sum(axis=1), 1)
    np.testing.assert_allclose(table[0], 0.25)
    np.testing.assert_allclose(table[3], [0, 1, 0, 0])
    # Of the six pairs, configuration 2 wins those without configuration 1.
    assert table[1, 2] == pytest.approx(2 / 6)
    with pytest.raises(UsageError, match="at least one"):
        selection_probabilities([])


def test_the_paper_sized_study_is_exact() -> None:
    table = selection_probabilities(np.arange(180.0))
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert table[89, 179] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("count", "shown"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (180, [1, 2, 4, 8, 16, 32, 64, 128, 180])]
)
def test_budgets_of_a_table(count: int, shown: list[int]) -> None:
    assert budgets(count) == shown
