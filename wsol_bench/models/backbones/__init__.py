"""Convolutional trunks with the strides that localization wants.

Every trunk maps ``[B, 3, S, S]`` to features ``[B, channels, h, w]``. ``large_feature_map`` removes one more stride
(28 x 28 instead of 14 x 14 at S = 224), as in the reference code of Choe et al. (CVPR 2020).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from wsol_bench.errors import unknown_choice
from wsol_bench.models.backbones.backbone import HEAD_LR_RATIO, Backbone, Points, Visit
from wsol_bench.models.weights import NO_WEIGHTS

__all__ = ["BACKBONES", "HEAD_LR_RATIO", "Backbone", "Points", "Visit", "build_backbone"]

Builder = Callable[[str, bool], Backbone]


def _of(module: str, function: str, *arguments: Any, **options: Any) -> Builder:
    """A builder whose module is imported when it is used: torchvision and timm take seconds."""

    def build(weights: str, large_feature_map: bool) -> Backbone:
        made = getattr(importlib.import_module(f"{__name__}.{module}"), function)
        backbone: Backbone = made(*arguments, weights, large_feature_map, **options)
        return backbone

    return build


BACKBONES: dict[str, Builder] = {
    "resnet_tiny": _of("small", "small_resnet", (16, 24, 48, 96, 128)),
    "resnet_small": _of("small", "small_resnet", (24, 32, 64, 128, 192)),
    "resnet18": _of("resnet", "resnet", "resnet18", 512),
    "resnet50": _of("resnet", "resnet", "resnet50", 2048),
    "vgg16_gap": _of("vgg", "vgg16"),
    "inception_v3": _of("inception", "inception_v3"),
    "mobilenet_v1": _of("mobilenet", "mobilenet_v1"),
    "mobilenet_v2": _of("mobilenet", "mobilenet_v2"),
    "densenet161": _of("densenet", "densenet161"),
}
"""Builders by name: ``(weights, large_feature_map) -> Backbone``."""

_BARE: dict[str, Builder] = {
    "vgg16_gap": _of("vgg", "vgg16", gap=False),
    "inception_v3": _of("inception", "inception_v3", gap=False),
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
