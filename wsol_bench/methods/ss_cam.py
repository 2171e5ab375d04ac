"""SS-CAM (Wang et al., 2020): Score-CAM, averaged over noisy masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wsol_bench.methods.hparams import Fixed, hp
from wsol_bench.methods.score_cam import ScoreCAM


class SSCAM(ScoreCAM):
    """Scores of masks with Gaussian noise, averaged; the noise of an image is the same at every call."""

    title = "SS-CAM"
    citation = "Wang et al., SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization, arXiv 2006.14255, 2020"

    class HParams(ScoreCAM.HParams):
        """Hyper-parameters of the smoothing; the published values."""

        draws: int = hp(35, Fixed(), "noisy copies of every mask")
        sigma: float = hp(2.0, Fixed(), "deviation of the noise on masks in [0, 1]")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.draws: int = hparams.draws
        self.sigma: float = hparams.sigma

    def masked_scores(self, images: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
        noise = torch.Generator(device="cpu").manual_seed(0)
        total = torch.zeros(len(images), device=images.device)
        for _ in range(self.draws):
            # One draw for all channels and images: a map must not depend on what else is in its batch.
            grain = torch.randn(1, 1, *masks.shape[2:], generator=noise).to(masks.device)
            total += self.class_scores(images * (masks + self.sigma * grain), labels)
        return total / self.draws
