"""From records with maps and masks to scores: PxAP of every epoch on the validation split, of chosen ones on test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import RecordError
from wsol_bench.judge.frame_masks import FrameMasks, frame_maps, without_maps
from wsol_bench.judge.scoring import RecordedRun, UnreadableTestError, different_runs, other_images, summary_of
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.px_ap import PixelAveragePrecision, PxApResult
from wsol_bench.records.run_record import RunRecord, missing_record, read_record

TAU_STEP = 0.001
"""Width of the bins of PxAP, as in the reference evaluator."""


@dataclass(frozen=True)
class ScoringMasks:
    """Masks against which runs are scored.

    Attributes:
        val: masks of the validation images by source; each covers every recorded image.
        test: exact masks of the test images.
    """

    val: Mapping[str, FrameMasks]
    test: FrameMasks


@dataclass(frozen=True)
class MaskScores:
    """One run against several sets of masks.

    Attributes:
        run: whose scores these are, with the E epochs that can be used.
        val_ids: the validation images.
        val_top1: ``[E]`` top-1 accuracy on the validation split, percent.
        val: ``[E]`` PxAP on the validation split by source, percent.
    """

    run: RecordedRun
    val_ids: tuple[str, ...]
    val_top1: NDArray[np.float64]
    val: Mapping[str, NDArray[np.float64]]

    def without(self, epoch: int) -> MaskScores | None:
        """Returns the run as if it had never finished the epoch with this number; None where none is left."""
        kept = [place for place, number in enumerate(self.run.epochs) if number != epoch]
        if not kept:
            return None
        return replace(
            self,
            run=replace(self.run, epochs=tuple(self.run.epochs[place] for place in kept)),
            val_top1=self.val_top1[kept],
            val={source: scores[kept] for source, scores in self.val.items()},
        )


@dataclass(frozen=True)
class MaskTestScores:
    """One epoch on the test split.

    Attributes:
        top1: top-1 accuracy in percent.
        px_ap: against the exact masks.
    """

    top1: float
    px_ap: PxApResult


class MaskScorer:
    """Scores runs against masks; test records are read only for the epochs that are asked for.

    Args:
        masks: what to compare with.
        threads: records that are read and scored at the same time.
    """

    def __init__(self, masks: ScoringMasks, threads: int = 1) -> None:
        self._masks = masks
        self._threads = threads
        self._tested: dict[tuple[RecordedRun, int, int], MaskTestScores] = {}
        self._test_images: tuple[tuple[str, ...], RecordedRun] | None = None

    def score(self, runs: Sequence[RecordedRun], dropped: list[str] | None = None) -> list[MaskScores | None]:
        """Scores all epochs of several runs on the validation split.

        Args:
            runs: whose records are read.
            dropped: epochs that cannot be used are left out and named here; None takes them for an error. An epoch
                needs a readable validation record with maps and a test record.

        Returns:
            One entry per run, None where no epoch is left.

        Raises:
            RecordError: records are missing, damaged, without maps, or cover other images than the others.
            UsageError: an image has no mask in a source.
        """
        with ThreadPoolExecutor(self._threads) as pool:
            parts = list(pool.map(self._score_run, runs))
        problems = [problem for _, found in parts for problem in found]
        if dropped is None and problems:
            raise RecordError(summary_of(problems))
        if dropped is not None:
            dropped += problems
        scored = [scores for scores, _ in parts]
        whole = [one for one in scored if one is not None]
        for one in whole[1:]:
            if one.val_ids != whole[0].val_ids:
                raise different_runs(one.run, whole[0].run, "val")
        return scored

    def read_ahead(self, wanted: Iterable[tuple[RecordedRun, int]]) -> None:
        """Scores runs and epochs, by number, on the test split, several at a time; errors as for :meth:`test`."""
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(lambda pair: self.test(*pair), dict.fromkeys(wanted)))

    def test(self, run: RecordedRun, epoch: int, replicates: int = 0) -> MaskTestScores:
        """Scores one epoch, by number, on the test split; the same question again costs nothing.

        Args:
            run: whose record is read.
            epoch: its number.
            replicates: bootstrap replicates over the test images.

        Raises:
            UnreadableTestError: the record cannot be used.
            RecordError: it covers other images than those scored before.
        """
        key = (run, epoch, replicates)
        if key not in self._tested:
            try:
                record = _record(run, "test", epoch)
            except RecordError as error:
                raise UnreadableTestError(run, epoch, str(error)) from error
            if self._test_images is None:
                self._test_images = (record.ids, run)
            if self._test_images[0] != record.ids:
                raise different_runs(run, self._test_images[1], "test")
            result = _px_ap(record, {"the test set": self._masks.test}, replicates)["the test set"]
            self._tested[key] = MaskTestScores(_top1(record), result)
        return self._tested[key]

    def _score_run(self, run: RecordedRun) -> tuple[MaskScores | None, list[str]]:
        """Returns the scores of the epochs that are whole, and what is wrong with the others."""
        epochs: list[int] = []
        ids: tuple[str, ...] = ()
        top1: list[float] = []
        val: dict[str, list[float]] = {source: [] for source in self._masks.val}
        problems: list[str] = []
        for epoch in run.epochs:
            try:
                record = _record(run, "val", epoch)
                if not run.path("test", epoch).is_file():
                    raise missing_record(run.path("test", epoch))
                if epochs and ids != record.ids:
                    raise other_images(run, "val", epoch)
            except RecordError as error:
                problems.append(str(error))
                continue
            epochs.append(epoch)
            ids = record.ids
            top1.append(_top1(record))
            for source, result in _px_ap(record, self._masks.val, 0).items():
                val[source].append(result.px_ap)
        if not epochs:
            return None, problems
        scores = MaskScores(
            run=replace(run, epochs=tuple(epochs)),
            val_ids=ids,
            val_top1=np.asarray(top1),
            val={source: np.asarray(values) for source, values in val.items()},
        )
        return scores, problems


def _record(run: RecordedRun, split: str, epoch: int) -> RunRecord:
    record = read_record(run.path(split, epoch), with_maps=True)
    if record.maps is None:
        raise without_maps(run.path(split, epoch))
    return record


def _top1(record: RunRecord) -> float:
    return 100.0 * float(np.mean(record.top1_hits))


def _px_ap(record: RunRecord, sources: Mapping[str, FrameMasks], replicates: int) -> dict[str, PxApResult]:
    meters = {source: PixelAveragePrecision(tau_grid(TAU_STEP), replicates=replicates) for source in sources}
    masks = {source: one.of(record.ids) for source, one in sources.items()}
    for part, maps in frame_maps(record):
        for source, meter in meters.items():
            meter.update(maps, masks[source][part], ids=record.ids[part])
    return {source: meter.compute() for source, meter in meters.items()}
