"""Frozen vision transformers as encoders: patches, class tokens and attention of the last blocks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.errors import UsageError
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.models.heads import float32_only
from wsol_bench.models.vit import VitTower, build_vit, grid_of, mean_std_of
from wsol_bench.models.weights import NO_WEIGHTS, pretrained_unneeded, with_pretrained

CLASS_BLOCKS = 4
"""Class tokens of so many last blocks are joined, as in DINO's linear evaluation of small models."""


class FrozenPatches(FrozenFunction):
    """Patch features of any ViT of timm, EVA-02 included: ``patches`` ``[B, width, grid, grid]`` after the final norm.

    Args:
        backbone: model of timm.
        weights: see :func:`~wsol_bench.models.vit.build_vit`; not ``none``.
        frame: side of the input in pixels.

    Attributes:
        width: channels.
        grid: patches along each side.
        mean_std: channel means and deviations of the input.

    Raises:
        UsageError: see :func:`~wsol_bench.models.vit.build_vit`, and weights are ``none``.
        DataError: the weights' file does not fit.
    """

    def __init__(self, backbone: str, weights: str, frame: int) -> None:
        vit = _trained_vit(backbone, weights, frame)
        super().__init__(vit, f"patches@1 of {backbone} at {frame}")
        self.width: int = vit.embed_dim
        self.grid = grid_of(vit)
        self.mean_std = mean_std_of(vit)

    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        (patches,) = self.network.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
        return {"patches": patches}


class FrozenVit(FrozenFunction):
    """Everything that methods read from a frozen ViT with a class token.

    Answers: ``patches`` ``[B, width, grid, grid]`` after the final norm, ``classes`` ``[B, 4 * width]`` (normed class
    tokens of the last four blocks, in order), and ``attention`` ``[B, heads, grid, grid]`` of the class token to the
    patches in the last block, after softmax.

    Args:
        backbone: model of timm.
        weights: see :func:`~wsol_bench.models.vit.build_vit`; not ``none``.
        frame: side of the input in pixels.

    Attributes:
        width: channels of a token.
        heads: of the attention.
        grid: patches along each side.
        mean_std: channel means and deviations of the input.

    Raises:
        UsageError: see :func:`~wsol_bench.models.vit.build_vit`, and weights are ``none``.
        DataError: the weights' file does not fit.
    """

    network: VitTower

    def __init__(self, backbone: str, weights: str, frame: int) -> None:
        tower = VitTower(_trained_vit(backbone, weights, frame))
        super().__init__(tower, f"tokens@1 of {backbone} at {frame}")
        self.width, self.heads, self.grid, self.mean_std = tower.width, tower.heads, tower.grid, tower.mean_std

    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        tower = self.network
        tokens, joined, attention = tower.embed(images), [], None
        for index in range(tower.depth):
            if index == tower.depth - 1:
                tokens, attention = tower.attending_block(index, tokens)
            else:
                tokens = tower.block(index, tokens)
            if index >= tower.depth - CLASS_BLOCKS:
                joined.append(tower.norm(tokens))
        assert attention is not None  # noqa: S101 - a tower has blocks
        return {
            "patches": tower.on_grid(joined[-1][:, 1:]),
            "classes": torch.cat([one[:, 0] for one in joined], dim=1),
            "attention": tower.on_grid(attention[:, :, 0, 1:].transpose(1, 2)),
        }

    def class_features(self, images: Tensor) -> Tensor:
        """Returns ``classes`` ``[B, 4 * width]`` with a graph to the images, for losses on masked images."""
        return self.compute(images, None)["classes"]


def candidate_maps(attention: Tensor, heads: int) -> Tensor:
    """Returns the mean of all heads and the first ``heads`` ones, ``[B, 1 + heads, g, g]``, each divided by its max.

    Args:
        attention: ``[B, H, g, g]``, not negative.
        heads: up to ``H``.
    """
    maps = torch.cat([attention.mean(dim=1, keepdim=True), attention[:, :heads]], dim=1).float()
    return maps / maps.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)


def blurred_images(images: Tensor, sigma: float) -> Tensor:
    """Blurs ``[B, 3, S, S]`` by a Gaussian, reflected at the border.

    Args:
        images: any scale; the blur is linear, so that normalised images stay normalised.
        sigma: in pixels; the kernel ends where it would leave the image.
    """
    side = images.shape[2]
    radius = min(round(3 * sigma), side - 1)
    if radius < 1:
        return images
    places = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-places.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    flat = images.float().flatten(0, 1)[:, None]
    with float32_only(images.device):
        flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
        flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))
    return flat[:, 0].view_as(images)


def _trained_vit(backbone: str, weights: str, frame: int) -> Any:
    if weights == NO_WEIGHTS and not pretrained_unneeded():
        raise UsageError("Expected weights for a frozen encoder but got weights=none; fix: name them.")
    with with_pretrained():
        vit, _ = build_vit(backbone, weights, frame)
    return vit
