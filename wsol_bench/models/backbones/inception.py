"""InceptionV3 up to Mixed_6e, with the paddings and strides of the reference (Choe et al., CVPR 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.inception import InceptionB

from wsol_bench.models.backbones.backbone import Backbone, Points, child_trunk, initialise, torchvision_state

_TRUNK = (
    "Conv2d_1a_3x3",
    "Conv2d_2a_3x3",
    "Conv2d_2b_3x3",
    "maxpool1",
    "Conv2d_3b_1x1",
    "Conv2d_4a_3x3",
    "maxpool2",
    "Mixed_5b",
    "Mixed_5c",
    "Mixed_5d",
    "maxpool3",
    "Mixed_6a",
    "Mixed_6b",
    "Mixed_6c",
    "Mixed_6d",
    "Mixed_6e",
)


class _Unstrided(InceptionB):  # type: ignore[misc]  # torchvision has no types
    """Mixed_6a with a stride of 1: 28 x 28 features stay 28 x 28."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        for unit in (self.branch3x3, self.branch3x3dbl_3):
            unit.conv.stride, unit.conv.padding = (1, 1), (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=1, padding=1)], dim=1)


def inception_v3(weights: str, large_feature_map: bool, *, gap: bool = True) -> Backbone:
    """Builds the trunk of InceptionV3; without the large feature map, one more pooling precedes Mixed_6a.

    Args:
        weights: see ``models.weights``.
        large_feature_map: 28 x 28, not 14 x 14, at 224 pixels.
        gap: end in two new 3 x 3 convolutions of 1,024 channels with dropout before each; else in Mixed_6e.
    """
    net = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False)
    net.Conv2d_1a_3x3.conv.padding = (1, 1)
    net.maxpool1, net.maxpool2 = (nn.MaxPool2d(3, 2, padding=1, ceil_mode=True) for _ in range(2))
    net.maxpool3 = nn.Identity() if large_feature_map else nn.MaxPool2d(3, 2, ceil_mode=True)
    net.Mixed_6a = _Unstrided(288)
    trunk = child_trunk(net, *_TRUNK)
    pretrained = nn.ModuleDict(dict(trunk.named_children()))
    erase = ["Mixed_5d", "Mixed_6e"]
    if gap:
        for name, channels in (("conv7a", 768), ("conv7b", 1024)):
            layers = (nn.Dropout(0.5), nn.Conv2d(channels, 1024, 3, padding=1), nn.ReLU())
            trunk.add_module(name, nn.Sequential(*layers))
        erase.append("conv7b.2")
    initialise(trunk, nn.init.xavier_uniform_)
    points = Points(
        erase=tuple(erase),
        # The reference takes 6d, not 6e.
        guides=("Mixed_5d", "Mixed_6d"),
        skips=("Mixed_6e", "Mixed_5d", "Conv2d_3b_1x1", "Conv2d_2b_3x3"),
    )
    backbone = Backbone(trunk, 1024 if gap else 768, points, ("conv7a", "conv7b"), weights)
    return backbone.load_pretrained(pretrained, lambda: torchvision_state("inception_v3"))
