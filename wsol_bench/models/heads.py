"""Classification heads whose weights double as maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearHead(nn.Module):
    """Global average pooling and one linear layer, initialised with N(0, 0.01) weights and zero bias.

    Args:
        channels: K, channels of the features.
        num_classes: C.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_classes)
        nn.init.normal_(self.linear.weight, 0.0, 0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Maps features ``[B, K, h, w]`` to logits ``[B, C]``."""
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits

    def class_maps(self, features: Tensor, labels: Tensor) -> Tensor:
        """Returns ``sum_k W[label, k] A_k``: ``[B, h, w]``; its mean plus the bias is the logit of the label."""
        return torch.einsum("bkhw,bk->bhw", features, self.linear.weight[labels])
