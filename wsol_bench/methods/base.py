"""The contract of a method: three verbs, none of which ever sees a box."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.errors import UsageError
from wsol_bench.methods.hparams import HyperParams
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.models.weights import IMAGENET_MEAN_STD


@dataclass(frozen=True)
class Window:
    """Where the crops of a batch lie in their whole images; as it is, a batch of whole images.

    Attributes:
        corners: ``[B, 2]`` float, row and column of the upper left corner, as shares of the whole image.
        side: of the crops, as a share of the whole image, up to 1.
        flips: ``[B]`` bool, mirrored left to right after cropping.
    """

    corners: Tensor = field(default_factory=lambda: torch.zeros(1, 2))
    side: float = 1.0
    flips: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.bool))

    def crop_maps(self, maps: Tensor, size: int) -> Tensor:
        """Cuts maps of whole images ``[B, h, w]`` to the crops: ``[B, size, size]``, bilinear."""
        centres = (torch.arange(size, device=maps.device) + 0.5) / size
        across = torch.where(self.flips.to(maps.device)[:, None], centres.flip(0), centres)
        corners = self.corners.to(maps.device)
        x = (corners[:, 1:] + self.side * across).expand(len(maps), -1)
        y = (corners[:, :1] + self.side * centres).expand(len(maps), -1)
        grid = torch.stack([x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
        cut = F.grid_sample(maps[:, None].float(), 2 * grid - 1, padding_mode="border", align_corners=False)
        return cut[:, 0]

    def crop_boxes(self, boxes: Tensor) -> Tensor:
        """Moves boxes ``[B, K, 4]`` (``x0, y0, x1, y1`` as edges, shares of the whole image) into the crops.

        Returns:
            ``[B, K, 4]`` in shares of the crop, clipped to it; empty where nothing of a box is in it.
        """
        corners = self.corners.to(boxes.device).flip(1).repeat(1, 2)[:, None]
        moved = ((boxes - corners) / self.side).clamp(0, 1)
        mirrored = torch.stack([1 - moved[..., 2], moved[..., 1], 1 - moved[..., 0], moved[..., 3]], dim=-1)
        return torch.where(self.flips.to(boxes.device)[:, None, None], mirrored, moved)


@dataclass(frozen=True)
class Batch:
    """What a training step sees.

    Attributes:
        images: ``[B, 3, S, S]`` float, normalised by the method's mean and standard deviation.
        labels: ``[B]`` int64.
        epoch: number of the epoch in progress within its stage, from 1.
        window: where the images lie in the whole training images.
        harvest: answers of the parts that :meth:`Method.harvest` names, for the whole training images.
    """

    images: Tensor
    labels: Tensor
    epoch: int
    window: Window = field(default_factory=Window)
    harvest: Mapping[str, Answers] = field(default_factory=dict)


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


def two_stages(first: str, second: str, share: float, epochs: int) -> tuple[Stage, ...]:
    """Divides epochs into two stages of at least one, the first with about ``share`` of them.

    Raises:
        UsageError: there is only one epoch.
    """
    if epochs < 2:
        raise UsageError(f"Expected at least 2 epochs, one for the {first} and one for the {second}, but got {epochs}.")
    count = min(max(1, round(share * epochs)), epochs - 1)
    return (Stage(first, count), Stage(second, epochs - count))


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

    @property
    def views(self) -> int:
        """How many fixed crops of every image the stage in progress trains on; with 0, crops are drawn freely.

        The answers of frozen parts (:class:`~wsol_bench.models.frozen.FrozenFunction`) for fixed crops are kept on
        disk, so that an encoder runs once per crop, whatever the number of epochs and of configurations.
        """
        return 0

    def harvest(self) -> Mapping[str, FrozenFunction]:
        """Names what is worked out once per whole training image before the stage in progress, such as pseudo-labels.

        Each part gets the image squashed to the frame, and its class label. Answers are kept on disk under the
        identity of the part, and are in ``batch.harvest`` from then on.
        """
        return {}

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
