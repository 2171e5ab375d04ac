"""Confidence intervals of decisions: bootstrap over the test images.

The chosen configuration and epoch stay fixed; with TT the threshold is the maximum over tau, which is therefore taken
again inside every replicate, with VT and OT it stays as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.judge.scoring import RecordedRun, iou_of_record, otsu_iou, taus_of
from wsol_bench.judge.selection import Decision
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES, poisson_weights
from wsol_bench.metrics.curve_counts import IOU_UNIT, TauIndex, add_weighted_counts, undifference
from wsol_bench.protocol import Protocol
from wsol_bench.records.run_record import RunRecord

KEPT_RECORDS = 32
"""Records whose counts are kept for the next question; each takes 8 MB with 1,000 replicates."""


class ReplicateValues:
    """Values of decisions in every bootstrap replicate; two of them over the same images pair by replicate.

    Args:
        test: manual boxes of the test images.
        protocol: IoU thresholds and tau grid.
        replicates: number R of replicates.
        seed: another seed draws other replicates.
    """

    def __init__(self, test: BoxSet, protocol: Protocol, replicates: int = DEFAULT_REPLICATES, seed: int = 0) -> None:
        self._test = test
        self._protocol = protocol
        self._replicates = replicates
        self._seed = seed
        self._counts: OrderedDict[tuple[str, int, bool], _Counts] = OrderedDict()
        self._lock = Lock()

    def of(self, decision: Decision, run: RecordedRun) -> NDArray[np.float64]:
        """Returns ``[R]`` the decision's value in each replicate, in percent (NaN where no image was drawn)."""
        counts = self._load(run, decision.epoch, otsu=decision.threshold == "OT")
        thresholds = self._protocol.iou_thresholds
        levels = [thresholds.index(self._protocol.selection_iou)]
        if decision.metric == "box_acc_mean":
            levels = list(range(len(thresholds)))
        elif decision.level is not None:
            levels = [decision.level]
        if decision.metric == "mean_iou":
            return counts.percent([_at(counts.mean_iou, counts.mean_iou, self._fixed(decision, counts, 0))])
        values = counts.top1_hits if decision.metric == "top1_loc" else counts.hits
        shared = thresholds.index(self._protocol.selection_iou) if self._protocol.tau_per_iou == "shared" else None
        return counts.percent(
            [
                _at(values[level], counts.hits[level if shared is None else shared], self._fixed(decision, counts, k))
                for k, level in enumerate(levels)
            ]
        )

    def read_ahead(self, decisions: Iterable[tuple[Decision, RecordedRun]], threads: int) -> None:
        """Counts the records behind decisions, several at a time."""
        wanted = {(run.folder, one.epoch, one.threshold == "OT"): run for one, run in decisions}
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda item: self._load(item[1], item[0][1], otsu=item[0][2]), wanted.items()))

    def _fixed(self, decision: Decision, counts: _Counts, k: int) -> int | None:
        """Index of the frozen threshold, or None where each replicate takes its own best one."""
        if decision.threshold == "OT":
            return 0
        if decision.threshold == "TT":
            return None
        return int(np.searchsorted(counts.taus, decision.taus[k]))

    def _load(self, run: RecordedRun, epoch: int, *, otsu: bool) -> _Counts:
        key = (str(run.folder), epoch, otsu)
        with self._lock:
            if key in self._counts:
                self._counts.move_to_end(key)
                return self._counts[key]
        counts = self._count(run.record("test", epoch), otsu)
        with self._lock:
            self._counts[key] = counts
            while len(self._counts) > KEPT_RECORDS:
                self._counts.popitem(last=False)
        return counts

    def _count(self, record: RunRecord, otsu: bool) -> _Counts:
        curves = otsu_iou(record, self._test) if otsu else iou_of_record(record, self._test)
        index = TauIndex.of([0.0] if otsu else taus_of(self._protocol))
        weights = poisson_weights(record.ids, self._replicates, self._seed)
        levels = np.asarray(self._protocol.iou_thresholds, dtype=np.float64)
        groups = np.stack([np.ones(len(record), dtype=np.bool_), record.top1_hits])
        hits = np.zeros((2, len(levels), len(index), self._replicates), dtype=np.int32)
        sums = np.zeros((len(index), self._replicates), dtype=np.int64)
        add_weighted_counts(curves, index, levels, groups, weights, hits, sums)
        np.cumsum(hits, axis=2, out=hits)
        return _Counts(
            index.taus,
            weights.sum(axis=0, dtype=np.int64),
            hits[0],
            hits[1],
            undifference(sums, axis=0) / IOU_UNIT,
        )


class _Counts:
    """Weighted counts of one record: thresholds x replicates."""

    def __init__(
        self,
        taus: NDArray[np.float64],
        totals: NDArray[np.int64],
        hits: NDArray[np.int32],
        top1_hits: NDArray[np.int32],
        mean_iou: NDArray[np.float64],
    ) -> None:
        self.taus = taus
        self.totals = totals
        self.hits = hits
        self.top1_hits = top1_hits
        self.mean_iou = mean_iou

    def percent(self, parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Averages the parts of a metric and divides by the images drawn."""
        total = np.where(self.totals > 0, self.totals, np.nan)
        values: NDArray[np.float64] = 100.0 * np.mean(parts, axis=0) / total
        return values


def _at(
    values: NDArray[np.int32] | NDArray[np.float64], guide: NDArray[np.int32] | NDArray[np.float64], fixed: int | None
) -> NDArray[np.float64]:
    """Picks ``values[tau]`` per replicate: at the fixed index, or where ``guide`` is largest in that replicate."""
    rows = guide.argmax(axis=0) if fixed is None else np.full(values.shape[1], fixed)
    picked: NDArray[np.float64] = values[rows, np.arange(values.shape[1])].astype(np.float64)
    return picked
