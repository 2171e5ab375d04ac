r"""CAM: class activation mapping (Zhou et al., CVPR 2016), the baseline of the field.

A classifier ends in global average pooling and one linear layer; the layer's row of class ``c``, applied at every
position instead of after pooling, is the evidence map ``M_c(i, j) = sum_k W[c, k] A_k(i, j)``. No bias and no ReLU:
clipping negative evidence would change the scale of the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from wsol_bench.errors import UsageError
from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.hparams import Fixed, HyperParams, hp
from wsol_bench.models.backbones import BACKBONES, build_backbone
from wsol_bench.models.heads import LinearHead
from wsol_bench.models.weights import NO_WEIGHTS


class BackboneParams(HyperParams):
    """What every method on a convolutional trunk has."""

    backbone: str = hp("resnet_small", Fixed(tuple(BACKBONES)), "network below the pooling")
    large_feature_map: bool = hp(True, Fixed(), "one stride less: 28 x 28 maps at 224, not 14 x 14")
    weights: str = hp(
        NO_WEIGHTS, Fixed(), "'none', 'torchvision', 'timm:<model>', or the file of a state dict[@sha256:<hex>]"
    )


class CAM(Method):
    """Class activation maps of a plainly trained classifier."""

    title = "Class activation mapping"
    citation = "Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016"

    class HParams(BackboneParams):
        """Hyper-parameters of CAM beyond the shared ones of the optimiser."""

        pretrained_head: bool = hp(
            False, Fixed(), "also start from the classifier of the weights, where the classes are the same (ILSVRC)"
        )
        train: bool = hp(True, Fixed(), "false: take the weights, head included, as they are")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        if (hparams.pretrained_head or not hparams.train) and hparams.weights == NO_WEIGHTS:
            wish = "pretrained_head=true" if hparams.pretrained_head else "train=false"
            raise UsageError(f"Expected weights for {wish} but got weights=none; fix: name the weights.")
        self.backbone = build_backbone(hparams.backbone, hparams.weights, hparams.large_feature_map)
        self.head = LinearHead(self.backbone.channels, num_classes)
        if hparams.pretrained_head or not hparams.train:
            self.backbone.copy_classifier(self.head.linear)
        self.requires_grad_(hparams.train)

    def features(self, images: Tensor) -> Tensor:
        """Returns the features ``[B, K, h, w]`` that are pooled."""
        features: Tensor = self.backbone(images)
        return features

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.head(self.features(batch.images))
        return {"cross_entropy": F.cross_entropy(logits, batch.labels)}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        features = self.features(images)
        logits = self.head(features)
        maps = self.head.class_maps(features, self.select_labels(logits, labels))
        return Localization(maps=maps, logits=logits)

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return self.backbone.param_groups(self.head, lr)
