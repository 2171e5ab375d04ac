"""XGrad-CAM (Fu et al., BMVC 2020): gradients averaged with the activations as weights."""

from __future__ import annotations

import torch
from torch import Tensor

from wsol_bench.methods.posthoc import GradientPostHoc


class XGradCAM(GradientPostHoc):
    """``w_k = sum_ij g_kij A_kij / sum_ij A_kij``; 0 for a channel without activation."""

    title = "XGrad-CAM"
    citation = "Fu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, BMVC 2020"

    def weigh_gradients(self, activations: Tensor, gradients: Tensor) -> Tensor:
        total = activations.sum(dim=(2, 3), keepdim=True)
        weighted = (gradients * activations).sum(dim=(2, 3), keepdim=True)
        return torch.where(total != 0, weighted / torch.where(total != 0, total, 1.0), 0.0)
