"""What the checks of a method work with: fresh copies of it, a handful of critters, and words for what went wrong."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.hparams import Value
from wsol_bench.training.batches import normalise
from wsol_bench.training.contract import checked_localization, total_loss

FRAME = 64
IMAGES = 8
EPOCHS = 4
"""Budget that the stages of a method divide."""

RATE = 1e-3


class CheckFailure(Exception):  # noqa: N818 - a finding about a plug-in, not a fault of the suite
    """What a check found wrong, in words for the author of the method."""


@dataclass(frozen=True)
class MethodCase:
    """A method under test.

    Attributes:
        method_class: the class.
        hparams: values of its own hyper-parameters that differ from their defaults.
        num_classes: C.
    """

    method_class: type[Method]
    hparams: Mapping[str, Value]
    num_classes: int = 10

    def build(self, seed: int = 0, num_classes: int | None = None, frame: int = FRAME) -> Method:
        """Returns a fresh method in its first stage, in training mode."""
        classes = num_classes or self.num_classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            method = self.method_class()
            names = [f"class {i}" for i in range(classes)]
            method.build(classes, names, self.method_class.HParams.from_dict(self.hparams), frame)
        method.enter_stage(method.stages(EPOCHS)[0].name)
        return method.train()

    def finished(self, **options: Any) -> Method:
        """Returns a fresh method in its last stage, in evaluation mode."""
        method = self.build(**options)
        for stage in method.stages(EPOCHS)[1:]:
            method.enter_stage(stage.name)
        return method.eval()

    def images(self, method: Method, count: int = IMAGES, frame: int = FRAME) -> Tensor:
        """Returns critters ``[count, 3, frame, frame]``, normalised for the method."""
        return normalise(pixels(count, frame), method.mean_std)

    def batch(self, method: Method, count: int = IMAGES, classes: int | None = None) -> Batch:
        """Returns a training batch for the stage in progress, of whole images."""
        images, wanted = self.images(method, count), labels(count) % (classes or self.num_classes)
        return Batch(images, wanted, 1, harvest={name: part(images, wanted) for name, part in method.harvest().items()})


@functools.cache
def pixels(count: int, frame: int = FRAME) -> Tensor:
    """Returns the first critters as ``[count, frame, frame, 3]`` uint8."""
    critters = Critters(size=frame, train=count)
    return torch.from_numpy(np.stack([critters.load_image("train", i) for i in range(count)]))


@functools.cache
def labels(count: int) -> Tensor:
    """Returns their labels."""
    return torch.from_numpy(Critters(train=count).split("train").labels.copy())


def localized(method: Method, images: Tensor, labels: Tensor | None, num_classes: int) -> Localization:
    """Calls ``localize`` as the recorder does, without gradients, and checks what it returns."""
    with torch.no_grad():
        return checked_localization(method, method.localize(images, labels), len(images), num_classes)


def number(value: Tensor) -> float:
    """Returns the value of a scalar, which may be part of a graph."""
    return float(value.detach())


def loss_of(method: Method, batch: Batch) -> Tensor:
    """Returns the sum of the losses of a training step, checked."""
    return total_loss(method, method.training_step(batch))


def same(one: Localization, other: Localization, what: str, tolerance: float = 1e-4) -> None:
    """Fails unless two predictions agree, relative to the largest value."""
    for name in ("maps", "logits"):
        expected, got = (getattr(prediction, name).detach().float() for prediction in (one, other))
        if expected.shape != got.shape:
            raise CheckFailure(f"{name} have shape {list(got.shape)} instead of {list(expected.shape)} {what}")
        gap = float((expected - got).abs().max())
        scale = max(float(expected.abs().max()), 1e-6)
        if not gap <= tolerance * scale:
            raise CheckFailure(f"{name} differ by {gap:.3g} (largest value {scale:.3g}) {what}")


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Fixes torch's random numbers in the block and restores them after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
