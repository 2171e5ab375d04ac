"""Box accuracy over all thresholds: MaxBoxAcc, MaxBoxAccV2, mean IoU, Top-1 and Top-5 localization.

Sources: Choe et al. 2020 (MaxBoxAcc, MaxBoxAccV2); metrics spec, sections 5 to 7; protocol spec, A4 (one tau per IoU
threshold) and A7 (ties go to the smallest tau).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import DataError, UsageError
from wsol_bench.maps.curves import BoxCurves, ContourSets
from wsol_bench.metrics.bootstrap import check_ids, poisson_weights
from wsol_bench.metrics.box_acc_result import BoxAccuracyResult, Replicates
from wsol_bench.metrics.curve_counts import TauIndex, add_counts, add_weighted_counts, undifference
from wsol_bench.metrics.curve_iou import IouCurves, iou_of_contours, iou_of_curves
from wsol_bench.metrics.saved_state import State, restore

Contours = Literal["largest", "all"]
Rank = Literal["top1", "top5"]

DEFAULT_IOU_THRESHOLDS = (0.3, 0.5, 0.7)


class BoxAccuracy:
    """Accumulates box accuracy at every tau and IoU threshold over any number of batches and shards.

    Memory does not depend on the number of images, and all sums are integers: results do not depend on the order of
    updates or merges, to the last bit.

    Args:
        taus: ascending grid in [0, 1) over which maxima are taken, T values.
        iou_thresholds: an image counts as correct when its IoU is at least this (>=, not >), D values.
        contours: ``largest`` scores the box of the largest contour, ``all`` the best of all contours alive at a cut.
        fixed_taus: thresholds frozen elsewhere (policy VT); evaluated as well, never chosen as the best.
        ranks: which of ``in_top1`` and ``in_top5`` every update brings, for Top-1 and Top-5 localization.
        replicates: bootstrap replicates R, 0 for none; take about ``4 * T * R * ((1 + len(ranks)) * D + 2)`` bytes.
        seed: seed of the bootstrap.

    Raises:
        UsageError: a tau, an IoU threshold or a name cannot be used.
    """

    def __init__(
        self,
        taus: ArrayLike,
        iou_thresholds: Sequence[float] = DEFAULT_IOU_THRESHOLDS,
        contours: Contours = "largest",
        *,
        fixed_taus: Sequence[float] = (),
        ranks: Sequence[Rank] = (),
        replicates: int = 0,
        seed: int = 0,
    ) -> None:
        if contours not in ("largest", "all"):
            raise UsageError(f"Expected contours to be one of (all, largest) but got '{contours}'.")
        if not len(iou_thresholds) or not all(0 < threshold <= 1 for threshold in iou_thresholds):
            raise UsageError(f"Expected IoU thresholds in (0, 1] but got {list(iou_thresholds)}; fix: 0.5, not 50.")
        if not set(ranks) <= {"top1", "top5"}:
            raise UsageError(f"Expected ranks among (top1, top5) but got {list(ranks)}.")
        self.taus = TauIndex.of(taus).taus
        self.iou_thresholds = np.asarray(iou_thresholds, dtype=np.float64)
        self.contours: Contours = contours
        self.ranks: tuple[Rank, ...] = tuple(ranks)
        self.replicates = replicates
        self.seed = seed
        self._index = TauIndex.of(np.union1d(self.taus, np.asarray(fixed_taus, dtype=np.float64)))
        num_taus = len(self._index)
        shape = (1 + len(self.ranks), len(self.iou_thresholds), num_taus)
        self._counts = np.zeros(shape[0], dtype=np.int64)
        self._hits = np.zeros(shape, dtype=np.int64)
        self._iou_sums = np.zeros((shape[0], num_taus), dtype=np.int64)
        self._drawn_counts = np.zeros(replicates, dtype=np.int64)
        self._drawn_hits = np.zeros((*shape, replicates), dtype=np.int32)
        self._drawn_iou_sums = np.zeros((num_taus, replicates), dtype=np.int64)

    def update(
        self,
        curves: BoxCurves | ContourSets | IouCurves,
        gt_boxes: ArrayLike | None = None,
        gt_offsets: ArrayLike | None = None,
        *,
        in_top1: ArrayLike | None = None,
        in_top5: ArrayLike | None = None,
        ids: Sequence[str] | None = None,
    ) -> IouCurves:
        """Adds a batch of N images.

        Args:
            curves: boxes of the maps: ``BoxCurves`` for largest, ``ContourSets`` for all contours, or IoU curves that
                were computed before (then without ground truth).
            gt_boxes: ``[M, 4]`` ground-truth boxes in the frame of the maps.
            gt_offsets: ``[N + 1]``, boxes of image ``i`` are ``gt_boxes[gt_offsets[i]:gt_offsets[i + 1]]``.
            in_top1: ``[N]`` bool, the true class is ranked first; if ``ranks`` holds ``top1``.
            in_top5: ``[N]`` bool, the true class is among the first five; if ``ranks`` holds ``top5``.
            ids: N image ids, needed for the bootstrap.

        Returns:
            The IoU curves of the batch, for those who want them per image.

        Raises:
            DataError: ground truth is missing or malformed, or lengths differ.
            UsageError: the kind of curves does not fit ``contours``, or ranks or ids are missing.
        """
        ious = self._ious(curves, gt_boxes, gt_offsets)
        groups = self._groups(len(ious), {"top1": in_top1, "top5": in_top5})
        if self.replicates:
            weights = poisson_weights(check_ids(ids, len(ious)), self.replicates, self.seed)
            self._drawn_counts += weights.sum(axis=0, dtype=np.int64)
            add_weighted_counts(
                ious, self._index, self.iou_thresholds, groups, weights, self._drawn_hits, self._drawn_iou_sums
            )
        add_counts(ious, self._index, self.iou_thresholds, groups, self._hits, self._iou_sums)
        self._counts += groups.sum(axis=1)
        return ious

    def merge(self, other: BoxAccuracy) -> None:
        """Adds the counts of another accumulator, which must have the same settings and no image in common.

        Raises:
            DataError: settings differ.
        """
        if self._settings() != other._settings():
            raise DataError(
                "Expected shards scored with equal taus, IoU thresholds, contours, ranks and bootstrap but they differ."
            )
        for mine, theirs in zip(self.state().values(), other.state().values(), strict=True):
            mine += theirs

    def compute(self) -> BoxAccuracyResult:
        """Returns all scores of the images seen so far.

        Raises:
            DataError: no image was added.
        """
        if self._counts[0] == 0:
            raise DataError("Expected at least one image but none was scored; fix: check the maps and the ids.")
        drawn = Replicates(
            totals=self._drawn_counts.copy(),
            hits=undifference(self._drawn_hits, axis=2),
            iou_sums=undifference(self._drawn_iou_sums, axis=0),
        )
        return BoxAccuracyResult(
            n=int(self._counts[0]),
            contours=self.contours,
            taus=self._index.taus,
            eligible=np.isin(self._index.taus, self.taus),
            iou_thresholds=self.iou_thresholds,
            ranks=self.ranks,
            counts=self._counts.copy(),
            hits=undifference(self._hits),
            iou_sums=undifference(self._iou_sums[0]),
            replicates=drawn if self.replicates else None,
        )

    def state(self) -> State:
        """Returns everything that was accumulated, as arrays for ``np.savez``; settings are not included."""
        return {
            "counts": self._counts,
            "hits": self._hits,
            "iou_sums": self._iou_sums,
            "drawn_counts": self._drawn_counts,
            "drawn_hits": self._drawn_hits,
            "drawn_iou_sums": self._drawn_iou_sums,
        }

    def load_state(self, state: State) -> None:
        """Replaces the counts by those of :meth:`state`, made by an accumulator with the same settings.

        Raises:
            DataError: the arrays do not fit these settings.
        """
        saved = restore(self.state(), state)
        for name, array in self.state().items():
            array[...] = saved[name]

    def _ious(
        self, curves: BoxCurves | ContourSets | IouCurves, gt_boxes: ArrayLike | None, gt_offsets: ArrayLike | None
    ) -> IouCurves:
        if isinstance(curves, IouCurves):
            return curves
        if gt_boxes is None or gt_offsets is None:
            raise UsageError("Expected gt_boxes and gt_offsets with the boxes of the maps.")
        if isinstance(curves, BoxCurves) != (self.contours == "largest"):
            wanted = "BoxCurves (sweep_largest)" if self.contours == "largest" else "ContourSets (sweep_all)"
            raise UsageError(f"Expected {wanted} for contours='{self.contours}' but got {type(curves).__name__}.")
        if isinstance(curves, BoxCurves):
            return iou_of_curves(curves, gt_boxes, gt_offsets)
        return iou_of_contours(curves, gt_boxes, gt_offsets)

    def _groups(self, count: int, given: dict[Rank, ArrayLike | None]) -> NDArray[np.bool_]:
        groups = np.ones((1 + len(self.ranks), count), dtype=np.bool_)
        for name, flags in given.items():
            if (flags is not None) != (name in self.ranks):
                raise UsageError(f"Expected in_{name} exactly if ranks={self.ranks} holds it; fix: pass both or none.")
            if flags is not None:
                groups[1 + self.ranks.index(name)] = np.asarray(flags, dtype=np.bool_)
        return groups

    def _settings(self) -> tuple[object, ...]:
        grids = (self.taus.tobytes(), self._index.taus.tobytes(), self.iou_thresholds.tobytes())
        return (*grids, self.contours, self.ranks, self.replicates, self.seed)
