"""IS-CAM (Naidu et al., 2020): Score-CAM, averaged over masks that grow step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wsol_bench.methods.hparams import Fixed, hp
from wsol_bench.methods.score_cam import ScoreCAM


class ISCAM(ScoreCAM):
    """Scores of masks times 1/N, (1 + 2)/N, ..., as the reference implementations accumulate them."""

    title = "IS-CAM"
    citation = "Naidu et al., IS-CAM: Integrated Score-CAM for axiomatic-based explanations, arXiv 2010.03023, 2020"

    class HParams(ScoreCAM.HParams):
        """Hyper-parameters of the integration; the published value."""

        steps: int = hp(10, Fixed(), "steps N of the integration")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.steps: int = hparams.steps

    def masked_scores(self, images: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
        total = torch.zeros(len(images), device=images.device)
        for step in range(1, self.steps + 1):
            total += self.class_scores(images * masks * (step * (step + 1) / (2 * self.steps)), labels)
        return total / self.steps
