"""Scores of one run at every epoch: the numbers on which all selection rules are arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError

GT = "gt"
CLS = "cls"


@dataclass(frozen=True)
class AccuracyCurves:
    """Accuracy over tau at E epochs, against one set of boxes; all values in percent.

    Attributes:
        box_acc: ``[E, D, T]`` box accuracy at each IoU threshold.
        mean_iou: ``[E, T]`` mean IoU.
        top1_loc: ``[E, D, T]`` box accuracy among images that are also classified correctly, over all images.
    """

    box_acc: NDArray[np.float64]
    mean_iou: NDArray[np.float64]
    top1_loc: NDArray[np.float64]


@dataclass(frozen=True)
class RunScores:
    """Scores of one run (a configuration and a seed).

    Reading box-based scores goes through :meth:`val_curves`, :meth:`test_curves` and :meth:`test_top1_for_selection`,
    which note the access in the ledger: the supervision of a result row is what its choice really read.

    Attributes:
        label: name in tables, ``cam/3``.
        epochs: the E recorded epochs, ascending.
        taus: ``[T]`` thresholds of the curves.
        val_top1: ``[E]`` top-1 accuracy on the validation split, percent.
        test_top1: ``[E]`` top-1 accuracy on the test split, percent.
        val: curves on the validation split by source (``gt`` and pseudo-box sets).
        ledger_keys: what the ledger calls each source (``gt``, ``pseudo:ss``, ``folder:my_boxes``).
        test: curves on the test split against its manual boxes.
        otsu: the same with one Otsu threshold per image; its arrays have T = 1.
        num_test: test images scored.
    """

    label: str
    epochs: tuple[int, ...]
    taus: NDArray[np.float64]
    val_top1: NDArray[np.float64]
    test_top1: NDArray[np.float64]
    val: Mapping[str, AccuracyCurves]
    ledger_keys: Mapping[str, str]
    test: AccuracyCurves
    otsu: AccuracyCurves
    num_test: int

    def val_curves(self, source: str) -> AccuracyCurves:
        """Returns the validation curves against ``source`` and notes the access.

        Raises:
            UsageError: the run was not scored against that source.
        """
        if source not in self.val:
            raise UsageError(
                f"Expected scores of '{self.label}' against '{source}' but there are only {sorted(self.val)}."
            )
        firewall.read(self.ledger_keys[source], "val")
        return self.val[source]

    def test_curves(self) -> AccuracyCurves:
        """Returns the test curves and notes that manual test boxes were read."""
        firewall.read(GT, "test")
        return self.test

    def test_top1_for_selection(self) -> NDArray[np.float64]:
        """Returns top-1 accuracies on the test split and notes that its labels chose something."""
        firewall.read("labels", "test")
        return self.test_top1
