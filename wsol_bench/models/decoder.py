"""A U-Net decoder from the features of a backbone to maps at the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.models.backbones import Backbone
from wsol_bench.models.heads import in_float32

CHANNELS = (256, 128, 64, 32, 16)
"""Of the blocks, deepest first."""


class Decoder(nn.Module):
    """Doubles the resolution block by block, joining in features of the backbone.

    A block enlarges twofold (nearest), fits the result to the size of its skip, and applies two 3 x 3 convolutions with
    batch normalisation and ReLU. Source: F-CAM (Belharbi et al., WACV 2022).

    Args:
        channels: of the deepest features.
        skips: channels of the features that are joined in, deepest first.
        outputs: channels of the result.
        widths: channels of the blocks, one more than there are skips, or as many.
        centre: two more convolutions on the deepest features, as with VGG16.
    """

    def __init__(
        self,
        channels: int,
        skips: Sequence[int],
        outputs: int,
        widths: Sequence[int] = CHANNELS,
        *,
        centre: bool = False,
    ) -> None:
        super().__init__()
        self.centre = double_conv(channels, channels) if centre else nn.Identity()
        self.blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            self.blocks.append(double_conv(channels + (skips[i] if i < len(skips) else 0), width))
            channels = width
        self.head = nn.Conv2d(channels, outputs, 3, padding=1)
        nn.init.xavier_uniform_(self.head.weight)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor, skips: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Returns ``[B, outputs, *size]``.

        Args:
            features: ``[B, channels, h, w]``, the deepest.
            skips: features to join in, deepest first.
            size: height and width of the result.
        """
        x = self.centre(features)
        for i, block in enumerate(self.blocks):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            if i < len(skips):
                x = torch.cat([_fitted(x, skips[i].shape[2:]), skips[i]], dim=1)
            x = block(x)
        return _fitted(in_float32(self.head, x), size)


class UNet(nn.Module):
    """A backbone and a decoder that joins in its features: images to maps of the same size.

    Args:
        backbone: the encoder.
        outputs: channels of the result.
        size: side of the images.
        centre: two more convolutions on the deepest features, as with VGG16.
    """

    def __init__(self, backbone: Backbone, outputs: int, size: int, *, centre: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder_on(backbone, outputs, size, centre=centre)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images ``[B, 3, S, S]`` to ``[B, outputs, S, S]``."""
        points = self.backbone.points.skips
        features, kept = self.backbone.with_features(images, points)
        maps: Tensor = self.decoder(features, [kept[unit] for unit in points], images.shape[2:])
        return maps

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """Returns optimiser groups: the decoder learns faster than a pretrained backbone."""
        return self.backbone.param_groups(self.decoder, lr)


def decoder_on(backbone: Backbone, outputs: int, size: int, *, centre: bool = False) -> Decoder:
    """Returns a decoder that fits the features of a backbone, for images of side ``size``; see :class:`Decoder`."""
    deepest, shapes = backbone.shapes(size, backbone.points.skips)
    skips = [shapes[unit] for unit in backbone.points.skips]
    widths = decoder_widths(deepest[1], [side for _, side in skips], size)
    return Decoder(backbone.channels, [channels for channels, _ in skips], outputs, widths, centre=centre)


def decoder_widths(deepest: int, skips: Sequence[int], size: int) -> tuple[int, ...]:
    """Returns widths of as many blocks as lead from the deepest features through the skips to the size of the image.

    Args:
        deepest: side of the deepest features in pixels.
        skips: sides of the skips, deepest first.
        size: side of the image.
    """
    side = skips[-1] if skips else deepest
    blocks = len(skips)
    while side < size:
        side *= 2
        blocks += 1
    return (*CHANNELS, *[CHANNELS[-1]] * blocks)[:blocks]


def _fitted(x: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)


def double_conv(channels: int, width: int) -> nn.Sequential:
    """Two 3 x 3 convolutions without bias, each with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for inputs in (channels, width):
        conv = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        nn.init.kaiming_uniform_(conv.weight, mode="fan_in", nonlinearity="relu")
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)
