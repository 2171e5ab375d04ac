"""HaS: hide-and-seek (Singh and Lee, ICCV 2017). CAM, trained on images of which random patches are hidden.

Patches are squares on a grid anchored at the top left, hidden independently of each other and of other images; hidden
pixels are zero after normalisation, which is the mean colour. At test time the whole image is seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wsol_bench.methods.base import Batch
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.hparams import Uniform, hp


class HaS(CAM):
    """CAM with random patches hidden while training."""

    title = "Hide-and-seek"
    citation = "Singh and Lee, Hide-and-Seek: Forcing a Network to be Meticulous, ICCV 2017"

    class HParams(CAM.HParams):
        """Hyper-parameters of HaS; ranges of thesis Table 4.4."""

        drop_rate: float = hp(0.5, Uniform(0.0, 1.0), "probability that a patch is hidden, 0 to 1")
        drop_area: float = hp(0.25, Uniform(0.0, 1.0), "side of a patch relative to that of the image, 0 to 1")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.side = max(1, round(hparams.drop_area * frame))
        self.drop_rate = hparams.drop_rate

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        return super().training_step(
            dataclasses.replace(batch, images=hide_patches(batch.images, self.side, self.drop_rate))
        )


def hide_patches(images: Tensor, side: int, rate: float) -> Tensor:
    """Returns a copy of ``[B, C, H, W]`` with every patch of ``side`` pixels zeroed with probability ``rate``."""
    batch, _, height, width = images.shape
    grid = (batch, 1, -(-height // side), -(-width // side))
    kept = (torch.rand(grid, device=images.device) >= rate).to(images.dtype)
    mask = kept.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)
    return images * mask[:, :, :height, :width]
