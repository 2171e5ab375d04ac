"""Training batches: random crop, flip and normalisation, drawn on the CPU and applied on the device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.methods.base import Batch

RESIZE_OVER_CROP = 256 / 224
"""Training images are squashed to this multiple of the frame before the random crop (256 for 224)."""

RESIDENT_BYTES = 2 << 30
"""A packed split up to this size is copied to the device once; a larger one is read batch by batch."""

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]


def training_side(frame: int) -> int:
    """Returns the side to which training images are squashed before the random crop."""
    return round(frame * RESIZE_OVER_CROP)


def normalise(images: Tensor, mean_std: MeanStd) -> Tensor:
    """Maps uint8 ``[B, S, S, 3]`` to float ``[B, 3, S, S]`` with the given channel means and deviations.

    The result keeps the channels last in memory, which is how convolutions are fastest.
    """
    mean = torch.tensor(mean_std[0], device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(mean_std[1], device=images.device).view(1, 3, 1, 1)
    return (images.permute(0, 3, 1, 2).float() / 255.0 - mean) / std


class TrainingData:
    """A packed training split and its augmentation.

    Args:
        split: images squashed to the training side.
        frame: side S of the crops.
        device: where batches are made.
        resident_bytes: size up to which all images are copied to the device.
    """

    def __init__(
        self, split: PackedSplit, frame: int, device: torch.device, resident_bytes: int = RESIDENT_BYTES
    ) -> None:
        self._frame = frame
        self._device = device
        self._images = split.images
        self._labels = torch.from_numpy(np.asarray(split.labels, dtype=np.int64)).to(device)
        self._resident: Tensor | None = None
        if split.images.nbytes <= resident_bytes:
            self._resident = torch.from_numpy(np.array(split.images)).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches in an epoch.

        A last batch of a single image is dropped, because batch statistics need two, unless it is the only one.
        """
        full, rest = divmod(len(self), batch_size)
        return full + (rest > 1 or full == 0)

    def epoch(
        self, epoch: int, batch_size: int, seed: int, mean_std: MeanStd, within: int | None = None
    ) -> Iterator[Batch]:
        """Yields the batches of one epoch; order, crops and flips depend on ``seed`` and ``epoch`` only.

        Args:
            epoch: number of the epoch in the trial, from 1.
            batch_size: images per batch.
            seed: of the trial.
            mean_std: for the normalisation.
            within: number of the epoch in its stage; ``epoch`` when not given.
        """
        rng = np.random.Generator(np.random.PCG64([seed, epoch]))
        order = rng.permutation(len(self))
        slack = self._images.shape[1] - self._frame
        for step in range(self.steps(batch_size)):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            corners = rng.integers(0, slack + 1, size=(len(chosen), 2))
            flips = rng.random(len(chosen)) < 0.5
            images = self._crop(self._take(chosen), corners, flips)
            yield Batch(
                images=normalise(images, mean_std), labels=self._labels[self._on_device(chosen)], epoch=within or epoch
            )

    def _take(self, chosen: NDArray[np.int64]) -> Tensor:
        if self._resident is None:
            return self._on_device(self._images[chosen])
        return self._resident[self._on_device(chosen)]

    def _crop(self, images: Tensor, corners: NDArray[np.int64], flips: NDArray[np.bool_]) -> Tensor:
        steps = np.arange(self._frame)
        rows = corners[:, 0, None] + steps
        columns = corners[:, 1, None] + np.where(flips[:, None], steps[::-1], steps)
        index = torch.arange(len(images), device=self._device)[:, None, None]
        return images[index, self._on_device(rows)[:, :, None], self._on_device(columns)[:, None, :]]

    def _on_device(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
