"""Training batches: random crop, flip and normalisation, drawn and computed on the device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.methods.base import Batch

RESIZE_OVER_CROP = 256 / 224
"""Training images are squashed to this multiple of the frame before the random crop (256 for 224)."""

RESIDENT_BYTES = 2 << 30
"""A packed split up to this size is copied to the device once; a larger one is read batch by batch."""


def training_side(frame: int) -> int:
    """Returns the side to which training images are squashed before the random crop."""
    return round(frame * RESIZE_OVER_CROP)


def normalise(images: Tensor, mean_std: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """Maps uint8 ``[B, S, S, 3]`` to float ``[B, 3, S, S]`` with the given channel means and deviations."""
    mean = torch.tensor(mean_std[0], device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(mean_std[1], device=images.device).view(1, 3, 1, 1)
    return (images.permute(0, 3, 1, 2).float() / 255.0 - mean) / std


class TrainingData:
    """A packed training split and its augmentation.

    Args:
        images: ``[N, R, R, 3]`` uint8, squashed to the training side.
        labels: ``[N]`` class indices.
        frame: side S of the crops.
        device: where batches are made.
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], frame: int, device: torch.device) -> None:
        self._frame = frame
        self._device = device
        self._source = images
        self._resident: Tensor | None = None
        if images.nbytes <= RESIDENT_BYTES:
            self._resident = torch.from_numpy(np.array(images)).to(device)
        self._labels = torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches in an epoch; a last batch of one image is dropped (batch statistics)."""
        full, rest = divmod(len(self), batch_size)
        return full + (rest > 1 or full == 0)

    def epoch(
        self, epoch: int, batch_size: int, seed: int, mean_std: tuple[tuple[float, ...], tuple[float, ...]]
    ) -> Iterator[Batch]:
        """Yields the batches of one epoch; order, crops and flips depend on ``seed`` and ``epoch`` only."""
        rng = np.random.Generator(np.random.PCG64([seed, epoch]))
        order = rng.permutation(len(self))
        slack = self._source.shape[1] - self._frame
        for step in range(self.steps(batch_size)):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            corners = rng.integers(0, slack + 1, size=(len(chosen), 2))
            flips = rng.random(len(chosen)) < 0.5
            images = self._crop(self._take(chosen), corners, flips)
            labels = self._labels[torch.from_numpy(chosen).to(self._device)]
            yield Batch(images=normalise(images, mean_std), labels=labels, epoch=epoch)

    def _take(self, chosen: NDArray[np.int64]) -> Tensor:
        if self._resident is not None:
            return self._resident[torch.from_numpy(chosen).to(self._device)]
        return torch.from_numpy(self._source[np.sort(chosen)][np.argsort(np.argsort(chosen))]).to(self._device)

    def _crop(self, images: Tensor, corners: NDArray[np.int64], flips: NDArray[np.bool_]) -> Tensor:
        steps = np.arange(self._frame)
        rows = corners[:, 0, None] + steps
        columns = corners[:, 1, None] + np.where(flips[:, None], steps[::-1], steps)
        index = torch.arange(len(images), device=self._device)[:, None, None]
        rows_index = torch.from_numpy(rows).to(self._device)[:, :, None]
        columns_index = torch.from_numpy(np.ascontiguousarray(columns)).to(self._device)[:, None, :]
        return images[index, rows_index, columns_index]
