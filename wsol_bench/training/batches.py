"""Training batches: crop, flip and normalisation, drawn on the CPU and applied on the device."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.methods.base import Batch, Window

RESIZE_OVER_CROP = 256 / 224
"""Training images are squashed to this multiple of the frame before the random crop (256 for 224)."""

RESIDENT_BYTES = 2 << 30
"""A packed split up to this size is copied to the device once; a larger one is read batch by batch."""

READERS = 4
"""Threads that read batches of a split that is not held on the device, and batches read ahead."""

VIEW_SEED = 1
"""Fixed crops are the same for every trial, because their features are shared; a stream that no epoch has."""

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Crops:
    """Which part of which image.

    Attributes:
        rows: ``[B]`` positions in the training split.
        corners: ``[B, 2]`` row and column of the upper left corner in pixels.
        flips: ``[B]`` bool, mirrored after cropping.
        views: ``[B]`` number of the fixed crop, or None for free ones.
    """

    rows: Indices
    corners: Indices
    flips: NDArray[np.bool_]
    views: Indices | None = None

    def part(self, share: slice) -> Crops:
        """Returns some of them."""
        views = None if self.views is None else self.views[share]
        return Crops(self.rows[share], self.corners[share], self.flips[share], views)


def training_side(frame: int) -> int:
    """Returns the side to which training images are squashed before the random crop."""
    return round(frame * RESIZE_OVER_CROP)


def normalise(images: Tensor, mean_std: MeanStd) -> Tensor:
    """Maps uint8 ``[B, S, S, 3]`` to float ``[B, 3, S, S]`` with the given channel means and deviations.

    The result keeps the channels last in memory, which is how convolutions are fastest.
    """
    mean, std = _on(images.device, mean_std)
    return (images.permute(0, 3, 1, 2).float() / 255.0 - mean) / std


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Returns a writable array as a tensor on a device, without waiting for what a GPU is busy with."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    # Copies from other memory wait for everything before them; torch keeps pinned memory until its copy is made.
    return tensor.pin_memory().to(device, non_blocking=True)


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
        self._views: list[tuple[Indices, NDArray[np.bool_]]] = []
        self._resident: Tensor | None = None
        if split.images.nbytes <= resident_bytes:
            self._resident = torch.from_numpy(np.array(split.images)).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def steps(self, batch_size: int) -> int:
        """Returns the number of batches in an epoch.

        A last batch of a single image is dropped, because batch statistics need two, unless it is the only one.
        """
        return len(self.sizes(batch_size))

    def sizes(self, batch_size: int) -> list[int]:
        """Returns the number of images in every batch of an epoch."""
        full, rest = divmod(len(self), batch_size)
        return [batch_size] * full + ([rest] if rest > 1 or full == 0 else [])

    def epoch(self, epoch: int, batch_size: int, seed: int, views: int = 0) -> Iterator[Crops]:
        """Yields the crops of the batches of one epoch; they depend on the arguments only.

        Args:
            epoch: number of the epoch in the trial, from 1.
            batch_size: images per batch.
            seed: of the trial.
            views: draw among so many fixed crops of every image; 0: any crop.
        """
        rng = np.random.Generator(np.random.PCG64([seed, epoch]))
        order = rng.permutation(len(self))
        slack = self._images.shape[1] - self._frame
        for step in range(self.steps(batch_size)):
            chosen = order[step * batch_size : (step + 1) * batch_size]
            if views:
                yield self.view(chosen, rng.integers(0, views, size=len(chosen)))
                continue
            corners = rng.integers(0, slack + 1, size=(len(chosen), 2))
            yield Crops(chosen, corners, rng.random(len(chosen)) < 0.5)

    def view(self, rows: Indices, views: Indices) -> Crops:
        """Returns the fixed crops with the numbers ``views`` ``[B]`` of images ``rows`` ``[B]``."""
        slack = self._images.shape[1] - self._frame
        for number in range(len(self._views), int(views.max(initial=-1)) + 1):
            rng = np.random.Generator(np.random.PCG64([VIEW_SEED, 0, number]))
            corners = rng.integers(0, slack + 1, size=(len(self), 2))
            self._views.append((corners, rng.random(len(self)) < 0.5))
        corners = np.stack([self._views[view][0][row] for row, view in zip(rows, views, strict=True)])
        flips = np.array([self._views[view][1][row] for row, view in zip(rows, views, strict=True)])
        return Crops(rows, corners, flips, views)

    def batch(self, crops: Crops, mean_std: MeanStd, epoch: int = 1) -> Batch:
        """Cuts, flips and normalises.

        Args:
            crops: which part of which image.
            mean_std: for the normalisation.
            epoch: number of the epoch in its stage.
        """
        return self._cut(crops, self._take(crops.rows), mean_std, epoch)

    def _first_of(
        self, coming: deque[tuple[Crops, Future[Tensor]]], mean_std: MeanStd, epoch: int
    ) -> tuple[Crops, Batch]:
        crops, pixels = coming.popleft()
        return crops, self._cut(crops, pixels.result().to(self._device, non_blocking=True), mean_std, epoch)

    def _cut(self, crops: Crops, pixels: Tensor, mean_std: MeanStd, epoch: int) -> Batch:
        whole = self._images.shape[1]
        window = Window(
            self._on_device(crops.corners).float() / whole, self._frame / whole, self._on_device(crops.flips)
        )
        images = self._crop(pixels, crops.corners, crops.flips)
        return Batch(normalise(images, mean_std), self._labels[self._on_device(crops.rows)], epoch, window)

    def batches(self, crops: Iterable[Crops], mean_std: MeanStd, epoch: int) -> Iterator[tuple[Crops, Batch]]:
        """Yields crops and their batches (see :meth:`batch`).

        Of images that are not held on the device, the next batches are read while one is in use.
        """
        if self._resident is not None:
            for one in crops:
                yield one, self.batch(one, mean_std, epoch)
            return
        with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
            coming: deque[tuple[Crops, Future[Tensor]]] = deque()
            try:
                for one in crops:
                    coming.append((one, pool.submit(self._read, one.rows)))
                    if len(coming) > READERS:
                        yield self._first_of(coming, mean_std, epoch)
                while coming:
                    yield self._first_of(coming, mean_std, epoch)
            finally:
                pool.shutdown(cancel_futures=True)

    def whole(self, rows: Indices, mean_std: MeanStd) -> tuple[Tensor, Tensor]:
        """Returns whole images, squashed to the frame and normalised ``[B, 3, S, S]``, and labels ``[B]``."""
        images = normalise(self._take(rows), mean_std)
        size = (self._frame, self._frame)
        squashed = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        return squashed, self._labels[self._on_device(rows)]

    def _take(self, chosen: Indices) -> Tensor:
        if self._resident is None:
            return self._read(chosen).to(self._device, non_blocking=True)
        return self._resident[self._on_device(chosen)]

    def _read(self, chosen: Indices) -> Tensor:
        """Returns images in memory from which the device can copy while it computes."""
        pixels = torch.from_numpy(self._images[chosen])
        return pixels.pin_memory() if self._device.type == "cuda" else pixels

    def _crop(self, images: Tensor, corners: Indices, flips: NDArray[np.bool_]) -> Tensor:
        steps = np.arange(self._frame)
        rows = corners[:, 0, None] + steps
        columns = corners[:, 1, None] + np.where(flips[:, None], steps[::-1], steps)
        index = torch.arange(len(images), device=self._device)[:, None, None]
        return images[index, self._on_device(rows)[:, :, None], self._on_device(columns)[:, None, :]]

    def _on_device(self, array: NDArray[np.generic]) -> Tensor:
        return to_device(np.ascontiguousarray(array), self._device)


@functools.lru_cache(maxsize=8)
def _on(device: torch.device, mean_std: MeanStd) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in mean_std)
    return mean, std
