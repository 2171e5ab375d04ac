"""What box accuracy amounts to: curves over tau, maxima and their thresholds, values at frozen taus, intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import UsageError
from wsol_bench.metrics.bootstrap import (
    DEFAULT_LEVEL,
    Interval,
    percentile_interval,
    replicates_at_best_tau,
    replicates_at_fixed_tau,
)
from wsol_bench.metrics.curve_counts import IOU_UNIT


@dataclass(frozen=True)
class Replicates:
    """Weighted counts of R bootstrap replicates; for the other letters see :class:`BoxAccuracyResult`.

    Attributes:
        totals: ``[R]`` int64, images drawn.
        hits: ``[G, D, T, R]`` int64.
        iou_sums: ``[T, R]`` int64 in units of ``1 / IOU_UNIT``.
    """

    totals: NDArray[np.int64]
    hits: NDArray[np.int64]
    iou_sums: NDArray[np.int64]


@dataclass(frozen=True)
class TopKLoc:
    """Top-k localization per IoU threshold, in percent.

    Attributes:
        best: ``[D]`` maximum over tau, each with its own tau (as the reference evaluator reports it).
        best_tau: ``[D]`` that tau.
        at_max_box_acc_tau: ``[D]`` value at the tau of MaxBoxAcc: a localizer has one threshold.
        curve: ``[D, T]`` values at every tau.
    """

    best: NDArray[np.float64]
    best_tau: NDArray[np.float64]
    at_max_box_acc_tau: NDArray[np.float64]
    curve: NDArray[np.float64]


@dataclass(frozen=True)
class BoxAccuracyResult:
    """Scores of n images: D IoU thresholds, T values of tau, G groups. Scores are percentages.

    Attributes:
        n: number of images, those without any box included.
        contours: ``largest`` or ``all``.
        taus: ``[T]`` ascending thresholds, frozen ones included.
        eligible: ``[T]`` bool, False for frozen thresholds off the grid, which cannot be chosen as best.
        iou_thresholds: ``[D]``.
        ranks: names of the groups after the first: ``top1``, ``top5``.
        counts: ``[G]`` int64, images per group: all, and those whose class is right.
        hits: ``[G, D, T]`` int64, images of the group with IoU at least the threshold.
        iou_sums: ``[T]`` int64, sums of IoU over all images in units of ``1 / IOU_UNIT``.
        replicates: bootstrap counts, None without bootstrap.
    """

    n: int
    contours: str
    taus: NDArray[np.float64]
    eligible: NDArray[np.bool_]
    iou_thresholds: NDArray[np.float64]
    ranks: tuple[str, ...]
    counts: NDArray[np.int64]
    hits: NDArray[np.int64]
    iou_sums: NDArray[np.int64]
    replicates: Replicates | None

    @property
    def box_acc(self) -> NDArray[np.float64]:
        """Accuracy curves ``[D, T]``: share of images with IoU at least the threshold."""
        curves: NDArray[np.float64] = self.hits[0] * 100.0 / self.n
        return curves

    @property
    def mean_iou_curve(self) -> NDArray[np.float64]:
        """Mean IoU ``[T]`` at every tau."""
        return self.iou_sums * (100.0 / IOU_UNIT) / self.n

    @property
    def best_index(self) -> NDArray[np.int64]:
        """Index ``[D]`` into ``taus`` of each MaxBoxAcc; ties go to the smallest tau."""
        return self._first_best(self.hits[0])

    @property
    def max_box_acc(self) -> NDArray[np.float64]:
        """MaxBoxAcc ``[D]``, each maximum with its own tau."""
        return _pick(self.box_acc, self.best_index)

    @property
    def max_box_acc_tau(self) -> NDArray[np.float64]:
        """The tau ``[D]`` of each MaxBoxAcc."""
        return self.taus[self.best_index]

    @property
    def max_box_acc_v2(self) -> float:
        """Mean over the IoU thresholds of the maxima, each with its own tau.

        MaxBoxAccV2 of Choe et al. with ``contours='all'`` and thresholds 0.3, 0.5, 0.7.
        """
        return float(self.max_box_acc.mean())

    @property
    def mean_iou_index(self) -> int:
        """Index into ``taus`` of the best mean IoU; this tau is its own, not that of MaxBoxAcc."""
        return int(self._first_best(self.iou_sums[None])[0])

    @property
    def mean_iou(self) -> float:
        """Best mean IoU over tau."""
        return float(self.mean_iou_curve[self.mean_iou_index])

    @property
    def mean_iou_tau(self) -> float:
        """The tau of the best mean IoU."""
        return float(self.taus[self.mean_iou_index])

    @property
    def top1_loc(self) -> TopKLoc | None:
        """Top-1 localization; None without that rank."""
        return self._top_k("top1")

    @property
    def top5_loc(self) -> TopKLoc | None:
        """Top-5 localization; None without that rank."""
        return self._top_k("top5")

    def accuracy(self, rank: str) -> float:
        """Classification accuracy of ``top1`` or ``top5`` on the same images, in percent."""
        return float(self.counts[self._group(rank)] * 100.0 / self.n)

    def tau_index(self, tau: float) -> int:
        """Returns the position of ``tau`` in ``taus``.

        Raises:
            UsageError: this tau was not evaluated.
        """
        found = np.flatnonzero(self.taus == tau)
        if not found.size:
            raise UsageError(f"Expected a tau that was evaluated but got {tau}; fix: pass it as one of fixed_taus.")
        return int(found[0])

    def box_acc_at(self, tau: ArrayLike) -> NDArray[np.float64]:
        """Accuracy ``[D]`` at a frozen tau (policy VT): one for all IoU thresholds, or ``[D]`` one each.

        Raises:
            UsageError: a tau was neither on the grid nor among ``fixed_taus``.
        """
        wanted = np.broadcast_to(np.asarray(tau, dtype=np.float64), self.iou_thresholds.shape)
        return _pick(self.box_acc, np.asarray([self.tau_index(value) for value in wanted.tolist()]))

    def mean_iou_at(self, tau: float) -> float:
        """Mean IoU at a frozen tau; errors as in :meth:`box_acc_at`."""
        return float(self.mean_iou_curve[self.tau_index(tau)])

    def max_box_acc_replicates(self, rank: str | None = None) -> NDArray[np.float64]:
        """MaxBoxAcc, or Top-k localization for a rank, of each replicate; ``[D, R]`` percentages.

        The best tau is chosen again inside every replicate. Two methods scored on the same ids with the same seed can
        be compared with :func:`wsol_bench.metrics.bootstrap.paired_difference`.
        """
        drawn = self._drawn()
        hits = drawn.hits[self._group(rank)][:, self.eligible]
        return np.stack([replicates_at_best_tau(sums, drawn.totals) for sums in hits])

    def box_acc_replicates_at(self, tau: float, rank: str | None = None) -> NDArray[np.float64]:
        """Accuracy of each replicate at a frozen tau; ``[D, R]`` percentages."""
        drawn, index = self._drawn(), self.tau_index(tau)
        return np.stack([replicates_at_fixed_tau(sums, drawn.totals, index) for sums in drawn.hits[self._group(rank)]])

    def mean_iou_replicates(self) -> NDArray[np.float64]:
        """Best mean IoU of each replicate; ``[R]`` percentages."""
        drawn = self._drawn()
        return replicates_at_best_tau(drawn.iou_sums[self.eligible], drawn.totals) / IOU_UNIT

    def mean_iou_replicates_at(self, tau: float) -> NDArray[np.float64]:
        """Mean IoU of each replicate at a frozen tau; ``[R]`` percentages."""
        drawn = self._drawn()
        return replicates_at_fixed_tau(drawn.iou_sums, drawn.totals, self.tau_index(tau)) / IOU_UNIT

    def max_box_acc_intervals(self, level: float = DEFAULT_LEVEL) -> list[Interval]:
        """Intervals of MaxBoxAcc, one per IoU threshold."""
        return [percentile_interval(values, level) for values in self.max_box_acc_replicates()]

    def max_box_acc_v2_interval(self, level: float = DEFAULT_LEVEL) -> Interval:
        """Interval of MaxBoxAccV2: mean of the maxima inside each replicate."""
        return percentile_interval(self.max_box_acc_replicates().mean(axis=0), level)

    def mean_iou_interval(self, level: float = DEFAULT_LEVEL) -> Interval:
        """Interval of the best mean IoU."""
        return percentile_interval(self.mean_iou_replicates(), level)

    def _drawn(self) -> Replicates:
        if self.replicates is None:
            raise UsageError("Expected bootstrap replicates but none were drawn; fix: score with replicates=1000.")
        return self.replicates

    def _group(self, rank: str | None) -> int:
        if rank is not None and rank not in self.ranks:
            raise UsageError(f"Expected a rank among {self.ranks} but got '{rank}'; fix: score with class ranks.")
        return 0 if rank is None else 1 + self.ranks.index(rank)

    def _first_best(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        best: NDArray[np.int64] = np.where(self.eligible, counts, -1).argmax(axis=1)
        return best

    def _top_k(self, rank: str) -> TopKLoc | None:
        if rank not in self.ranks:
            return None
        hits = self.hits[self._group(rank)]
        curve, index = hits * 100.0 / self.n, self._first_best(hits)
        return TopKLoc(
            best=_pick(curve, index),
            best_tau=self.taus[index],
            at_max_box_acc_tau=_pick(curve, self.best_index),
            curve=curve,
        )


def _pick(curves: NDArray[np.float64], indices: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.take_along_axis(curves, indices[:, None], axis=1)[:, 0]
