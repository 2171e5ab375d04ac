"""Pixel average precision (PxAP): the area under the precision-recall curve of all pixels of a split.

Sources: Choe et al. 2020, section 4 and evaluation code; metrics spec, section 9. One pair of histograms serves the
whole split, so images weigh by their number of pixels; averages of PxAP over batches or shards mean nothing, sums of
histograms do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.annotations.masks import FOREGROUND, IGNORE
from wsol_bench.errors import DataError, UsageError
from wsol_bench.metrics.bootstrap import DEFAULT_LEVEL, Interval, check_ids, percentile_interval, poisson_weights
from wsol_bench.metrics.saved_state import State, restore

_GOOD, _BAD_SCORE, _BAD_LABEL = 0, 1, 2


@dataclass(frozen=True)
class PxApResult:
    """PxAP of a split.

    Attributes:
        px_ap: average precision in percent.
        n: number of images.
        taus: ``[T]`` thresholds.
        precision: ``[T]`` precision in percent of the pixels at or above each tau, NaN where there are none.
        recall: ``[T]`` recall in percent.
        replicates: ``[R]`` PxAP of each bootstrap replicate, NaN where it drew no foreground; None without bootstrap.
    """

    px_ap: float
    n: int
    taus: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    replicates: NDArray[np.float64] | None

    def interval(self, level: float = DEFAULT_LEVEL) -> Interval:
        """Percentile interval over images.

        Raises:
            UsageError: no replicates were drawn.
        """
        if self.replicates is None:
            raise UsageError("Expected bootstrap replicates but none were drawn; fix: score with replicates=1000.")
        return percentile_interval(self.replicates, level)


class PixelAveragePrecision:
    """Accumulates score histograms of foreground and background pixels; ignored pixels enter neither.

    Args:
        taus: ascending thresholds in [0, 1), the lower edges of the bins; the reference uses steps of 0.001. Values of
            1.0 have a bin of their own.
        replicates: bootstrap replicates over images, 0 for none.
        seed: seed of the bootstrap.

    Raises:
        UsageError: the thresholds cannot be used.
    """

    def __init__(self, taus: ArrayLike, *, replicates: int = 0, seed: int = 0) -> None:
        grid = np.atleast_1d(np.asarray(taus, dtype=np.float64))
        if grid.size == 0 or np.any(np.diff(grid) <= 0) or grid[0] != 0 or grid[-1] >= 1:
            raise UsageError("Expected ascending thresholds that start at 0 and stay below 1; fix: steps of 0.001.")
        self.taus = grid
        self.replicates = replicates
        self.seed = seed
        bins = len(grid) + 2
        self._n = 0
        self._foreground = np.zeros(bins, dtype=np.int64)
        self._background = np.zeros(bins, dtype=np.int64)
        # Float64 holds these integers exactly up to 2**53 and lets the matrix product do the work.
        self._drawn_foreground = np.zeros((replicates, bins), dtype=np.float64)
        self._drawn_background = np.zeros((replicates, bins), dtype=np.float64)

    def update(self, maps: ArrayLike, masks: ArrayLike, *, ids: Sequence[str] | None = None) -> None:
        """Adds a batch.

        Args:
            maps: ``[N, H, W]`` float scores in [0, 1].
            masks: ``[N, H, W]`` uint8: 1 object, 0 background, 255 ignore.
            ids: N image ids, needed for the bootstrap.

        Raises:
            DataError: shapes differ, a map holds NaN or values outside [0, 1], or a mask other values than these.
            UsageError: ids are missing.
        """
        self.update_histograms(score_histograms(maps, masks, self.taus), ids=ids)

    def update_histograms(self, counts: NDArray[np.int64], *, ids: Sequence[str] | None = None) -> None:
        """Adds a batch of which :func:`score_histograms` was taken before, in another thread perhaps.

        Args:
            counts: ``[N, 2, T + 2]``.
            ids: N image ids, needed for the bootstrap.

        Raises:
            UsageError: ids are missing.
        """
        if self.replicates:
            weights = poisson_weights(check_ids(ids, len(counts)), self.replicates, self.seed).T.astype(np.float64)
            self._drawn_background += weights @ counts[:, 0].astype(np.float64)
            self._drawn_foreground += weights @ counts[:, 1].astype(np.float64)
        self._background += counts[:, 0].sum(axis=0)
        self._foreground += counts[:, 1].sum(axis=0)
        self._n += len(counts)

    def merge(self, other: PixelAveragePrecision) -> None:
        """Adds the histograms of another accumulator with the same settings and no image in common.

        Raises:
            DataError: settings differ.
        """
        same_bootstrap = (self.replicates, self.seed) == (other.replicates, other.seed)
        if not np.array_equal(self.taus, other.taus) or not same_bootstrap:
            raise DataError("Expected shards scored with equal taus and bootstrap but they differ.")
        self._n += other._n
        self._foreground += other._foreground
        self._background += other._background
        self._drawn_foreground += other._drawn_foreground
        self._drawn_background += other._drawn_background

    @property
    def has_foreground(self) -> bool:
        """Whether any object pixel was seen; without one PxAP is undefined."""
        return bool(self._foreground.any())

    def compute(self) -> PxApResult:
        """Returns PxAP of the images seen so far.

        Raises:
            DataError: there is no foreground pixel in the whole split.
        """
        if not self.has_foreground:
            raise DataError(
                f"Expected object pixels in the masks but {self._n} images have none; fix: check the folder of masks."
            )
        true_positives = self._foreground[::-1].cumsum()[::-1][: len(self.taus)].astype(np.float64)
        positives = true_positives + self._background[::-1].cumsum()[::-1][: len(self.taus)]
        precision = np.full(len(self.taus), np.nan)
        np.divide(100.0 * true_positives, positives, out=precision, where=positives > 0)
        replicates = px_ap_from_histograms(self._drawn_foreground, self._drawn_background) if self.replicates else None
        return PxApResult(
            px_ap=float(px_ap_from_histograms(self._foreground, self._background)),
            n=self._n,
            taus=self.taus,
            precision=precision,
            recall=100.0 * true_positives / self._foreground.sum(),
            replicates=replicates,
        )

    def state(self) -> State:
        """Returns everything that was accumulated, as arrays for ``np.savez``; settings are not included."""
        return {
            "n": np.asarray(self._n),
            "foreground": self._foreground,
            "background": self._background,
            "drawn_foreground": self._drawn_foreground,
            "drawn_background": self._drawn_background,
        }

    def load_state(self, state: State) -> None:
        """Replaces the histograms by those of :meth:`state`, made by an accumulator with the same settings.

        Raises:
            DataError: the arrays do not fit these settings.
        """
        saved = restore(self.state(), state)
        self._n = int(saved["n"])
        self._foreground, self._background = saved["foreground"], saved["background"]
        self._drawn_foreground, self._drawn_background = saved["drawn_foreground"], saved["drawn_background"]


def score_histograms(maps: ArrayLike, masks: ArrayLike, taus: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts the pixels of each image by score; arguments and errors as in :meth:`PixelAveragePrecision.update`.

    Returns:
        ``[N, 2, T + 2]`` int64: background and foreground pixels with scores in ``[taus[b], taus[b + 1])``; the last
        two bins are ``[1, 2)`` and ``[2, 3)``.
    """
    scores, labels = np.asarray(maps), np.asarray(masks)
    if scores.ndim != 3 or scores.shape != labels.shape:
        raise DataError(
            f"Expected maps and masks of one shape [N, H, W] but got {list(scores.shape)} and {list(labels.shape)}."
        )
    if labels.dtype != np.uint8:
        raise DataError(f"Expected uint8 masks of 0, {FOREGROUND} and {IGNORE} but got {labels.dtype}.")
    if scores.dtype.kind != "f":
        raise DataError(f"Expected float maps with values in [0, 1] but got {scores.dtype}; fix: divide by 255.")
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float32 if scores.dtype == np.float16 else np.float64)
    counts = np.zeros((len(scores), 2, len(taus) + 2), dtype=np.int64)
    problem = _count_pixels(
        np.ascontiguousarray(scores).reshape(len(scores), -1),
        np.ascontiguousarray(labels).reshape(len(scores), -1),
        np.append(taus, [1.0, 2.0]),
        counts,
    )
    if problem == _BAD_SCORE:
        raise DataError("Expected maps with values in [0, 1] but got NaN or others; fix: normalise them first.")
    if problem == _BAD_LABEL:
        raise DataError(f"Expected masks of 0, {FOREGROUND} and {IGNORE} but got other values.")
    return counts


def px_ap_from_histograms(foreground: ArrayLike, background: ArrayLike) -> NDArray[np.float64]:
    """Average precision in percent from histograms of scores, bins in ascending order.

    ``100 * sum_j P_j * (R_j - R_{j-1})``, from the highest bin down; the sum starts at the second highest bin because
    the highest one (scores from 2 to 3) is empty by construction.

    Args:
        foreground: ``[..., B]`` counts of object pixels.
        background: ``[..., B]`` counts of background pixels.

    Returns:
        ``[...]`` float64, NaN where there is no object pixel.
    """
    true_positives = np.cumsum(np.asarray(foreground, dtype=np.float64)[..., ::-1], axis=-1)
    positives = true_positives + np.cumsum(np.asarray(background, dtype=np.float64)[..., ::-1], axis=-1)
    precision = np.divide(true_positives, positives, out=np.zeros_like(positives), where=positives > 0)
    total = true_positives[..., -1:]
    recall = np.divide(true_positives, total, out=np.full_like(true_positives, np.nan), where=total > 0)
    area: NDArray[np.float64] = 100.0 * (precision[..., 1:] * np.diff(recall, axis=-1)).sum(axis=-1)
    return area


@numba.njit(cache=True, nogil=True)
def _count_pixels(
    scores: NDArray[np.float64],
    labels: NDArray[np.uint8],
    lower_edges: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> int:
    """Counts pixels per image, label and bin; says what it cannot count."""
    num_taus = len(lower_edges) - 2
    for i in range(scores.shape[0]):
        for p in range(scores.shape[1]):
            label = labels[i, p]
            score = np.float64(scores[i, p])
            if not 0.0 <= score <= 1.0:
                return _BAD_SCORE
            if label == IGNORE:
                continue
            if label > FOREGROUND:
                return _BAD_LABEL
            # The grid is close to even: guess the bin, then settle rounding against the edges themselves.
            b = int(score * num_taus)
            while score < lower_edges[b]:
                b -= 1
            while b < num_taus and score >= lower_edges[b + 1]:
                b += 1
            counts[i, label, b] += 1
    return _GOOD
