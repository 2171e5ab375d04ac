"""DenseNet-161 of torchvision with fewer strides."""

from __future__ import annotations

import torchvision
from torch import nn

from wsol_bench.models.backbones.backbone import Backbone, Points, child_trunk, torchvision_state


def densenet161(weights: str, large_feature_map: bool) -> Backbone:
    """Builds DenseNet-161 (Huang et al., CVPR 2017) without the last pooling between its blocks, or the last two."""
    net = torchvision.models.densenet161(weights=None)
    net.features.transition3.pool = nn.Identity()
    if large_feature_map:
        net.features.transition2.pool = nn.Identity()
    trunk = child_trunk(net, "features")
    trunk.add_module("relu", nn.ReLU())
    points = Points(
        erase=("features.denseblock3", "features.transition3.conv", "relu"),
        guides=("features.denseblock2", "features.denseblock3"),
        skips=("features.denseblock3", "features.denseblock2", "features.denseblock1", "features.relu0"),
    )
    backbone = Backbone(trunk, 2208, points, weights=weights)
    return backbone.load_pretrained(trunk, lambda: torchvision_state("densenet161"), prefix="")
