"""Grad-CAM++ (Chattopadhay et al., WACV 2018): positive gradients, weighed by higher derivatives.

With the exponential of the logit as score, ``alpha = g^2 / (2 g^2 + S_k g^3)`` with ``S_k = sum_ij A_kij``; the factor
that the exponential adds to the gradients is the same everywhere and falls to the final stretch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsol_bench.methods.posthoc import GradientPostHoc


class GradCAMpp(GradientPostHoc):
    """``w_k = sum_ij alpha_kij ReLU(g_kij)``."""

    title = "Grad-CAM++"
    citation = "Chattopadhay et al., Grad-CAM++: Generalized Gradient-based Visual Explanations, WACV 2018"

    def weigh_gradients(self, activations: Tensor, gradients: Tensor) -> Tensor:
        total = activations.sum(dim=(2, 3), keepdim=True)
        # Where the gradient is not positive the weight is 0, whatever alpha would be.
        positive = torch.relu(gradients)
        alpha = 1 / (2 + total * positive)
        return torch.where(positive > 0, alpha * positive, 0.0).sum(dim=(2, 3), keepdim=True)
