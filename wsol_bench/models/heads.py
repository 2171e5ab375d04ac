"""Classification heads whose weights or outputs double as maps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def in_float32(layer: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Runs the layer that makes logits or maps in float32, whatever the precision around it.

    The eight bits of bfloat16 would round maps to steps that thresholds can see, and make ties of class scores.
    """
    with float32_only(inputs.device):
        return layer(inputs.float() if inputs.dtype.itemsize < 4 else inputs)


def float32_only(device: torch.device) -> AbstractContextManager[None]:
    """Returns a context in which nothing is computed in a lower precision than that of its inputs."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


class LinearHead(nn.Module):
    """Global average pooling and one linear layer, initialised with N(0, 0.01) weights and zero bias.

    Computes in float32 always.

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
        return in_float32(lambda x: self.linear(x.mean(dim=(2, 3))), features)

    def class_maps(self, features: Tensor, labels: Tensor) -> Tensor:
        """Returns ``sum_k W[label, k] A_k``: ``[B, h, w]``; its mean plus the bias is the logit of the label."""
        return in_float32(lambda x: torch.einsum("bkhw,bk->bhw", x, self.linear.weight[labels]), features)


class ConvHead(nn.Sequential):
    """Convolutions from features ``[B, K, h, w]`` to a map per class ``[B, C, h, w]``, whose means are the logits.

    Args:
        channels: K.
        width: channels in between.
        num_classes: C.
        depth: number of 3 x 3 convolutions before the 1 x 1 convolution, which computes in float32 always.
    """

    def __init__(self, channels: int, width: int, num_classes: int, depth: int = 2) -> None:
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Conv2d(channels if i == 0 else width, width, 3, padding=1), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(width if depth else channels, num_classes, 1))
        for layer in self:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Maps ``[B, K, h, w]`` to ``[B, C, h, w]``."""
        *hidden, last = self
        for layer in hidden:
            input = layer(input)
        return in_float32(last, input)


def normalised_maps(maps: Tensor) -> Tensor:
    """Stretches maps ``[B, h, w]`` to [0, 1] each, in float32; a constant map becomes zeros."""
    maps = maps.float()
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny), 0.0)
