"""ACoL: adversarial complementary learning (Zhang et al., CVPR 2018).

Two convolutional classifiers share a trunk. Where the normalised class map of the first one reaches
``erase_threshold``, the features are erased before the second sees them, so it must find other evidence; the map is
the maximum of both. Erasing is deterministic and happens at test time too. While training, the true class drives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.cam import BackboneParams
from wsol_bench.methods.hparams import Fixed, Uniform, hp
from wsol_bench.models.backbones import build_backbone
from wsol_bench.models.heads import ConvHead, normalised_maps


class ACoL(Method):
    """Two classifiers, the second on what the first one leaves."""

    title = "Adversarial complementary learning"
    citation = "Zhang et al., Adversarial Complementary Learning for Weakly Supervised Object Localization, CVPR 2018"

    class HParams(BackboneParams):
        """Hyper-parameters of ACoL; the range of thesis Table 4.4."""

        erase_threshold: float = hp(0.7, Uniform(0.0, 1.0), "cells of the first map from here on are erased, 0 to 1")
        branch_channels: int = hp(1024, Fixed(), "channels of the convolutions of both classifiers")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        if hparams.backbone == "vgg16_gap":
            # Imported here, because torchvision takes seconds.
            from wsol_bench.models.backbones.vgg import vgg16

            self.backbone = vgg16(hparams.weights, hparams.large_feature_map, gap=False, wide_pools=True)
        else:
            self.backbone = build_backbone(hparams.backbone, hparams.weights, hparams.large_feature_map, bare=True)
        self.heads = nn.ModuleList(
            ConvHead(self.backbone.channels, hparams.branch_channels, num_classes) for _ in range(2)
        )
        self.erase_threshold = hparams.erase_threshold
        # In the reference, the pattern of names that learn faster misses the classifiers of a ResNet.
        self.slow_head = hparams.backbone.startswith("resnet")

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        first, second = self._class_maps(batch.images, batch.labels)
        return {
            "first": F.cross_entropy(first.mean(dim=(2, 3)), batch.labels),
            "second": F.cross_entropy(second.mean(dim=(2, 3)), batch.labels),
        }

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        first, second = self._class_maps(images, labels)
        logits = first.mean(dim=(2, 3))
        rows = torch.arange(len(images), device=images.device)
        chosen = self.select_labels(logits, labels)
        maps = torch.maximum(*(normalised_maps(one[rows, chosen]) for one in (first, second)))
        return Localization(maps=maps, logits=logits)

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return self.backbone.param_groups(self.heads, lr, slow_head=self.slow_head)

    def _class_maps(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the class maps ``[B, C, h, w]`` of both classifiers; the predicted class erases without labels."""
        features = self.backbone(images)
        first = self.heads[0](features)
        chosen = self.select_labels(first.mean(dim=(2, 3)), labels)
        attention = normalised_maps(first.detach()[torch.arange(len(images), device=images.device), chosen])
        kept = (attention < self.erase_threshold).to(features.dtype)
        return first, self.heads[1](features * kept[:, None])
