"""A non-local block: every position looks at every other (Wang et al., CVPR 2018; as NL-CCAM uses it)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class NonLocalBlock(nn.Module):
    """Adds attention over all positions to its input; the identity when it is new.

    Queries and keys have an eighth of the channels and are not scaled; the result passes a 1 x 1 convolution and a
    batch normalisation whose scale and shift start at 0.

    Args:
        channels: of the features ``[B, channels, h, w]``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // 8)
        self.query = nn.Conv2d(channels, narrow, 1)
        self.key = nn.Conv2d(channels, narrow, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        gathered = attended.transpose(1, 2).reshape(x.shape)
        added: Tensor = x + self.norm(self.mix(gathered))
        return added
