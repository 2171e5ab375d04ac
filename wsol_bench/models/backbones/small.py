"""Small residual networks for images of 64 pixels, trained from scratch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.models.backbones.backbone import Backbone, Points, initialise


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation and an identity or 1 x 1 shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


def small_resnet(widths: tuple[int, ...], weights: str, large_feature_map: bool) -> Backbone:
    """Builds a residual network: output stride 8 with the large feature map, 16 without.

    Args:
        widths: channels of the stem and of the four blocks.
        weights: see ``models.weights``.
        large_feature_map: remove the last stride.
    """
    strides = (2, 2, 2, 1 if large_feature_map else 2)
    trunk = nn.Sequential()
    trunk.add_module("conv1", nn.Conv2d(3, widths[0], 3, 1, 1, bias=False))
    trunk.add_module("bn1", nn.BatchNorm2d(widths[0]))
    trunk.add_module("relu", nn.ReLU())
    for i, stride in enumerate(strides):
        trunk.add_module(f"layer{i + 1}", ResidualBlock(widths[i], widths[i + 1], stride))
    initialise(trunk, nn.init.kaiming_normal_)
    points = Points(
        erase=("layer2", "layer3", "layer4"), guides=("layer2", "layer3"), skips=("layer3", "layer2", "layer1", "relu")
    )
    return Backbone(trunk, widths[-1], points, weights=weights).load_pretrained()
