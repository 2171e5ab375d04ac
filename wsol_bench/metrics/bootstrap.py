"""Confidence intervals over images by a Poisson bootstrap that streams, merges and pairs.

The classic bootstrap draws N images with replacement; an image then appears about Poisson(1) times. Here each image
draws that number independently, as a pure function of its id, the replicate and the seed. The weights therefore do not
depend on the order of images or on how they were split over machines, so shards add up exactly, and two methods scored
on the same ids see the same replicates: their difference is a paired bootstrap without further work.

Sources: Efron and Tibshirani 1993, chapter 13 (percentile interval); Chamandy et al. 2012 (Poisson bootstrap for
streams). Threshold policies follow the realistic protocol: with TT the best tau is part of the estimate and is chosen
again inside every replicate; with VT the frozen tau stays fixed.

The interval of a maximum over tau inherits the optimism of the maximum: replicates choose the tau that suits them, so
the interval leans upwards on small splits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import DataError, UsageError

DEFAULT_REPLICATES = 1000
DEFAULT_LEVEL = 0.95

_LARGEST_WEIGHT = 20
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes:
        low: lower bound.
        high: upper bound.
        level: nominal coverage, 0.95 for a 95 % interval.
        replicates: how many replicates it rests on; those in which no image was drawn are left out.
    """

    low: float
    high: float
    level: float
    replicates: int


@dataclass(frozen=True)
class PairedDifference:
    """The difference of two methods on the same images.

    Attributes:
        difference: value of the first method minus value of the second, on the images themselves.
        interval: percentile interval of that difference.
        p_value: two-sided: twice the smaller share of replicates on either side of zero, at most 1.
    """

    difference: float
    interval: Interval
    p_value: float


def image_keys(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Returns one 64-bit key per image id (BLAKE2b), the same on every machine; ``[N]`` uint64."""
    digests = b"".join(hashlib.blake2b(image_id.encode(), digest_size=8).digest() for image_id in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def poisson_weights(ids: Sequence[str], replicates: int = DEFAULT_REPLICATES, seed: int = 0) -> NDArray[np.uint8]:
    """Returns how often each image appears in each replicate, ``[N, R]`` uint8, Poisson distributed with mean 1.

    Args:
        ids: N image ids; an entry depends on its own id only.
        replicates: R.
        seed: another seed gives other replicates.

    Raises:
        UsageError: ``replicates`` is not positive.
    """
    if replicates < 1:
        raise UsageError(f"Expected at least 1 bootstrap replicate but got {replicates}; fix: 1000 is customary.")
    weights = np.empty((len(ids), replicates), dtype=np.uint8)
    _fill_weights(image_keys(ids), np.uint64(seed % 2**64), _CUMULATIVE, weights)
    return weights


def check_ids(ids: Sequence[str] | None, count: int) -> Sequence[str]:
    """Returns ``ids`` after checking that there is one for each of ``count`` images.

    Raises:
        UsageError: there are none, or too many or too few.
    """
    if ids is None or len(ids) != count:
        got = "none" if ids is None else len(ids)
        raise UsageError(f"Expected {count} image ids for the bootstrap but got {got}; fix: pass ids with each update.")
    return ids


def replicate_sums(values: ArrayLike, weights: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the weighted sums of per-image values in each replicate.

    Args:
        values: ``[N, T]`` values per image and threshold (hits as 0/1, or IoU), or ``[N]``.
        weights: ``[N, R]`` of :func:`poisson_weights`.

    Returns:
        ``[T, R]`` float64, or ``[R]``. Sums of shards may be added.
    """
    matrix = np.asarray(values, dtype=np.float64)
    sums: NDArray[np.float64] = matrix.T @ weights.astype(np.float64)
    return sums


def replicates_at_best_tau(sums: NDArray[np.generic], totals: NDArray[np.generic]) -> NDArray[np.float64]:
    """Percentages in each replicate, each at its own best tau (policy TT).

    Args:
        sums: ``[T, R]`` weighted sums per threshold.
        totals: ``[R]`` sums of weights.

    Returns:
        ``[R]`` float64 in percent, NaN where a replicate drew no image.
    """
    return _percent(sums.max(axis=0), totals)


def replicates_at_fixed_tau(
    sums: NDArray[np.generic], totals: NDArray[np.generic], tau_index: int
) -> NDArray[np.float64]:
    """Percentages in each replicate at one frozen threshold (policies VT and OT); arguments as above."""
    return _percent(sums[tau_index], totals)


def interval_at_best_tau(
    sums: NDArray[np.generic], totals: NDArray[np.generic], level: float = DEFAULT_LEVEL
) -> Interval:
    """Interval of a maximum over tau, taken again inside every replicate; arguments as above."""
    return percentile_interval(replicates_at_best_tau(sums, totals), level)


def interval_at_fixed_tau(
    sums: NDArray[np.generic], totals: NDArray[np.generic], tau_index: int, level: float = DEFAULT_LEVEL
) -> Interval:
    """Interval of the value at one frozen threshold; arguments as above."""
    return percentile_interval(replicates_at_fixed_tau(sums, totals, tau_index), level)


def percentile_interval(values: ArrayLike, level: float = DEFAULT_LEVEL) -> Interval:
    """Returns the central percentile interval of replicate values; NaN (empty replicates) is left out.

    Raises:
        UsageError: ``level`` is not inside (0, 1).
        DataError: no replicate drew any image.
    """
    if not 0 < level < 1:
        raise UsageError(f"Expected a confidence level inside (0, 1) but got {level}; fix: 0.95 stands for 95 %.")
    drawn = np.asarray(values, dtype=np.float64)
    drawn = drawn[~np.isnan(drawn)]
    if drawn.size == 0:
        raise DataError("Expected at least one image in at least one bootstrap replicate but got none.")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, int(drawn.size))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    first_estimate: float,
    second_estimate: float,
    level: float = DEFAULT_LEVEL,
) -> PairedDifference:
    """Compares two methods that were scored on the same ids with the same seed.

    Args:
        first: ``[R]`` replicate values of the first method, from one of the ``replicates_at_*`` functions.
        second: ``[R]`` replicate values of the second method.
        first_estimate: value of the first method on the images themselves.
        second_estimate: value of the second method.
        level: nominal coverage of the interval.

    Raises:
        DataError: the two do not have the same replicates, or no replicate drew any image.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        raise DataError(
            "Expected two methods with the same bootstrap replicates but they differ; fix: score both on the same "
            "image ids, with the same seed and number of replicates."
        )
    differences = (a - b)[~np.isnan(a)]
    interval = percentile_interval(differences, level)
    # The observed sample counts as one more replicate, so that p is never exactly zero.
    below = (1 + np.count_nonzero(differences <= 0)) / (1 + differences.size)
    above = (1 + np.count_nonzero(differences >= 0)) / (1 + differences.size)
    return PairedDifference(first_estimate - second_estimate, interval, float(min(1.0, 2 * min(below, above))))


def _percent(sums: NDArray[np.generic], totals: NDArray[np.generic]) -> NDArray[np.float64]:
    weights = np.asarray(totals, dtype=np.float64)
    if weights.size == 0:
        raise DataError("Expected bootstrap replicates but got none; fix: score with replicates > 0.")
    values = np.full(weights.shape, np.nan)
    np.divide(100.0 * np.asarray(sums, dtype=np.float64), weights, out=values, where=weights > 0)
    return values


def _cumulative_poisson() -> NDArray[np.uint64]:
    total, scaled = 0.0, []
    for k in range(_LARGEST_WEIGHT):
        total += math.exp(-1.0) / math.factorial(k)
        scaled.append(min(int(total * 2**64), 2**64 - 1))
    return np.asarray(scaled, dtype=np.uint64)


_CUMULATIVE = _cumulative_poisson()


@numba.njit(cache=True, nogil=True, inline="always")
def _mix(value: np.uint64) -> np.uint64:
    """Finaliser of SplitMix64 (Steele et al. 2014): turns a counter into 64 random bits."""
    value = (value ^ (value >> np.uint64(30))) * _MULTIPLIER_1
    value = (value ^ (value >> np.uint64(27))) * _MULTIPLIER_2
    return value ^ (value >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _fill_weights(
    keys: NDArray[np.uint64], seed: np.uint64, cumulative: NDArray[np.uint64], weights: NDArray[np.uint8]
) -> None:
    salt = _mix(seed + _INCREMENT)
    for i in range(weights.shape[0]):
        state = _mix(keys[i] ^ salt)
        for r in range(weights.shape[1]):
            state += _INCREMENT
            drawn = _mix(state)
            count = 0
            while count < len(cumulative) and drawn >= cumulative[count]:
                count += 1
            weights[i, r] = count
