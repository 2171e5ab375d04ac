"""CutMix (Yun et al., ICCV 2019). CAM, trained on images of which a rectangle comes from another image of the batch.

The labels are mixed by the area that is really visible after rounding and clipping, not by the one that was drawn. One
rectangle and one mix per batch, as in the reference code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.methods.base import Batch
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.hparams import LogUniform, Uniform, hp


class CutMix(CAM):
    """CAM with a rectangle of every training image replaced by that of another."""

    title = "CutMix"
    citation = (
        "Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features, ICCV 2019"
    )

    class HParams(CAM.HParams):
        """Hyper-parameters of CutMix; not part of thesis Table 4.4."""

        mix_prob: float = hp(1.0, Uniform(0.0, 1.0), "probability that a batch is mixed, 0 to 1")
        mix_prior: float = hp(1.0, LogUniform(0.03, 10.0), "beta of the Beta(beta, beta) that draws the visible share")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.mix_prob, self.mix_prior = hparams.mix_prob, hparams.mix_prior

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        # Drawn on the CPU, where asking for a number costs no wait.
        if float(torch.rand(())) >= self.mix_prob or self.mix_prior <= 0:
            return super().training_step(batch)
        share = float(torch.distributions.Beta(self.mix_prior, self.mix_prior).sample())
        rows, columns = rectangle(batch.images.shape[2], batch.images.shape[3], share)
        partner = torch.randperm(len(batch.images)).to(batch.images.device)
        images = batch.images.clone()
        images[:, :, rows, columns] = batch.images[partner][:, :, rows, columns]
        visible = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / images[0, 0].numel()
        logits = self.head(self.features(images))
        own, other = F.cross_entropy(logits, batch.labels), F.cross_entropy(logits, batch.labels[partner])
        return {"cross_entropy": visible * own + (1 - visible) * other}


def rectangle(height: int, width: int, share: float) -> tuple[slice, slice]:
    """Draws the rectangle to replace, as rows and columns.

    Args:
        height: of the image.
        width: of the image.
        share: of the image that stays visible if the rectangle is not clipped, 0 to 1.
    """
    slices = []
    for side in (height, width):
        half = int(side * math.sqrt(1 - share)) // 2
        centre = int(torch.randint(side, ()))
        slices.append(slice(max(centre - half, 0), min(centre + half, side)))
    return slices[0], slices[1]
