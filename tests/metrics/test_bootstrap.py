from __future__ import annotations

import math

import numpy as np
import pytest

from wsol_bench.errors import DataError, UsageError
from wsol_bench.metrics.bootstrap import (
    image_keys,
    interval_at_best_tau,
    interval_at_fixed_tau,
    paired_difference,
    percentile_interval,
    poisson_weights,
    replicate_sums,
    replicates_at_best_tau,
    replicates_at_fixed_tau,
)


def ids(count: int, prefix: str = "val/image") -> list[str]:
    return [f"{prefix}_{i:05d}.jpg" for i in range(count)]


def totals(weights: np.ndarray) -> np.ndarray:
    return weights.sum(axis=0, dtype=np.int64)


def test_weights_are_poisson_with_mean_one():
    weights = poisson_weights(ids(2000), 500, seed=7)
    counts = np.bincount(weights.ravel(), minlength=9)[:9] / weights.size
    expected = [math.exp(-1) / math.factorial(k) for k in range(9)]
    np.testing.assert_allclose(counts[:6], expected[:6], rtol=0.02)
    assert weights.var() == pytest.approx(1, rel=0.01)


def test_weights_are_independent_between_images_replicates_and_seeds():
    weights = poisson_weights(ids(400), 400).astype(float)
    noise = 1 / math.sqrt(weights.size)
    between_images = np.mean((weights[1:] - 1) * (weights[:-1] - 1))
    between_replicates = np.mean((weights[:, 1:] - 1) * (weights[:, :-1] - 1))
    between_seeds = np.mean((weights - 1) * (poisson_weights(ids(400), 400, seed=1) - 1.0))
    for correlation in (between_images, between_replicates, between_seeds):
        assert abs(correlation) < 5 * noise


def test_weights_depend_on_the_id_only():
    names = ids(50)
    weights = poisson_weights(names, 20, seed=3)
    shuffled = [names[i] for i in (17, 3, 42)]
    np.testing.assert_array_equal(poisson_weights(shuffled, 20, seed=3), weights[[17, 3, 42]])
    np.testing.assert_array_equal(poisson_weights(names, 8, seed=3), weights[:, :8])


def test_weights_never_change_between_versions():
    assert image_keys(["a/b.jpg"]).tolist() == [12595617411906399591]
    assert poisson_weights(["a/b.jpg", "c.jpg"], 8, seed=0).tolist() == [
        [0, 0, 3, 0, 0, 1, 1, 1],
        [1, 0, 1, 0, 0, 3, 1, 1],
    ]


def test_shards_add_up():
    rng = np.random.default_rng(0)
    hits, names = rng.random((60, 11)) < 0.4, ids(60)
    weights = poisson_weights(names, 30)
    parts = sum(replicate_sums(hits[rows], poisson_weights(names[rows], 30)) for rows in (slice(25, 60), slice(0, 25)))
    np.testing.assert_array_equal(replicate_sums(hits, weights), parts)


def test_best_tau_is_chosen_inside_each_replicate():
    hits = np.array([[1, 0], [0, 1], [0, 1]])
    weights = np.array([[2, 1], [1, 0], [0, 3]], np.uint8)
    sums = replicate_sums(hits, weights)
    np.testing.assert_allclose(replicates_at_best_tau(sums, totals(weights)), [200 / 3, 75])
    np.testing.assert_allclose(replicates_at_fixed_tau(sums, totals(weights), 1), [100 / 3, 75])


def multinomial_interval(hits: np.ndarray, replicates: int, tau: int | None) -> tuple[float, float]:
    rng = np.random.default_rng(123)
    values = []
    for _ in range(replicates):
        drawn = hits[rng.integers(0, len(hits), len(hits))].mean(axis=0)
        values.append(100 * (drawn.max() if tau is None else drawn[tau]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("tau", [None, 20])
def test_agrees_with_resampling_images(tau: int | None):
    rng = np.random.default_rng(5)
    centre = rng.normal(20, 8, (600, 1))
    hits = np.abs(np.arange(40) - centre) < 9
    weights = poisson_weights(ids(600), 4000)
    sums = replicate_sums(hits, weights)
    interval = (
        interval_at_best_tau(sums, totals(weights))
        if tau is None
        else interval_at_fixed_tau(sums, totals(weights), tau)
    )
    # Both ends are quantiles of 4,000 replicates; their Monte-Carlo error is about 0.1 points here.
    np.testing.assert_allclose([interval.low, interval.high], multinomial_interval(hits, 4000, tau), atol=0.5)


@pytest.mark.slow
def test_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(11)
    covered = 0
    for trial in range(400):
        hits = rng.random((300, 1)) < 0.7
        weights = poisson_weights(ids(300, prefix=f"trial{trial}"), 500)
        interval = interval_at_fixed_tau(replicate_sums(hits, weights), totals(weights), 0)
        covered += interval.low <= 70 <= interval.high
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.slow
def test_paired_difference_is_right_about_equal_methods_most_of_the_time():
    rng = np.random.default_rng(12)
    rejected = 0
    for trial in range(300):
        difficulty = rng.random((200, 1))
        first, second = (difficulty + rng.normal(0, 0.3, (200, 1)) < 0.6 for _ in range(2))
        weights = poisson_weights(ids(200, prefix=f"trial{trial}"), 400)
        values = [
            replicates_at_fixed_tau(replicate_sums(hits, weights), totals(weights), 0) for hits in (first, second)
        ]
        result = paired_difference(*values, 100 * first.mean(), 100 * second.mean())
        rejected += result.p_value < 0.05
    assert rejected / 300 < 0.1


def test_pairing_sees_what_separate_intervals_hide():
    rng = np.random.default_rng(0)
    worse = rng.random((500, 1)) < 0.6
    better = worse.copy()
    better[np.flatnonzero(~worse)[:15]] = True
    weights = poisson_weights(ids(500), 1000)
    values = [replicates_at_fixed_tau(replicate_sums(hits, weights), totals(weights), 0) for hits in (better, worse)]
    result = paired_difference(*values, 100 * better.mean(), 100 * worse.mean())
    assert result.difference == pytest.approx(3)
    assert 0 < result.interval.low < 3 < result.interval.high
    assert result.p_value < 0.01
    separate = [percentile_interval(value) for value in values]
    assert separate[0].low < separate[1].high


def test_a_method_does_not_differ_from_itself():
    weights = poisson_weights(ids(30), 100)
    values = replicates_at_fixed_tau(replicate_sums(np.ones((30, 1)), weights), totals(weights), 0)
    result = paired_difference(values, values, 100, 100)
    assert (result.difference, result.interval.low, result.interval.high, result.p_value) == (0, 0, 0, 1)


def test_replicates_without_images_are_dropped():
    weights = poisson_weights(["only.jpg"], 1000)
    interval = interval_at_fixed_tau(replicate_sums([[1.0]], weights), totals(weights), 0)
    assert (interval.low, interval.high) == (100, 100)
    assert interval.replicates == np.count_nonzero(weights)
    assert 550 < interval.replicates < 710


def test_degenerate_cases_are_errors():
    with pytest.raises(DataError, match="at least one image"):
        percentile_interval([np.nan, np.nan])
    with pytest.raises(DataError, match="at least one image"):
        interval_at_fixed_tau(np.zeros((1, 5)), np.zeros(5), 0)
    with pytest.raises(UsageError, match="replicate"):
        poisson_weights(["a"], 0)
    with pytest.raises(UsageError, match=r"0\.95 stands for"):
        percentile_interval([1.0], level=95)
    with pytest.raises(DataError, match="same image ids"):
        paired_difference([1.0, 2.0], [1.0], 1, 1)
    with pytest.raises(DataError, match="replicates > 0"):
        replicates_at_best_tau(np.zeros((3, 0)), np.zeros(0))
