"""From records and boxes to scores: reads what runs predicted and compares it with every annotation source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.errors import RecordError
from wsol_bench.judge.scores import AccuracyCurves, RunScores, TestScores, ValidationScores
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.thresholds import level_taus, tau_grid
from wsol_bench.metrics.curve_counts import IOU_UNIT, TauIndex
from wsol_bench.metrics.curve_iou import IouCurves, curves_of_boxes, iou_of_curves
from wsol_bench.metrics.source_counts import StackedBoxes, count_sources
from wsol_bench.protocol import Protocol, TauGrids
from wsol_bench.records.run_record import RunRecord, missing_record, read_record


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

    def path(self, split: str, epoch: int) -> Path:
        """Returns where the record of one epoch on one split lies."""
        return self.folder / "records" / f"{split}-{epoch:03d}.parquet"

    def record(self, split: str, epoch: int) -> RunRecord:
        """Reads the record of one epoch on one split.

        Raises:
            RecordError: it is missing or damaged.
        """
        return read_record(self.path(split, epoch))


def taus_of(protocol: Protocol, split: str = "test") -> NDArray[np.float64]:
    """Returns the protocol's tau grid of a split: all 255 levels of an 8-bit map, or a regular one."""
    grid = protocol.tau_grid
    if isinstance(grid, TauGrids):
        return tau_grid(grid.val if split == "val" else grid.test)
    return level_taus() if grid == "levels" else tau_grid(grid)


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


class Scorer:
    """Scores runs against one set of boxes under one protocol.

    Validation records are read for every epoch, test records only for the epochs that are asked for.

    Args:
        boxes: what to compare with.
        protocol: IoU thresholds and tau grids.
        threads: records that are read and scored at the same time.
    """

    def __init__(self, boxes: ScoringBoxes, protocol: Protocol, threads: int = 1) -> None:
        self._boxes = boxes
        self._levels = np.asarray(protocol.iou_thresholds, dtype=np.float64)
        self._val_index = TauIndex.of(taus_of(protocol, "val"))
        self._test_index = TauIndex.of(taus_of(protocol, "test"))
        self._otsu_index = TauIndex.of([0.0])
        self._val_targets = _Targets(list(boxes.val.values()))
        self._test_targets = _Targets([boxes.test])
        self._threads = threads
        self._test_images: tuple[tuple[str, ...], RecordedRun] | None = None

    def score(self, runs: Sequence[RecordedRun], dropped: list[str] | None = None) -> list[RunScores | None]:
        """Scores all epochs of several runs on the validation split; test scores follow when asked for.

        Args:
            runs: whose records are read.
            dropped: epochs that cannot be used are left out and named here; None takes them for an error. An epoch
                needs a readable validation record and a test record.

        Returns:
            One entry per run, None where no epoch is left.

        Raises:
            RecordError: records are missing, damaged, of another version, or cover other images than the run's other
                epochs (all of them are named); or runs cover different images.
            DataError: an image has no box in a source.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            parts = list(pool.map(self._score_run, runs))
        problems = [problem for _, found in parts for problem in found]
        if dropped is None and problems:
            raise RecordError(summary_of(problems))
        if dropped is not None:
            dropped += problems
        scored = [scores for scores, _ in parts]
        self._check_images([(run, one) for run, one in zip(runs, scored, strict=True) if one is not None])
        return scored

    def read_ahead(self, scores: Sequence[RunScores], wanted: Iterable[tuple[int, int]]) -> None:
        """Reads the test scores of runs and epochs, both by index, several at a time.

        Raises:
            UnreadableTestError: a record is damaged; it says which.
            RecordError: it covers other images than the others.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(lambda pair: scores[pair[0]].test[pair[1]], wanted))

    def _score_run(self, run: RecordedRun) -> tuple[RunScores | None, list[str]]:
        """Returns the scores of the epochs that are whole, and what is wrong with the others."""
        parts: list[_ValidationEpoch] = []
        problems: list[str] = []
        for epoch in run.epochs:
            try:
                record = run.record("val", epoch)
                if not run.path("test", epoch).is_file():
                    raise missing_record(run.path("test", epoch))
                if parts and parts[0].ids != record.ids:
                    raise other_images(run, "val", epoch)
            except RecordError as error:
                problems.append(str(error))
                continue
            parts.append(self._score_val(record, epoch))
        if not parts:
            return None, problems
        usable = RecordedRun(run.label, run.folder, tuple(part.epoch for part in parts))
        val = {
            source: ValidationScores(
                np.stack([part.box_acc[k] for part in parts]),
                np.stack([part.box_acc_tau[k] for part in parts]),
                np.asarray([part.mean_iou[k] for part in parts]),
                np.asarray([part.mean_iou_tau[k] for part in parts]),
            )
            for k, source in enumerate(self._boxes.val)
        }
        scores = RunScores(
            label=run.label,
            epochs=usable.epochs,
            taus=self._test_index.taus,
            val_taus=self._val_index.taus,
            val_top1=np.asarray([part.top1 for part in parts]),
            val=val,
            ledger_keys=self._boxes.keys,
            test=_TestOnDemand(self, usable),
            val_ids=parts[0].ids,
        )
        return scores, problems

    def _score_val(self, record: RunRecord, epoch: int) -> _ValidationEpoch:
        everybody = np.ones((1, len(record)), dtype=np.bool_)
        hits, sums = count_sources(
            record.curves, self._val_targets.of(record), self._val_index, self._levels, everybody
        )
        best, iou_best = hits[:, 0].argmax(axis=2), sums.argmax(axis=1)
        percent = np.float64(100.0 / len(record))
        return _ValidationEpoch(
            epoch=epoch,
            ids=record.ids,
            top1=100.0 * float(np.mean(record.top1_hits)),
            box_acc=np.take_along_axis(hits[:, 0], best[..., None], axis=2)[..., 0] * percent,
            box_acc_tau=best,
            mean_iou=np.take_along_axis(sums, iou_best[:, None], axis=1)[:, 0] / IOU_UNIT * percent,
            mean_iou_tau=iou_best,
        )

    def _check_images(self, scored: Sequence[tuple[RecordedRun, RunScores]]) -> None:
        for run, scores in scored[1:]:
            if scores.val_ids != scored[0][1].val_ids:
                raise different_runs(run, scored[0][0], "val")

    def score_test(self, run: RecordedRun, epoch: int) -> TestScores:
        """Scores one epoch, by number, on the test split.

        Raises:
            UnreadableTestError: the record cannot be used.
            RecordError: it covers other images than those scored before.
        """
        try:
            record = run.record("test", epoch)
        except RecordError as error:
            raise UnreadableTestError(run, epoch, str(error)) from error
        if self._test_images is None:
            self._test_images = (record.ids, run)
        if self._test_images[0] != record.ids:
            raise different_runs(run, self._test_images[1], "test")
        targets = self._test_targets.of(record)
        otsu = curves_of_boxes(record.otsu_boxes)
        return TestScores(
            top1=100.0 * float(np.mean(record.top1_hits)),
            curves=self._curves(record, record.curves, targets, self._test_index),
            otsu=self._curves(record, otsu, targets, self._otsu_index),
            n=len(record),
        )

    def _curves(self, record: RunRecord, curves: BoxCurves, targets: StackedBoxes, index: TauIndex) -> AccuracyCurves:
        groups = np.stack([np.ones(len(record), dtype=np.bool_), record.top1_hits])
        hits, sums = count_sources(curves, targets, index, self._levels, groups)
        percent = 100.0 / len(record)
        return AccuracyCurves(hits[0, 0] * percent, sums[0] / IOU_UNIT * percent, hits[0, 1] * percent)


@dataclass(frozen=True)
class _ValidationEpoch:
    """One epoch against S sources: ``[S, D]`` and ``[S]`` arrays as in :class:`ValidationScores`."""

    epoch: int
    ids: tuple[str, ...]
    top1: float
    box_acc: NDArray[np.float64]
    box_acc_tau: NDArray[np.int64]
    mean_iou: NDArray[np.float64]
    mean_iou_tau: NDArray[np.int64]


@dataclass
class _TestOnDemand(Mapping[int, TestScores]):
    """Test scores of a run by index of the epoch, each read once when it is first asked for."""

    scorer: Scorer
    run: RecordedRun
    known: dict[int, TestScores] = field(default_factory=dict)

    def __getitem__(self, index: int) -> TestScores:
        if index not in self.known:
            self.known[index] = self.scorer.score_test(self.run, self.run.epochs[index])
        return self.known[index]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.run.epochs)))

    def __len__(self) -> int:
        return len(self.run.epochs)


class _Targets:
    """Boxes of several sources in the frame of the records that are compared with them; threads may share it."""

    def __init__(self, sources: Sequence[BoxSet]) -> None:
        self._sources = sources
        self._last: tuple[tuple[str, ...], int, StackedBoxes] = ((), 0, StackedBoxes.of([], [], 1))

    def of(self, record: RunRecord) -> StackedBoxes:
        """Returns the boxes of a record's images.

        Raises:
            DataError: an image has no box.
        """
        ids, frame, stacked = self._last
        if frame != record.frame or ids != record.ids:
            stacked = StackedBoxes.of(self._sources, record.ids, record.frame)
            self._last = record.ids, record.frame, stacked
        return stacked


class UnreadableTestError(RecordError):
    """The test record of an epoch cannot be used.

    Attributes:
        run: whose record.
        epoch: its number.
    """

    def __init__(self, run: RecordedRun, epoch: int, message: str) -> None:
        super().__init__(message)
        self.run = run
        self.epoch = epoch


def score_run(run: RecordedRun, boxes: ScoringBoxes, protocol: Protocol) -> RunScores:
    """Scores one run; arguments and errors as for :class:`Scorer`.

    Raises:
        RecordError: also where the run has no epoch.
    """
    scores = Scorer(boxes, protocol).score([run])[0]
    if scores is None:
        raise RecordError(f"{run.folder}: expected at least one finished epoch but there is none.")
    return scores


def summary_of(problems: Sequence[str], shown: int = 3) -> str:
    """Joins what is wrong with several records into one message."""
    if len(problems) == 1:
        return problems[0]
    rest = f" (and {len(problems) - shown} more)" if len(problems) > shown else ""
    return (
        f"{len(problems)} records cannot be used: {' | '.join(problems[:shown])}{rest}. --allow-missing goes on with "
        "those that are whole."
    )


def other_images(run: RecordedRun, split: str, epoch: int) -> RecordError:
    """Returns the error for an epoch whose images are not those of the run's other epochs."""
    return RecordError(
        f"{run.path(split, epoch)}: expected the images of the run's other epochs but got others; fix: delete "
        f"{run.folder} and run 'wsol-bench sweep' again."
    )


def different_runs(run: RecordedRun, first: RecordedRun, split: str) -> RecordError:
    """Returns the error for a run whose images are not those of another one."""
    return RecordError(
        f"{run.folder}: expected the same {split} images as {first.folder} but got others, as when only one of them "
        "skipped unreadable images; fix: delete one of the two and run the command again."
    )


def iou_of_record(record: RunRecord, boxes: BoxSet) -> IouCurves:
    """Returns the best IoU of every recorded box curve with the boxes of its image, in the record's frame."""
    return _ious(record.curves, record, boxes)


def otsu_iou(record: RunRecord, boxes: BoxSet) -> IouCurves:
    """Returns the best IoU of every recorded Otsu box, as curves that do not depend on tau."""
    return _ious(curves_of_boxes(record.otsu_boxes), record, boxes)


def _ious(curves: BoxCurves, record: RunRecord, boxes: BoxSet) -> IouCurves:
    chosen = boxes.select(record.ids)
    return iou_of_curves(curves, chosen.in_frame(record.frame, record.frame), chosen.offsets)
