"""Grad-CAM (Selvaraju et al., ICCV 2017): a channel weighs as much as the mean of its gradient."""

from __future__ import annotations

from torch import Tensor

from wsol_bench.methods.posthoc import GradientPostHoc


class GradCAM(GradientPostHoc):
    """``w_k = mean_ij g_kij``; behind global pooling and a linear layer, the positive part of CAM."""

    title = "Grad-CAM"
    citation = (
        "Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017"
    )

    def weigh_gradients(self, activations: Tensor, gradients: Tensor) -> Tensor:
        return gradients.mean(dim=(2, 3), keepdim=True)
