"""The contract of a method: three verbs, none of which ever sees a box."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wsol_bench.methods.hparams import HyperParams

IMAGENET_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Channel means and standard deviations of ImageNet, for pixel values in [0, 1]."""


@dataclass(frozen=True)
class Batch:
    """What a training step sees.

    Attributes:
        images: ``[B, 3, S, S]`` float, normalised by the method's mean and standard deviation.
        labels: ``[B]`` int64.
        epoch: number of the epoch in progress within its stage, from 1.
    """

    images: Tensor
    labels: Tensor
    epoch: int


@dataclass(frozen=True)
class Localization:
    """What a method predicts.

    Attributes:
        maps: ``[B, h, w]`` float, at the method's own resolution; higher means object. Any scale: the recorder
            resizes and normalises.
        logits: ``[B, C]`` float class scores.
    """

    maps: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Stage:
    """A part of the training with trainable parts, losses and an optimiser of its own.

    A stage after the first starts from the weights of the stage before at its best validation classification accuracy.

    Attributes:
        name: shown in the history of a trial, and handed to :meth:`Method.enter_stage`.
        epochs: at least 1.
    """

    name: str
    epochs: int


class Method(nn.Module, ABC):
    """Base of all methods.

    What a run needs in order to go on after an interruption must be in the module's ``state_dict``; random numbers
    must come from torch, which the training loop seeds anew for every epoch.

    Attributes:
        HParams: the method's own hyper-parameters; none by default.
        title: one line for listings.
        citation: authors, title, venue and year.
        expected_failures: checks of :func:`wsol_bench.testing.check_method` that the method cannot pass by its nature,
            with the reason.
    """

    HParams: ClassVar[type[HyperParams]] = HyperParams
    title: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    expected_failures: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        """Creates the modules; called once, before any data is seen.

        Args:
            num_classes: C.
            class_names: C names in label order (methods driven by text need them).
            hparams: an instance of the method's ``HParams``.
            frame: side of the square input in pixels.
        """

    @abstractmethod
    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Returns scalar losses by name; their sum is minimised."""

    @abstractmethod
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Predicts maps for ``labels``, or for the predicted class where ``labels`` is None.

        Called in evaluation mode and without gradients; a method that needs them switches them on inside.

        Args:
            images: ``[B, 3, S, S]`` float, normalised.
            labels: ``[B]`` int64, or None.
        """

    @property
    def needs_training(self) -> bool:
        """Whether there is anything to train; if not, a run is the record of epoch 0."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        """Divides ``epochs`` into stages, in order; only epochs of the last one can be selected later.

        Raises:
            UsageError: there are fewer epochs than the stages need.
        """
        return (Stage("train", epochs),)

    def enter_stage(self, name: str) -> None:
        """Called before the first epoch of every stage, and again when an interrupted run goes on in it.

        Decides what is trainable from here on; :meth:`param_groups` is asked afterwards.
        """
        return

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """Returns optimiser groups, each with its ``params`` and ``lr``.

        The default trains everything that requires a gradient at ``lr``; a method overrides it to give its head another
        learning rate.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": lr}]

    @property
    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Channel means and standard deviations of the input, for pixel values in [0, 1]."""
        return IMAGENET_MEAN_STD

    def pixels(self, images: Tensor) -> Tensor:
        """Returns normalised images ``[B, 3, S, S]`` as colours in 0..255 again."""
        mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in self.mean_std)
        return ((images.float() * std + mean) * 255).clamp(0, 255)

    def select_labels(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        """Returns ``labels``, or the predicted classes where ``labels`` is None."""
        return torch.argmax(logits, dim=1) if labels is None else labels
