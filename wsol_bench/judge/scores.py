"""Scores of one run: the numbers on which all selection rules are arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError

GT = "gt"
CLS = "cls"
PX_AP = "px_ap"
"""The metric of masks, which has no threshold."""


@dataclass(frozen=True)
class AccuracyCurves:
    """Accuracy over T thresholds at one epoch, against one set of boxes; all values in percent.

    Attributes:
        box_acc: ``[D, T]`` box accuracy at each IoU threshold.
        mean_iou: ``[T]`` mean IoU.
        top1_loc: ``[D, T]`` box accuracy among images that are also classified correctly, over all images.
    """

    box_acc: NDArray[np.float64]
    mean_iou: NDArray[np.float64]
    top1_loc: NDArray[np.float64]


@dataclass(frozen=True)
class ValidationScores:
    """The best thresholds of E epochs on the validation split against one source; all that a selection needs.

    Attributes:
        box_acc: ``[E, D]`` percent, the best box accuracy over tau at each IoU threshold.
        box_acc_tau: ``[E, D]`` indices into the validation grid, where it is first attained.
        mean_iou: ``[E]`` percent, the best mean IoU over tau.
        mean_iou_tau: ``[E]`` likewise.
    """

    box_acc: NDArray[np.float64]
    box_acc_tau: NDArray[np.int64]
    mean_iou: NDArray[np.float64]
    mean_iou_tau: NDArray[np.int64]

    @classmethod
    def of(cls, box_acc: NDArray[np.float64], mean_iou: NDArray[np.float64]) -> ValidationScores:
        """Keeps the maxima of curves ``[E, D, T]`` and ``[E, T]``."""
        return cls(box_acc.max(axis=2), box_acc.argmax(axis=2), mean_iou.max(axis=1), mean_iou.argmax(axis=1))

    def at(self, rows: Sequence[int]) -> ValidationScores:
        """Returns the scores of some epochs, by index."""
        index = list(rows)
        return ValidationScores(
            self.box_acc[index], self.box_acc_tau[index], self.mean_iou[index], self.mean_iou_tau[index]
        )


@dataclass(frozen=True)
class TestScores:
    """One epoch on the test split, against its manual boxes.

    Attributes:
        top1: top-1 accuracy in percent.
        curves: accuracy over tau.
        otsu: the same with one Otsu threshold per image; its arrays have T = 1.
        n: images scored.
    """

    # Not a test case, whatever its name says to pytest.
    __test__ = False

    top1: float
    curves: AccuracyCurves
    otsu: AccuracyCurves
    n: int


@dataclass(frozen=True)
class RunScores:
    """Scores of one run (a configuration and a seed).

    What selections read goes through :meth:`val_scores`, :meth:`test_curves` and :meth:`test_top1_for_selection`,
    which note the access in the ledger: the supervision of a result row is what its choice really read.

    Attributes:
        label: name in tables, ``cam/3``.
        epochs: the E recorded epochs, ascending.
        taus: ``[T]`` thresholds of the test curves.
        val_taus: thresholds of the validation curves, a subset of ``taus``.
        val_top1: ``[E]`` top-1 accuracy on the validation split, percent.
        val: scores on the validation split by source (``gt`` and pseudo-box sets).
        ledger_keys: what the ledger calls each source (``gt``, ``pseudo:ss``, ``folder:my_boxes``).
        test: scores on the test split by index of the epoch, ``0..E-1``; read when they are asked for.
        val_ids: the validation images.
    """

    label: str
    epochs: tuple[int, ...]
    taus: NDArray[np.float64]
    val_taus: NDArray[np.float64]
    val_top1: NDArray[np.float64]
    val: Mapping[str, ValidationScores]
    ledger_keys: Mapping[str, str]
    test: Mapping[int, TestScores]
    val_ids: tuple[str, ...] = ()

    def val_scores(self, source: str) -> ValidationScores:
        """Returns the validation scores against ``source`` and notes the access.

        Raises:
            UsageError: the run was not scored against that source.
        """
        if source not in self.val:
            raise UsageError(
                f"Expected scores of '{self.label}' against '{source}' but there are only {sorted(self.val)}."
            )
        firewall.read(self.ledger_keys[source], "val")
        return self.val[source]

    def test_curves(self, epoch: int) -> AccuracyCurves:
        """Returns the test curves of an epoch, by index, and notes that manual test boxes were read."""
        firewall.read(GT, "test")
        return self.test[epoch].curves

    def otsu_curves(self, epoch: int) -> AccuracyCurves:
        """Returns accuracies with Otsu's thresholds, by index of the epoch, and notes that test boxes were read."""
        firewall.read(GT, "test")
        return self.test[epoch].otsu

    def test_top1_for_selection(self, epoch: int) -> float:
        """Returns top-1 accuracy on the test split and notes that its labels chose something."""
        firewall.read("labels", "test")
        return self.test[epoch].top1

    def without(self, epoch: int) -> RunScores | None:
        """Returns the run as if it had never finished the epoch with this number; None where none is left."""
        kept = [index for index, number in enumerate(self.epochs) if number != epoch]
        if not kept:
            return None
        return replace(
            self,
            epochs=tuple(self.epochs[index] for index in kept),
            val_top1=self.val_top1[kept],
            val={source: scores.at(kept) for source, scores in self.val.items()},
            test=_Renumbered(self.test, tuple(kept)),
        )

    def test_tau_index(self, val_index: int) -> int:
        """Returns where a threshold of the validation grid stands in the test grid."""
        return int(np.abs(self.taus - self.val_taus[val_index]).argmin())


@dataclass(frozen=True)
class _Renumbered(Mapping[int, TestScores]):
    """Some entries of test scores, counted anew."""

    scores: Mapping[int, TestScores]
    kept: tuple[int, ...]

    def __getitem__(self, index: int) -> TestScores:
        return self.scores[self.kept[index]]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.kept)))

    def __len__(self) -> int:
        return len(self.kept)
