"""What a sweep will cost, before it runs: operations from the networks, hours from the trials that have been timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

from wsol_bench.datasets.base import Dataset
from wsol_bench.workflow.method_cost import prediction_macs
from wsol_bench.workflow.sweep import TrialOutcome

_TRAINING_PASSES = 3
"""Multiply-accumulates of a training step over those of a prediction: the way back costs twice the way there."""


def sweep_cost(dataset: Dataset, outcomes: Sequence[TrialOutcome]) -> list[dict[str, Any]]:
    """Estimates what the unfinished part of a plan costs.

    Args:
        dataset: gives the number of images.
        outcomes: the plan and how far it is.

    Returns:
        One row per method: ``method``, ``trials`` left, ``epochs`` left, ``pmacs`` (multiply-accumulates in 10^15:
        training at three times a prediction, and the recording of val and test after every epoch; preparations of
        methods that make any are not counted), ``seconds_per_epoch`` (median of the epochs that ran in this workspace,
        on whatever device) and ``hours`` on one such device, both None where none ran.
    """
    rows = []
    sizes = {split: len(dataset.split(split)) for split in ("train", "val", "test")}
    for method in dict.fromkeys(outcome.trial.config.method for outcome in outcomes):
        ours = [outcome for outcome in outcomes if outcome.trial.config.method == method]
        left = [outcome for outcome in ours if outcome.status not in ("complete", "diverged")]
        epochs = sum(one.trial.config.epochs - max(one.epochs, default=0) for one in left)
        # Drawn configurations may have other backbones; the recipe stands for all.
        macs = prediction_macs(ours[0].trial.config, frame=dataset.frame, classes=dataset.num_classes)
        recorded = sizes["val"] + sizes["test"]
        images = epochs * (_TRAINING_PASSES * sizes["train"] + recorded) + len(left) * recorded
        times = [seconds for one in ours for seconds in one.folder.epoch_seconds()]
        typical = median(times) if times else None
        rows.append(
            {
                "method": method,
                "trials": len(left),
                "epochs": epochs,
                "pmacs": macs * images / 1e15,
                "seconds_per_epoch": typical,
                "hours": None if typical is None else typical * epochs / 3600,
            }
        )
    return rows


def cost_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the estimate in words, a line per method."""
    lines = []
    for row in rows:
        if not row["trials"]:
            lines.append(f"{row['method']}: nothing left to do.")
            continue
        time = "hours unknown until a trial has run here"
        if row["hours"] is not None:
            spent = timedelta(seconds=round(3600 * row["hours"]))
            time = f"{spent} (h:m:s) on one device, at {row['seconds_per_epoch']:.1f} s per epoch as so far"
        amount = f"{row['pmacs']:.1f} peta" if row["pmacs"] >= 1 else f"{1000 * row['pmacs']:.3g} tera"
        lines.append(f"{row['method']}: {row['trials']} trials, {row['epochs']} epochs, {amount} MACs; {time}.")
    return lines
