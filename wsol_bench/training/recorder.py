"""The recorder: one pass over a split, and everything the judge will ever ask of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.normalise import clean, min_max, quantise, score_maps
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.maps.peak import peaks
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.methods.base import Localization, Method
from wsol_bench.records.run_record import NO_CLASS, RunRecord
from wsol_bench.training.config import Precision
from wsol_bench.training.contract import checked_localization
from wsol_bench.training.feed import RecordingFeed
from wsol_bench.training.kept_answers import KeptAnswers
from wsol_bench.training.parallel import World
from wsol_bench.training.precision import autocast

_BATCHES_BEHIND = 2
"""Predicted batches that wait for the CPU; more would only hold memory."""


def record_split(
    method: Method,
    split: PackedSplit,
    num_classes: int,
    *,
    device: torch.device,
    batch_size: int | None = None,
    keep_maps: bool = False,
    answers: KeptAnswers | None = None,
    precision: Precision = "fp32",
) -> RunRecord:
    """Predicts a split in evaluation mode and returns its record.

    Maps are those of the label of each image (GT-known). Scores that are not finite are recorded as they are; the
    training loop takes them for divergence.

    Args:
        method: the model; the training mode of all its modules is restored afterwards.
        split: N images, squashed to the frame.
        num_classes: C.
        device: where the model lives.
        batch_size: images per forward pass; None means 32 on a CPU, where more would not fit its caches, and 128
            elsewhere. Does not change the record beyond the rounding of the network's own arithmetic.
        keep_maps: also store the maps at their own resolution, which masks need.
        answers: of the method's frozen parts; None computes them.
        precision: of the network; what follows it is float32 or better.

    Raises:
        PluginError: the method returns something else than maps and logits of the right shapes.
    """
    recorder = _Recorder(method, split, num_classes, device, batch_size, keep_maps, answers, precision)
    return recorder.record(recorder.parts(0, 1))


def record_together(
    world: World,
    method: Method,
    split: PackedSplit,
    num_classes: int,
    *,
    device: torch.device,
    keep_maps: bool = False,
    answers: KeptAnswers | None = None,
    precision: Precision = "fp32",
) -> RunRecord | None:
    """Records a split with all processes of a world, each predicting every so many-th batch.

    The batches are those of a process alone, so that the record is the same.

    Returns:
        The record in the first process, None in the others.
    """
    recorder = _Recorder(method, split, num_classes, device, None, keep_maps, answers, precision)
    shares = world.gather(recorder.parts(world.rank, world.size))
    if shares is None:
        return None
    batches = sum(len(share) for share in shares)
    return recorder.record([shares[index % world.size][index // world.size] for index in range(batches)])


@dataclass(frozen=True)
class _Recorder:
    method: Method
    split: PackedSplit
    num_classes: int
    device: torch.device
    batch_size: int | None
    keep_maps: bool
    answers: KeptAnswers | None
    precision: Precision

    def parts(self, first: int, every: int) -> list[_Part]:
        """Predicts batches ``first``, ``first + every``, and so on.

        What is done on the CPU with one batch and what a GPU does with the next happen at the same time.
        """
        size = self.batch_size or (32 if self.device.type == "cpu" else 128)
        with _evaluating(self.method), torch.no_grad():
            feed = RecordingFeed(self.split, self.method, self.device, self.answers)
            predictions = (
                self._predicted(feed, np.arange(start, min(start + size, len(self.split))))
                for start in range(first * size, len(self.split), every * size)
            )
            if not _overlaps(self.device):
                return [self._part(prediction) for prediction in predictions]
            with ThreadPoolExecutor(1, thread_name_prefix="sweep") as pool:
                pending: deque[Future[_Part]] = deque()
                parts: list[_Part] = []
                for prediction in predictions:
                    pending.append(pool.submit(self._part, prediction))
                    if len(pending) > _BATCHES_BEHIND:
                        parts.append(pending.popleft().result())
                return parts + [one.result() for one in pending]

    def _predicted(self, feed: RecordingFeed, rows: NDArray[np.int64]) -> Localization:
        images, labels = feed.images(rows)
        with feed.answering(images, labels, rows), autocast(self.precision, self.device):
            prediction = self.method.localize(images, labels)
        return checked_localization(self.method, prediction, len(rows), self.num_classes)

    def _part(self, prediction: Localization) -> _Part:
        return _Part(prediction, self.split.images.shape[1], self.keep_maps)

    def record(self, parts: list[_Part]) -> RunRecord:
        """Joins the parts of all batches, in their order."""
        return RunRecord(
            ids=self.split.ids,
            labels=self.split.labels.astype(np.int16),
            top5=np.concatenate([part.top5 for part in parts]),
            top5_scores=np.concatenate([part.top5_scores for part in parts]),
            peaks=np.concatenate([part.peaks for part in parts]),
            otsu_boxes=np.concatenate([part.otsu_boxes for part in parts]),
            curves=BoxCurves.concatenate([part.curves for part in parts]),
            frame=self.split.images.shape[1],
            maps=np.concatenate([part.maps for part in parts if part.maps is not None]) if self.keep_maps else None,
        )


def _overlaps(device: torch.device) -> bool:
    """Whether the network leaves the CPU free; where it runs on the CPU, a second thread would only be in its way."""
    return device.type != "cpu"


class _Part:
    """What one batch adds to a record."""

    def __init__(self, prediction: Localization, frame: int, keep_maps: bool) -> None:
        native = prediction.maps.float().cpu().numpy()
        scores = score_maps(native, frame)
        levels = quantise(scores)
        self.top5, self.top5_scores = _top5(prediction.logits)
        self.peaks = peaks(scores)
        self.curves = sweep_largest(levels)
        self.otsu_boxes = otsu_boxes(levels, self.curves)
        self.maps = min_max(clean(native)).astype(np.float16) if keep_maps else None


def _top5(logits: Tensor) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    order = torch.argsort(logits, dim=1, descending=True, stable=True)[:, :5]
    scores = torch.gather(torch.softmax(logits.float(), dim=1), 1, order)
    missing = 5 - order.shape[1]
    classes = F.pad(order, (0, missing), value=NO_CLASS)
    return classes.cpu().numpy().astype(np.int16), F.pad(scores, (0, missing)).cpu().numpy()


@contextmanager
def _evaluating(method: Method) -> Iterator[None]:
    # Module by module, because a method may keep some of them, such as frozen encoders, in evaluation mode always.
    modes = {module: module.training for module in method.modules()}
    method.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
