"""Convolutional trunks with the strides that localization wants.

Every trunk maps ``[B, 3, S, S]`` to features ``[B, channels, h, w]``. ``large_feature_map`` removes one more stride
(28 x 28 instead of 14 x 14 at S = 224), as in the reference code of Choe et al. (CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Callable

from wsol_bench.errors import unknown_choice
from wsol_bench.models.backbones.backbone import HEAD_LR_RATIO, Backbone, Points, Visit
from wsol_bench.models.backbones.densenet import densenet161
from wsol_bench.models.backbones.inception import inception_v3
from wsol_bench.models.backbones.mobilenet import mobilenet_v1, mobilenet_v2
from wsol_bench.models.backbones.resnet import resnet
from wsol_bench.models.backbones.small import small_resnet
from wsol_bench.models.backbones.vgg import vgg16
from wsol_bench.models.weights import NO_WEIGHTS

__all__ = ["BACKBONES", "HEAD_LR_RATIO", "Backbone", "Points", "Visit", "build_backbone"]

BACKBONES: dict[str, Callable[[str, bool], Backbone]] = {
    "resnet_tiny": lambda weights, large: small_resnet((16, 24, 48, 96, 128), weights, large),
    "resnet_small": lambda weights, large: small_resnet((24, 32, 64, 128, 192), weights, large),
    "resnet18": lambda weights, large: resnet("resnet18", 512, weights, large),
    "resnet50": lambda weights, large: resnet("resnet50", 2048, weights, large),
    "vgg16_gap": vgg16,
    "inception_v3": inception_v3,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "densenet161": densenet161,
}
"""Builders by name: ``(weights, large_feature_map) -> Backbone``."""

_BARE: dict[str, Callable[[str, bool], Backbone]] = {
    "vgg16_gap": lambda weights, large: vgg16(weights, large, gap=False),
    "inception_v3": lambda weights, large: inception_v3(weights, large, gap=False),
}


def build_backbone(
    name: str, weights: str = NO_WEIGHTS, large_feature_map: bool = True, *, bare: bool = False
) -> Backbone:
    """Builds a trunk.

    Args:
        name: one of :data:`BACKBONES`.
        weights: ``none``, ``torchvision``, ``timm:<model>``, or a file of a state dict (see ``models.weights``).
        large_feature_map: remove one more stride.
        bare: leave out the new convolutions in which VGG16-GAP and InceptionV3 end, for methods with heads of their
        own.

    Raises:
        UsageError: the name is unknown or the weights cannot be fetched.
        DataError: the weights' file does not fit.
    """
    if name not in BACKBONES:
        raise unknown_choice("backbone", name, BACKBONES)
    builder = _BARE.get(name, BACKBONES[name]) if bare else BACKBONES[name]
    return builder(weights, large_feature_map)
