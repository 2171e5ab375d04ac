"""Convolutional trunks with the strides that localization wants.

Every trunk maps ``[B, 3, S, S]`` to features ``[B, channels, h, w]``. ``large_feature_map`` removes one more stride
(28 x 28 instead of 14 x 14 at S = 224), as in the reference code of Choe et al. (CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.errors import unknown_choice
from wsol_bench.models.weights import load_state, load_trunk

HEAD_LR_RATIO = 10.0
"""Layers trained from scratch, and the last stage of a ResNet, learn ten times faster than the pretrained trunk."""


class Backbone(nn.Module):
    """A trunk, the number of its output channels, and which of its parts learn at the head's rate.

    Args:
        trunk: the layers, in order.
        channels: output channels.
        fast: names of the trunk's children whose learning rate is that of the head.
        pretrained: whether the trunk starts from pretrained weights; from scratch everything learns at one rate.
    """

    def __init__(self, trunk: nn.Sequential, channels: int, fast: tuple[str, ...], *, pretrained: bool) -> None:
        super().__init__()
        self.trunk = trunk
        self.channels = channels
        self.fast = fast
        self.pretrained = pretrained

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.trunk(images)
        return features

    def param_groups(self, head: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Returns optimiser groups for this trunk and ``head``; only a pretrained trunk is slower than its head."""
        if not self.pretrained:
            return [{"params": [*self.parameters(), *head.parameters()], "lr": lr}]
        slow: list[nn.Parameter] = []
        fast: list[nn.Parameter] = list(head.parameters())
        for name, child in self.trunk.named_children():
            (fast if name in self.fast else slow).extend(child.parameters())
        return [{"params": slow, "lr": lr}, {"params": fast, "lr": lr * HEAD_LR_RATIO}]


def build_backbone(name: str, weights: str = "none", large_feature_map: bool = True) -> Backbone:
    """Builds a trunk.

    Args:
        name: one of :data:`BACKBONES`.
        weights: ``none``, ``torchvision``, ``timm:<model>``, or a file of a state dict (see ``models.weights``).
        large_feature_map: remove one more stride.

    Raises:
        UsageError: the name is unknown or the weights cannot be fetched.
        DataError: the weights' file does not fit.
    """
    if name not in BACKBONES:
        raise unknown_choice("backbone", name, BACKBONES)
    return BACKBONES[name](weights, large_feature_map)


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


def _small_resnet(widths: tuple[int, ...]) -> Callable[[str, bool], Backbone]:
    """A residual network for 64-pixel images: output stride 8 with the large feature map, 16 without."""

    def build(weights: str, large_feature_map: bool) -> Backbone:
        strides = (2, 2, 2, 1 if large_feature_map else 2)
        trunk = nn.Sequential()
        trunk.add_module("conv1", nn.Conv2d(3, widths[0], 3, 1, 1, bias=False))
        trunk.add_module("bn1", nn.BatchNorm2d(widths[0]))
        trunk.add_module("relu", nn.ReLU())
        for i, stride in enumerate(strides):
            trunk.add_module(f"layer{i + 1}", ResidualBlock(widths[i], widths[i + 1], stride))
        _initialise(trunk, nn.init.kaiming_normal_)
        return _with_weights(Backbone(trunk, widths[-1], (), pretrained=weights != "none"), weights, None)

    return build


def _torchvision_resnet(name: str, channels: int) -> Callable[[str, bool], Backbone]:
    def build(weights: str, large_feature_map: bool) -> Backbone:
        import torchvision

        net = getattr(torchvision.models, name)(weights=None)
        _unstride(net.layer4)
        if large_feature_map:
            _unstride(net.layer3)
        trunk = nn.Sequential()
        for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            trunk.add_module(part, getattr(net, part))
        _initialise(trunk, nn.init.xavier_uniform_)

        def fetch() -> dict[str, Tensor]:
            enum = torchvision.models.get_model_weights(name)
            state: dict[str, Tensor] = enum["IMAGENET1K_V1"].get_state_dict(progress=True)
            return state

        return _with_weights(Backbone(trunk, channels, ("layer4",), pretrained=weights != "none"), weights, fetch)

    return build


def _vgg16_gap(weights: str, large_feature_map: bool) -> Backbone:
    """VGG16 without pool5 and without its fully connected layers, plus a 3 x 3 convolution to 1,024 channels."""
    import torchvision

    features = list(torchvision.models.vgg16(weights=None).features.children())
    last_pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)][
        3 if large_feature_map else 4 :
    ]
    # Layers keep their index in torchvision's 'features' as their name, so that its checkpoints load by name.
    convolutions = nn.Sequential()
    for i, layer in enumerate(features):
        if i not in last_pools:
            convolutions.add_module(str(i), nn.ReLU() if isinstance(layer, nn.ReLU) else layer)
    conv6 = nn.Sequential(nn.Conv2d(512, 1024, 3, padding=1), nn.ReLU())
    _initialise(convolutions, _kaiming_fan_out)
    _initialise(conv6, _kaiming_fan_out)
    if weights != "none":

        def fetch() -> dict[str, Tensor]:
            enum = torchvision.models.get_model_weights("vgg16")
            state: dict[str, Tensor] = enum["IMAGENET1K_V1"].get_state_dict(progress=True)
            return state

        state = load_state(weights, by_name=fetch)
        load_trunk(convolutions, {key.removeprefix("features."): value for key, value in state.items()}, weights)
    trunk = nn.Sequential()
    trunk.add_module("features", convolutions)
    trunk.add_module("conv6", conv6)
    return Backbone(trunk, 1024, ("conv6",), pretrained=weights != "none")


BACKBONES: dict[str, Callable[[str, bool], Backbone]] = {
    "resnet_tiny": _small_resnet((16, 24, 48, 96, 128)),
    "resnet_small": _small_resnet((24, 32, 64, 128, 192)),
    "resnet18": _torchvision_resnet("resnet18", 512),
    "resnet50": _torchvision_resnet("resnet50", 2048),
    "vgg16_gap": _vgg16_gap,
}
"""Builders by name: ``(weights, large_feature_map) -> Backbone``."""


def _unstride(stage: nn.Sequential) -> None:
    """Sets the stride of a ResNet stage to 1, without adding dilation (the reference adds none)."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
            module.stride = (1, 1)


def _with_weights(backbone: Backbone, weights: str, by_name: Callable[[], dict[str, Tensor]] | None) -> Backbone:
    if weights != "none":
        load_trunk(backbone.trunk, load_state(weights, by_name=by_name), weights)
    return backbone


def _kaiming_fan_out(weight: Tensor) -> Tensor:
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def _initialise(module: nn.Module, init: Callable[[Tensor], Tensor]) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            init(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
