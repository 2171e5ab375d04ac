"""ADL: attention-based dropout layer (Choe and Shim, CVPR 2019). CAM, with layers that hide the strongest cells.

A layer takes the channel mean of its input as attention. With probability ``drop_rate`` it zeroes the cells whose
attention reaches ``erase_threshold`` times the maximum of their image; otherwise it multiplies by the sigmoid of the
attention. One draw per layer and batch; without parameters; the identity at test time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsol_bench.methods.cam import CAM
from wsol_bench.methods.hparams import Uniform, hp


class ADL(CAM):
    """CAM with attention-based dropout at three depths of the trunk."""

    title = "Attention-based dropout layer"
    citation = "Choe and Shim, Attention-Based Dropout Layer for Weakly Supervised Object Localization, CVPR 2019"

    class HParams(CAM.HParams):
        """Hyper-parameters of ADL; ranges of thesis Table 4.4."""

        drop_rate: float = hp(0.75, Uniform(0.0, 1.0), "probability of hiding, not weighting, 0 to 1")
        erase_threshold: float = hp(
            0.9, Uniform(0.0, 1.0), "cells from this share of the maximum on are hidden, 0 to 1"
        )

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.drop_rate, self.erase_threshold = hparams.drop_rate, hparams.erase_threshold
        for module in self.backbone.modules():
            # The reference's Inception has no other dropout where it has this one.
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images, self._drop if self.training else None)
        return features

    def _drop(self, unit: str, features: Tensor) -> Tensor | None:
        if unit not in self.backbone.points.erase:
            return None
        return attention_dropout(features, self.drop_rate, self.erase_threshold)


def attention_dropout(features: Tensor, rate: float, threshold: float) -> Tensor:
    """Hides the strongest cells of ``[B, C, h, w]`` with probability ``rate``, else weighs all by their importance."""
    attention = features.float().mean(dim=1, keepdim=True)
    if float(torch.rand(())) < rate:
        weak = attention < threshold * attention.amax(dim=(2, 3), keepdim=True)
        return features * weak.to(features.dtype)
    return features * torch.sigmoid(attention).to(features.dtype)
