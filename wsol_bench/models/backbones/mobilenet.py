"""MobileNets: V1 of timm and V2 of torchvision, with fewer strides."""

from __future__ import annotations

from typing import Any

import timm
import torchvision
from torch import nn

from wsol_bench.models.backbones.backbone import Backbone, Points, child_trunk, torchvision_state


def mobilenet_v1(weights: str, large_feature_map: bool) -> Backbone:
    """Builds MobileNetV1 (Howard et al., 2017); weights by name are timm's (``timm:mobilenetv1_100``)."""
    net = timm.create_model("mobilenetv1_100", pretrained=False)
    blocks: Any = net.blocks
    _unstride(blocks[4])
    if large_feature_map:
        _unstride(blocks[3])
    trunk = child_trunk(net, "conv_stem", "bn1", "blocks")
    last = [f"blocks.{i}.{len(stage) - 1}" for i, stage in enumerate(blocks)]
    points = Points(
        erase=(last[2], last[3], last[4]), guides=(last[2], last[3]), skips=(last[3], last[2], last[1], last[0])
    )
    return Backbone(trunk, 1024, points, weights=weights).load_pretrained(prefix="")


def mobilenet_v2(weights: str, large_feature_map: bool) -> Backbone:
    """Builds MobileNetV2 (Sandler et al., CVPR 2018)."""
    net = torchvision.models.mobilenet_v2(weights=None)
    # Inverted residual blocks 7 and 14 go from stride 8 to 16 and from 16 to 32.
    _unstride(net.features[14])
    if large_feature_map:
        _unstride(net.features[7])
    trunk = child_trunk(net, "features")
    points = Points(
        erase=("features.10", "features.13", "features.17"),
        guides=("features.10", "features.13"),
        skips=("features.13", "features.6", "features.3", "features.1"),
    )
    backbone = Backbone(trunk, 1280, points, weights=weights)
    return backbone.load_pretrained(trunk, lambda: torchvision_state("mobilenet_v2"), prefix="")


def _unstride(stage: nn.Module) -> None:
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
