"""ResNets of torchvision with the strides that localization wants (Choe et al., CVPR 2020)."""

from __future__ import annotations

import torchvision
from torch import nn

from wsol_bench.models.backbones.backbone import Backbone, Points, child_trunk, initialise, torchvision_state


def resnet(name: str, channels: int, weights: str, large_feature_map: bool) -> Backbone:
    """Builds a ResNet whose last stage, and with the large feature map the one before, has a stride of 1.

    Args:
        name: torchvision's name.
        channels: output channels.
        weights: see ``models.weights``.
        large_feature_map: 28 x 28, not 14 x 14, at 224 pixels.
    """
    net = getattr(torchvision.models, name)(weights=None)
    _unstride(net.layer4)
    if large_feature_map:
        _unstride(net.layer3)
    trunk = child_trunk(net, "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    initialise(trunk, nn.init.xavier_uniform_)
    last = {stage: f"{stage}.{len(getattr(net, stage)) - 1}" for stage in ("layer1", "layer2", "layer3", "layer4")}
    points = Points(
        erase=("layer3.0", "layer4.0", last["layer4"]),
        guides=("layer3.0", last["layer3"]),
        skips=(last["layer3"], last["layer2"], last["layer1"], "relu"),
    )
    backbone = Backbone(trunk, channels, points, ("layer4",), weights)
    return backbone.load_pretrained(by_name=lambda: torchvision_state(name))


def _unstride(stage: nn.Sequential) -> None:
    """Sets the stride of a stage to 1, without adding dilation (the reference adds none)."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
