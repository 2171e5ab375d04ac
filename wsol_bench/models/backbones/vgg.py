"""VGG16 without its fully connected layers (Choe et al., CVPR 2020)."""

from __future__ import annotations

import torchvision
from torch import nn

from wsol_bench.models.backbones.backbone import Backbone, Points, initialise, kaiming_fan_out, torchvision_state

_POINTS = Points(
    # pool3, conv4_3 and conv5_3, each behind its ReLU, by torchvision's numbers.
    erase=("features.16", "features.22", "features.29"),
    guides=("features.22", "features.29"),
    skips=("features.15", "features.8"),
)


def vgg16(weights: str, large_feature_map: bool, *, gap: bool = True, wide_pools: bool = False) -> Backbone:
    """Builds VGG16 without pool5, and with the large feature map also without pool4.

    Args:
        weights: see ``models.weights``.
        large_feature_map: 28 x 28, not 14 x 14, at 224 pixels.
        gap: end in a new 3 x 3 convolution to 1,024 channels, as VGG16-GAP does; else in conv5_3.
        wide_pools: the pooling of ACoL: windows of 3 x 3, pool4 and pool5 with a stride of 1 where they do not shrink
        the
            map, and a 3 x 3 average pool behind.
    """
    features = nn.Sequential()
    for i, layer in enumerate(torchvision.models.vgg16(weights=None).features):
        # Layers keep their number in torchvision's network as their name, so that its weights load by name.
        if not isinstance(layer, nn.MaxPool2d):
            features.add_module(str(i), layer)
        elif wide_pools:
            stride = 1 if i == 30 or (i == 23 and large_feature_map) else 2
            features.add_module(str(i), nn.MaxPool2d(3, stride, padding=1))
        elif i < 23 or (i == 23 and not large_feature_map):
            features.add_module(str(i), layer)
    trunk = nn.Sequential()
    trunk.add_module("features", features)
    if wide_pools:
        trunk.add_module("smooth", nn.AvgPool2d(3, 1, padding=1))
    if gap:
        trunk.add_module("conv6", nn.Sequential(nn.Conv2d(512, 1024, 3, padding=1), nn.ReLU()))
    initialise(trunk, kaiming_fan_out)
    backbone = Backbone(trunk, 1024 if gap else 512, _POINTS, ("conv6",), weights)
    return backbone.load_pretrained(features, lambda: torchvision_state("vgg16"))
