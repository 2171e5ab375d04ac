"""Paired comparisons and their correction."""

from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.judge.comparisons import compare_methods, holm


def test_holm_on_a_worked_example() -> None:
    # Sorted .005, .01, .03, .04 times 4, 3, 2, 1, never falling.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    np.testing.assert_allclose(holm([0.2]), [0.2])
    assert holm([]).shape == (0,)


def test_holm_is_between_no_correction_and_bonferroni() -> None:
    p = np.random.default_rng(0).random(50)
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, 50 * p) + 1e-12).all()
    assert (np.argsort(corrected[np.argsort(p)], kind="stable") == np.arange(50)).all()


def test_methods_are_paired_by_image(contest) -> None:
    judgements, _, _ = contest
    (one,) = compare_methods(judgements, "ss", "BV-VT", "max_box_acc")
    first, second = (judgement.find("ss", "BV-VT", "max_box_acc") for judgement in judgements)
    assert (one.first, one.second) == ("cam", "acol")
    assert one.difference == pytest.approx(first[0].value - second[0].value)
    assert one.interval.low == pytest.approx(np.quantile(first[1] - second[1], 0.025))
    assert one.p_holm == one.p_value
    assert one.significant == (one.p_value < 0.05)
    assert one.resolvable


def test_too_few_replicates_are_told(contest) -> None:
    """With 80 replicates no p-value is below 2/81, so three comparisons can never be significant after Holm."""
    judgements, _, _ = contest
    several = compare_methods([*judgements, judgements[0]], "ss", "BV-VT", "max_box_acc")
    assert len(several) == 3
    assert not any(one.resolvable for one in several)
    assert compare_methods(judgements[:1], "ss", "BV-VT", "max_box_acc") == []
    assert compare_methods(judgements, "nobody", "BV-VT", "max_box_acc") == []
