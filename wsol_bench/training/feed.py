"""What training steps and recordings are fed with: batches, harvested answers, and kept answers of frozen parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import torch
from torch import Tensor

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.methods.base import Batch, Method
from wsol_bench.models.frozen import Answers, FrozenFunction, frozen_functions
from wsol_bench.training.batches import RESIDENT_BYTES, VIEW_SEED, Crops, MeanStd, TrainingData, normalise, to_device
from wsol_bench.training.kept_answers import KeptAnswers, Rows, View, answering
from wsol_bench.training.parallel import ALONE, World


class TrainingFeed:
    """The batches of one trial.

    Args:
        split: training images, squashed to the training side.
        frame: side of the crops.
        answers: of frozen parts.
        world: the processes that share the batches.
        resident_bytes: size up to which all images are copied to the device.
    """

    def __init__(
        self,
        split: PackedSplit,
        frame: int,
        answers: KeptAnswers,
        world: World = ALONE,
        resident_bytes: int = RESIDENT_BYTES,
    ) -> None:
        self._split = split
        self._answers = answers
        self._frame = frame
        self._world = world
        self._data = TrainingData(split, frame, answers.device, resident_bytes)

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches in an epoch."""
        return self._data.steps(batch_size)

    def sizes(self, batch_size: int) -> list[int]:
        """Returns the number of images in every batch of an epoch, all processes together."""
        return self._data.sizes(batch_size)

    def epoch(self, method: Method, epoch: int, batch_size: int, seed: int, within: int) -> Iterator[Batch]:
        """Yields this process's share of the batches of one epoch; frozen parts answer for the one that is in use.

        The crops of all processes together are those of a process alone.

        Args:
            method: in the stage in progress.
            epoch: number of the epoch in the trial, from 1.
            batch_size: images per batch.
            seed: of the trial.
            within: number of the epoch in its stage.
        """
        parts = frozen_functions(method) if method.views else []
        mean_std = method.mean_std
        whole = self._whole(mean_std)
        harvest = {name: self._answers.of(part, self._split, whole) for name, part in method.harvest().items()}
        drawn = self._data.epoch(epoch, batch_size, seed, method.views)
        shares = (crops.part(self._world.share(len(crops.rows))[0]) for crops in drawn)
        for crops, batch in self._data.batches(shares, mean_std, within):
            if harvest:
                found = {name: shelf.take(crops.rows) for name, shelf in harvest.items()}
                batch = dataclasses.replace(batch, harvest=found)
            with answering(parts, batch.images, batch.labels, partial(self._of_crops, crops, mean_std)):
                yield batch

    def _of_crops(self, crops: Crops, mean_std: MeanStd, part: FrozenFunction) -> Answers:
        assert crops.views is not None  # noqa: S101 - parts are served for fixed crops only
        pieces: list[Answers] = []
        places = []
        for view in np.unique(crops.views):
            here = np.flatnonzero(crops.views == view)
            pieces.append(self._answers.of(part, self._split, self._crop(int(view), mean_std)).take(crops.rows[here]))
            places.append(here)
        back = torch.from_numpy(np.argsort(np.concatenate(places))).to(self._answers.device)
        return {name: torch.cat([piece[name] for piece in pieces])[back] for name in pieces[0]}

    def _whole(self, mean_std: MeanStd) -> View:
        return View("whole", f"{mean_std} {self._frame}", partial(self._data.whole, mean_std=mean_std))

    def _crop(self, number: int, mean_std: MeanStd) -> View:
        def images(rows: Rows) -> tuple[Tensor, Tensor]:
            batch = self._data.batch(self._data.view(rows, np.full(len(rows), number)), mean_std)
            return batch.images, batch.labels

        return View(f"crop-{number}", f"{VIEW_SEED} {mean_std} {self._frame}", images)


class RecordingFeed:
    """A split as it is recorded: squashed to the frame, in order.

    Args:
        split: the images.
        method: who predicts.
        device: where it lives.
        answers: of frozen parts; None computes them.
    """

    def __init__(
        self, split: PackedSplit, method: Method, device: torch.device, answers: KeptAnswers | None = None
    ) -> None:
        self._split = split
        self._device = device
        self._answers = answers
        self._parts = frozen_functions(method) if answers is not None else []
        self._mean_std = method.mean_std

    def images(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Returns normalised images ``[B, 3, S, S]`` and labels ``[B]``."""
        pixels = to_device(np.array(self._split.images[rows[0] : rows[-1] + 1]), self._device)
        labels = to_device(self._split.labels[rows].astype(np.int64), self._device)
        return normalise(pixels, self._mean_std), labels

    def answering(self, images: Tensor, labels: Tensor, rows: Rows) -> AbstractContextManager[None]:
        """Lets frozen parts answer for images ``rows`` from what is kept."""
        return answering(self._parts, images, labels, lambda part: self._of(part, rows))

    def _of(self, part: FrozenFunction, rows: Rows) -> Answers:
        assert self._answers is not None  # noqa: S101 - without answers no part is served
        view = View("frame", f"{self._mean_std}", self.images)
        return self._answers.of(part, self._split, view).take(rows)
