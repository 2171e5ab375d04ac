"""Convolutional trunks with the strides that localization wants.

Every trunk maps ``[B, 3, S, S]`` to features ``[B, channels, h, w]``. ``large_feature_map`` removes one more stride
(28 x 28 instead of 14 x 14 at S = 224), as in the reference code of Choe et al. (CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.models.weights import NO_WEIGHTS, StateDict, load_state, load_trunk

HEAD_LR_RATIO = 10.0
"""Layers trained from scratch, and the last stage of a ResNet, learn ten times faster than the pretrained trunk."""


class Backbone(nn.Module):
    """A trunk, the number of its output channels, and which of its parts learn at the head's rate.

    Args:
        trunk: the layers, in order.
        channels: output channels.
        fast: names of the trunk's children whose learning rate is that of the head.
        weights: where the trunk's weights come from (see ``models.weights``); ``none`` means from scratch.
    """

    def __init__(self, trunk: nn.Sequential, channels: int, fast: tuple[str, ...], weights: str) -> None:
        super().__init__()
        self.trunk = trunk
        self.channels = channels
        self.fast = fast
        self.weights = weights
        self._classifier: StateDict | None = None

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.trunk(images)
        return features

    def param_groups(self, head: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Returns optimiser groups for this trunk and ``head``.

        A pretrained trunk learns at ``lr``, its fast parts and the head at :data:`HEAD_LR_RATIO` times that; from
        scratch everything learns at ``lr``.
        """
        if self.weights == NO_WEIGHTS:
            return [{"params": [*self.parameters(), *head.parameters()], "lr": lr}]
        slow: list[nn.Parameter] = []
        fast: list[nn.Parameter] = list(head.parameters())
        for name, child in self.trunk.named_children():
            (fast if name in self.fast else slow).extend(child.parameters())
        return [{"params": slow, "lr": lr}, {"params": fast, "lr": lr * HEAD_LR_RATIO}]

    def load_pretrained(self, part: nn.Module, by_name: Callable[[], StateDict] | None = None) -> Backbone:
        """Copies the pretrained weights, if any, into ``part`` of the trunk; returns this backbone.

        Raises:
            UsageError: the weights cannot be fetched.
            DataError: the weights' file is unusable or belongs to another architecture.
        """
        state = load_state(self.weights, by_name=by_name)
        if state is not None:
            load_trunk(part, {name.removeprefix("features."): value for name, value in state.items()}, self.weights)
            self._classifier = {name: state[f"fc.{name}"] for name in ("weight", "bias") if f"fc.{name}" in state}
        return self

    def copy_classifier(self, linear: nn.Linear) -> None:
        """Copies the linear classifier that came with the pretrained weights; does nothing where none were loaded.

        Raises:
            UsageError: they have no classifier of this shape.
        """
        if self._classifier is None:
            return
        expected = {name: tuple(value.shape) for name, value in linear.state_dict().items()}
        if {name: tuple(value.shape) for name, value in self._classifier.items()} != expected:
            raise UsageError(
                f"Expected the weights '{self.weights}' to hold a classifier of {linear.out_features} classes over "
                f"{linear.in_features} channels but they do not; fix: pretrained_head=false."
            )
        linear.load_state_dict(self._classifier)


def build_backbone(name: str, weights: str = NO_WEIGHTS, large_feature_map: bool = True) -> Backbone:
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
        return Backbone(trunk, widths[-1], (), weights).load_pretrained(trunk)

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
        backbone = Backbone(trunk, channels, ("layer4",), weights)
        return backbone.load_pretrained(trunk, lambda: _torchvision_state(name))

    return build


def _vgg16_gap(weights: str, large_feature_map: bool) -> Backbone:
    """VGG16 without pool5 and its fully connected layers, plus a 3 x 3 convolution to 1,024 channels."""
    import torchvision

    layers = list(torchvision.models.vgg16(weights=None).features)
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    dropped = pools[3:] if large_feature_map else pools[4:]
    features = nn.Sequential()
    for i, layer in enumerate(layers):
        # Layers keep their number in torchvision's network as their name, so that its weights load by name.
        if i not in dropped:
            features.add_module(str(i), layer)
    conv6 = nn.Sequential(nn.Conv2d(512, 1024, 3, padding=1), nn.ReLU())
    trunk = nn.Sequential()
    trunk.add_module("features", features)
    trunk.add_module("conv6", conv6)
    _initialise(trunk, _kaiming_fan_out)
    backbone = Backbone(trunk, 1024, ("conv6",), weights)
    return backbone.load_pretrained(features, lambda: _torchvision_state("vgg16"))


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
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)


def _torchvision_state(name: str) -> StateDict:
    """The ImageNet weights of the original recipe, which the published numbers start from."""
    import torchvision

    state: StateDict = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].get_state_dict(progress=True)
    return state


def _kaiming_fan_out(weight: Tensor) -> Tensor:
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def _initialise(module: nn.Module, init: Callable[[Tensor], Tensor]) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            init(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
