"""Rank agreement equals scipy's, and says so where a source would order methods otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from wsol_bench.errors import UsageError
from wsol_bench.judge.agreement import configuration_agreement, kendall_tau, method_agreement


def test_tau_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 5, 40):
        for values in (10, 3):
            a, b = rng.integers(0, values, n), rng.integers(0, values, n)
            expected = kendalltau(a, b).statistic
            assert kendall_tau(a, b) == pytest.approx(expected, nan_ok=True)


def test_tau_of_ties_only_is_undefined() -> None:
    assert np.isnan(kendall_tau([1, 1, 1], [1, 2, 3]))
    assert np.isnan(kendall_tau([1], [1]))
    with pytest.raises(UsageError, match="same length"):
        kendall_tau([1, 2], [1])


def test_configurations(contest) -> None:
    judgements, protocol, _ = contest
    found = {(one.source, one.oracle): one for one in configuration_agreement(judgements[0], protocol, replicates=50)}
    assert set(found) == {
        ("cls", "gt"), ("cls", "test"), ("gt", "test"), ("ss", "gt"), ("ss", "test"), ("mine", "gt"), ("mine", "test"),
    }  # fmt: skip
    runs = judgements[0].scores
    ss, gt = ([run.val[name].box_acc[:, 1].max() for run in runs] for name in ("ss", "gt"))
    assert found["ss", "gt"].tau == pytest.approx(kendalltau(ss, gt).statistic)
    for one in found.values():
        assert one.n == 5
        assert -1 <= one.low <= one.high <= 1


def test_methods(contest) -> None:
    judgements, protocol, _ = contest
    found = {one.source: one for one in method_agreement(judgements, protocol)}
    assert set(found) == {"cls", "gt", "ss", "mine"}
    for source, one in found.items():
        label = "BV-OT" if source == "cls" else "BV-VT"
        own = [judgement.find(source, label, "max_box_acc")[0].value for judgement in judgements]
        usual = [judgement.find("gt", "BT-TT", "max_box_acc")[0].value for judgement in judgements]
        assert one.tau == pytest.approx(kendalltau(own, usual).statistic, nan_ok=True)
    assert method_agreement(judgements[:1], protocol) == []
