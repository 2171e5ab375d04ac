"""From records and boxes to scores: reads what runs predicted and compares it with every annotation source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.errors import RecordError
from wsol_bench.judge.scores import AccuracyCurves, RunScores
from wsol_bench.maps.thresholds import level_taus, tau_grid
from wsol_bench.metrics.curve_counts import IOU_UNIT, TauIndex, add_counts, undifference
from wsol_bench.metrics.curve_iou import IouCurves, curves_of_boxes, iou_of_curves
from wsol_bench.protocol import Protocol
from wsol_bench.records.run_record import RunRecord, read_record


@dataclass(frozen=True)
class RecordedRun:
    """Where the records of one run lie.

    Attributes:
        label: name in tables.
        folder: the trial's folder with ``records/``.
        epochs: finished epochs, ascending.
    """

    label: str
    folder: Path
    epochs: tuple[int, ...]

    def record(self, split: str, epoch: int) -> RunRecord:
        """Reads the record of one epoch on one split.

        Raises:
            RecordError: it is missing or damaged.
        """
        return read_record(self.folder / "records" / f"{split}-{epoch:03d}.parquet")


def taus_of(protocol: Protocol) -> NDArray[np.float64]:
    """Returns the protocol's tau grid: all 255 levels of an 8-bit map, or a regular one."""
    return level_taus() if protocol.tau_grid == "levels" else tau_grid(protocol.tau_grid)


@dataclass(frozen=True)
class ScoringBoxes:
    """Boxes against which runs are scored.

    Attributes:
        val: boxes of the validation images by source; each covers every recorded image.
        keys: what the ledger calls each of these sources.
        test: manual boxes of the test images.
    """

    val: Mapping[str, BoxSet]
    keys: Mapping[str, str]
    test: BoxSet


def score_run(run: RecordedRun, boxes: ScoringBoxes, protocol: Protocol) -> RunScores:
    """Scores all epochs of a run.

    Args:
        run: the records.
        boxes: what to compare with.
        protocol: IoU thresholds and tau grid.

    Raises:
        RecordError: a record is missing, damaged, or covers other images than the run's other epochs.
        DataError: an image has no box in a source.
    """
    index = TauIndex.of(taus_of(protocol))
    fixed = TauIndex.of([0.0])
    thresholds = np.asarray(protocol.iou_thresholds, dtype=np.float64)
    val_parts: dict[str, list[_EpochCurves]] = {source: [] for source in boxes.val}
    test_parts: list[_EpochCurves] = []
    otsu_parts: list[_EpochCurves] = []
    top1: dict[str, list[float]] = {"val": [], "test": []}
    ids: dict[str, tuple[str, ...]] = {}
    for epoch in run.epochs:
        for split in ("val", "test"):
            record = run.record(split, epoch)
            if ids.setdefault(split, record.ids) != record.ids:
                raise RecordError(f"{run.folder}: the records of '{split}' cover other images at epoch {epoch}.")
            top1[split].append(100.0 * float(np.mean(record.top1_hits)))
            if split == "val":
                for source, truth in boxes.val.items():
                    val_parts[source].append(_EpochCurves.of(record, iou_of_record(record, truth), index, thresholds))
            else:
                test_parts.append(_EpochCurves.of(record, iou_of_record(record, boxes.test), index, thresholds))
                otsu_parts.append(_EpochCurves.of(record, otsu_iou(record, boxes.test), fixed, thresholds))
    return RunScores(
        label=run.label,
        epochs=run.epochs,
        taus=index.taus,
        val_top1=np.asarray(top1["val"]),
        test_top1=np.asarray(top1["test"]),
        val={source: _stack(parts) for source, parts in val_parts.items()},
        ledger_keys=boxes.keys,
        test=_stack(test_parts),
        otsu=_stack(otsu_parts),
        num_test=len(ids["test"]),
    )


def iou_of_record(record: RunRecord, boxes: BoxSet) -> IouCurves:
    """Returns the best IoU of every recorded box curve with the boxes of its image, in the record's frame."""
    chosen = boxes.select(record.ids)
    return iou_of_curves(record.curves, chosen.in_frame(record.frame, record.frame), chosen.offsets)


def otsu_iou(record: RunRecord, boxes: BoxSet) -> IouCurves:
    """Returns the best IoU of every recorded Otsu box, as curves that do not depend on tau."""
    chosen = boxes.select(record.ids)
    return iou_of_curves(
        curves_of_boxes(record.otsu_boxes), chosen.in_frame(record.frame, record.frame), chosen.offsets
    )


@dataclass(frozen=True)
class _EpochCurves:
    box_acc: NDArray[np.float64]
    mean_iou: NDArray[np.float64]
    top1_loc: NDArray[np.float64]

    @classmethod
    def of(cls, record: RunRecord, curves: IouCurves, index: TauIndex, thresholds: NDArray[np.float64]) -> _EpochCurves:
        groups = np.stack([np.ones(len(record), dtype=np.bool_), record.top1_hits])
        hits = np.zeros((2, len(thresholds), len(index)), dtype=np.int64)
        sums = np.zeros((2, len(index)), dtype=np.int64)
        add_counts(curves, index, thresholds, groups, hits, sums)
        percent = 100.0 / len(record)
        counts = undifference(hits) * percent
        return cls(counts[0], undifference(sums)[0] / IOU_UNIT * percent, counts[1])


def _stack(parts: Sequence[_EpochCurves]) -> AccuracyCurves:
    return AccuracyCurves(
        box_acc=np.stack([part.box_acc for part in parts]),
        mean_iou=np.stack([part.mean_iou for part in parts]),
        top1_loc=np.stack([part.top1_loc for part in parts]),
    )
