"""A plug-in whose method trains in milliseconds; one value of a parameter makes it fail, another makes it slow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.hparams import HyperParams, Uniform, hp
from wsol_bench.models.heads import LinearHead
from wsol_bench.registry import METHODS


@METHODS.register("study_quick")
class StudyQuick(Method):
    class HParams(HyperParams):
        dropout: float = hp(0.3, Uniform(0.0, 0.9), "share of features dropped; above 1 is an error")
        pause: float = hp(0.0, Uniform(0.0, 1e-6), "seconds that a step takes longer")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.hparams = hparams
        self.features = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.BatchNorm2d(8), nn.ReLU())
        self.head = LinearHead(8, num_classes)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        time.sleep(self.hparams.pause)
        features = F.dropout(self.features(batch.images), self.hparams.dropout)
        return {"cross_entropy": F.cross_entropy(self.head(features), batch.labels)}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        features = self.features(images)
        logits = self.head(features)
        return Localization(self.head.class_maps(features, self.select_labels(logits, labels)), logits)
