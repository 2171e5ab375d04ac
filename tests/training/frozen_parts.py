"""Frozen parts that count what they compute, and a small method that is made of them.

They work image by image: whatever the size of a batch, not a bit of an answer changes, so that tests may compare bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.hparams import Fixed, HyperParams, hp
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.models.heads import LinearHead

GRID = 4


class StoppedError(Exception):
    pass


class Counting(FrozenFunction):
    """Counts the images that it computes, and stops before it has computed more than ``limit`` of them."""

    computed = 0
    limit: int | None = None

    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        if self.limit is not None and self.computed + len(images) > self.limit:
            raise StoppedError
        self.computed += len(images)
        given = [None] * len(images) if labels is None else labels.tolist()
        found = [self.one(image, label) for image, label in zip(images, given, strict=True)]
        return {name: torch.stack([each[name] for each in found]) for name in found[0]}

    def one(self, image: Tensor, label: int | None) -> Answers:
        raise NotImplementedError


class Colours(Counting):
    """Mixed mean colours of a grid, as floats; and of the whole image an integer and a truth value."""

    def __init__(self, weight: float = 1.0, description: str = "colours") -> None:
        network = nn.Linear(3, 5, bias=False)
        nn.init.constant_(network.weight, weight)
        with torch.no_grad():
            network.weight *= torch.linspace(-1, 1, 15).view(5, 3)
        super().__init__(network, description)

    def one(self, image: Tensor, label: int | None) -> Answers:
        colours = F.adaptive_avg_pool2d(image.contiguous(), GRID).double()
        patches = (self.network.weight.double()[:, :, None, None] * colours).sum(dim=1)
        return {"patches": patches, "peak": patches[0].argmax(), "bright": patches[0].mean() > 0}


class Teacher(Counting):
    """A map of an image that depends on its label."""

    by_label = True

    def __init__(self) -> None:
        super().__init__(nn.Identity(), "teacher")

    def one(self, image: Tensor, label: int | None) -> Answers:
        assert label is not None
        return {"maps": torch.sigmoid(F.adaptive_avg_pool2d(image.contiguous(), GRID)[label % 3] * (1 + label))}


class OnColours(Method):
    """Learns classes and the teacher's map from frozen colours."""

    class HParams(HyperParams):
        views: int = hp(2, Fixed(), "fixed crops per training image")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.fixed_crops = hparams.views
        self.encoder, self.teacher = Colours(), Teacher()
        self.head, self.mask = LinearHead(5, num_classes), nn.Conv2d(5, 1, 1)

    @property
    def views(self) -> int:
        return int(self.fixed_crops)

    def harvest(self) -> Mapping[str, FrozenFunction]:
        return {"teacher": self.teacher}

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        patches = self.encoder(batch.images)["patches"]
        wanted = batch.window.crop_maps(batch.harvest["teacher"]["maps"], GRID)
        distance = (torch.sigmoid(self.mask(patches))[:, 0] - wanted).square().mean()
        return {"cross_entropy": F.cross_entropy(self.head(patches), batch.labels), "distance": distance}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        patches = self.encoder(images)["patches"]
        logits = self.head(patches)
        taught = self.teacher(images, self.select_labels(logits, labels))["maps"]
        return Localization(torch.sigmoid(self.mask(patches))[:, 0] + taught, logits)
