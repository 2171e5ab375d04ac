"""CorLoc: correct localization per class, averaged over classes.

Sources: Deselaers et al. 2012; metrics spec, section 13. An image is right when its box reaches IoU >= 0.5 with any box
of its class. The average is the unweighted mean of the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import DataError, UsageError
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.metrics.curve_counts import TauIndex, add_counts, undifference
from wsol_bench.metrics.curve_iou import IouCurves, iou_of_curves


@dataclass(frozen=True)
class CorLocResult:
    """CorLoc over tau and classes, in percent.

    Attributes:
        n: images counted.
        excluded: images without a box, or with the placeholder box ``0, 0, 0, 0``.
        per_class_n: ``[C]`` images per class.
        absent: names of classes without images; they do not enter means, and deserve a warning.
        taus: ``[T]``.
        curves: ``[C, T]`` CorLoc of each class at each tau, NaN for absent classes.
    """

    n: int
    excluded: int
    per_class_n: NDArray[np.int64]
    absent: tuple[str, ...]
    taus: NDArray[np.float64]
    curves: NDArray[np.float64]

    @property
    def mean_curve(self) -> NDArray[np.float64]:
        """Unweighted mean over classes ``[T]``."""
        mean: NDArray[np.float64] = self.curves[self.per_class_n > 0].mean(axis=0)
        return mean

    @property
    def best_index(self) -> int:
        """Index of the one tau that maximises the mean over classes (TT); ties go to the smallest."""
        return int(self.mean_curve.argmax())

    @property
    def at_best_tau(self) -> float:
        """Mean over classes at one tau chosen on these images (TT)."""
        return float(self.mean_curve[self.best_index])

    @property
    def per_class_oracle(self) -> NDArray[np.float64]:
        """Each class at its own best tau ``[C]``: comparable with some published tables, with no realistic setting."""
        best: NDArray[np.float64] = self.curves.max(axis=1)
        return best

    def at(self, index: int) -> NDArray[np.float64]:
        """CorLoc of each class ``[C]`` at ``taus[index]`` (VT with a frozen tau)."""
        return self.curves[:, index]


class CorLoc:
    """Accumulates CorLoc per class at every tau.

    Args:
        class_names: C names, in label order.
        taus: ascending grid in [0, 1); ``(0.0,)`` for boxes that do not depend on a threshold
            (:func:`wsol_bench.metrics.curve_iou.curves_of_boxes`).
        iou_threshold: an image is right at this IoU or above.
    """

    def __init__(self, class_names: Sequence[str], taus: ArrayLike = (0.0,), iou_threshold: float = 0.5) -> None:
        if not 0 < iou_threshold <= 1:
            raise UsageError(f"Expected an IoU threshold in (0, 1] but got {iou_threshold}.")
        self.class_names = tuple(class_names)
        self.iou_threshold = iou_threshold
        self._index = TauIndex.of(taus)
        self._excluded = 0
        self._per_class = np.zeros(len(self.class_names), dtype=np.int64)
        self._hits = np.zeros((len(self.class_names), 1, len(self._index)), dtype=np.int64)
        self._iou_sums = np.zeros((len(self.class_names), len(self._index)), dtype=np.int64)

    def update(self, curves: BoxCurves, labels: ArrayLike, gt_boxes: ArrayLike, gt_offsets: ArrayLike) -> None:
        """Adds N images.

        Args:
            curves: largest-contour boxes.
            labels: ``[N]`` class indices.
            gt_boxes: ``[M, 4]`` boxes of the image's class in the frame.
            gt_offsets: ``[N + 1]``; an image without boxes is excluded and counted.

        Raises:
            DataError: a label is not a class, lengths differ, or boxes are malformed.
        """
        classes = np.asarray(labels, dtype=np.int64)
        boxes, offsets = np.asarray(gt_boxes).reshape(-1, 4), np.asarray(gt_offsets, dtype=np.int64)
        if classes.shape != (len(curves),) or offsets.shape != (len(curves) + 1,):
            raise DataError(
                f"Expected {len(curves)} labels and {len(curves) + 1} offsets but got {classes.size}, {offsets.size}."
            )
        if classes.size and not (classes.min() >= 0 and classes.max() < len(self.class_names)):
            raise DataError(
                f"Expected labels in 0..{len(self.class_names) - 1} but got {classes.min()}..{classes.max()}."
            )
        real = np.concatenate([[0], np.cumsum((boxes != 0).any(axis=1))])
        kept = real[offsets[1:]] > real[offsets[:-1]]
        # Excluded images keep their place with a stand-in box, and belong to no class.
        counts = np.where(kept, np.diff(offsets), 1)
        filled = np.zeros((int(counts.sum()), 4), dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)])
        for i in np.flatnonzero(kept):
            filled[starts[i] : starts[i + 1]] = boxes[offsets[i] : offsets[i + 1]]
        ious: IouCurves = iou_of_curves(curves, filled, starts)
        groups = (classes[None, :] == np.arange(len(self.class_names))[:, None]) & kept
        add_counts(ious, self._index, np.asarray([self.iou_threshold]), groups, self._hits, self._iou_sums)
        self._per_class += groups.sum(axis=1)
        self._excluded += int((~kept).sum())

    def merge(self, other: CorLoc) -> None:
        """Adds the counts of another accumulator with the same classes, taus and IoU threshold.

        Raises:
            DataError: settings differ.
        """
        mine = (self.class_names, self.iou_threshold, self._index.taus.tobytes())
        if mine != (other.class_names, other.iou_threshold, other._index.taus.tobytes()):
            raise DataError("Expected shards scored with equal classes, taus and IoU threshold but they differ.")
        self._excluded += other._excluded
        self._per_class += other._per_class
        self._hits += other._hits
        self._iou_sums += other._iou_sums

    def compute(self) -> CorLocResult:
        """Returns CorLoc of the images seen so far.

        Raises:
            DataError: no image with a box was added.
        """
        if not self._per_class.any():
            raise DataError(f"Expected at least one image with a box but got {self._excluded} without.")
        curves = np.full(self._iou_sums.shape, np.nan)
        present = self._per_class > 0
        curves[present] = undifference(self._hits[present, 0]) * 100.0 / self._per_class[present, None]
        return CorLocResult(
            n=int(self._per_class.sum()),
            excluded=self._excluded,
            per_class_n=self._per_class.copy(),
            absent=tuple(name for name, seen in zip(self.class_names, present, strict=True) if not seen),
            taus=self._index.taus,
            curves=curves,
        )
