"""LayerCAM (Jiang et al., IEEE TIP 2021): every cell weighs as much as its own positive gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from wsol_bench.methods.posthoc import GradientPostHoc


class LayerCAM(GradientPostHoc):
    """``w_kij = ReLU(g_kij)``."""

    title = "LayerCAM"
    citation = "Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021"

    def weigh_gradients(self, activations: Tensor, gradients: Tensor) -> Tensor:
        return torch.relu(gradients)
