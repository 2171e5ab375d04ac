"""Pseudo-pixels: a few foreground and background pixels drawn afresh from a noisy map at every step.

Source: F-CAM (Belharbi et al., WACV 2022), reused by DiPS and TeD-Loc; method spec ``pseudo_pixel_sampling``.
Everything runs in batches on the device of the maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -255
"""Label of pixels that take no part in the loss."""

_TIE = 1e-6
_FLOOR = 1e-8


@dataclass(frozen=True)
class SeedRule:
    """How pixels are drawn.

    Attributes:
        foreground: foreground draws per image, without replacement.
        background: background draws per image, likewise.
        foreground_share: the foreground is drawn from this share of the region (of the image where there is none), its
            strongest pixels.
        background_share: the background is drawn from this share of the image, its weakest pixels.
        foreground_mode: ``uniform`` among the candidates, or ``weighted`` by the map.
        background_mode: ``uniform``, or ``weighted`` by one minus the map.
        dilate: side of the square that every draw grows to; odd.
    """

    foreground: int = 1
    background: int = 1
    foreground_share: float = 1.0
    background_share: float = 0.1
    foreground_mode: Literal["uniform", "weighted"] = "uniform"
    background_mode: Literal["uniform", "weighted"] = "uniform"
    dilate: int = 3


def draw_seeds(
    maps: Tensor, rule: SeedRule, region: Tensor | None = None, not_background: Tensor | None = None
) -> Tensor:
    """Draws pseudo-pixels.

    Candidates are the strongest and weakest pixels by value; equal values are ordered by chance, not by place. Pixels
    that both kinds claim after growing are ignored.

    Args:
        maps: ``[B, H, W]`` in [0, 1], detached.
        rule: how many, from where.
        region: ``[B, H, W]`` bool, where foreground may be drawn; everywhere when None.
        not_background: ``[B, H, W]`` bool, where no background is drawn.

    Returns:
        ``[B, H, W]`` int64: 1 foreground, 0 background, :data:`IGNORE` elsewhere. A constant map, and a map with NaN,
        gives none.
    """
    batch, height, width = maps.shape
    flat = maps.flatten(1).float()
    usable = (flat.amax(dim=1) > flat.amin(dim=1)) & torch.isfinite(flat).all(dim=1)
    flat = torch.where(usable[:, None], flat, 0.0)
    inside = torch.ones_like(flat, dtype=torch.bool) if region is None else region.flatten(1)
    outside = torch.ones_like(inside) if not_background is None else ~not_background.flatten(1)
    jittered = flat + _TIE * torch.rand_like(flat)
    wanted_inside = (rule.foreground_share * inside.sum(dim=1)).long()
    wanted_outside = torch.full_like(wanted_inside, int(rule.background_share * height * width))
    strongest = _best(jittered, inside, wanted_inside)
    weakest = _best(-jittered, outside, wanted_outside)
    foreground = _drawn(flat + _FLOOR, strongest & usable[:, None], rule.foreground, rule.foreground_mode)
    background = _drawn(
        (1 - flat).clamp(min=0) + _FLOOR, weakest & usable[:, None], rule.background, rule.background_mode
    )
    front, back = (_grown(one.view(batch, 1, height, width), rule.dilate) for one in (foreground, background))
    seeds = torch.full((batch, height, width), IGNORE, dtype=torch.long, device=maps.device)
    seeds[back & ~front] = 0
    seeds[front & ~back] = 1
    return seeds


def otsu_region(maps: Tensor) -> Tensor:
    """Returns where maps ``[B, H, W]`` in [0, 1] exceed their own Otsu threshold on 8-bit levels: ``[B, H, W]`` bool.

    The rule of ``wsol_bench.maps.otsu``, for a batch on its device; empty for a constant map.
    """
    levels = (maps.flatten(1).float() * 255).floor().clamp(0, 255).long()
    batch, count = levels.shape
    histogram = torch.zeros(batch, 256, dtype=torch.float64, device=maps.device)
    histogram.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float64))
    values = torch.arange(256, dtype=torch.float64, device=maps.device)
    below, mass = histogram.cumsum(dim=1), (histogram * values).cumsum(dim=1)
    above = count - below
    difference = mass / below.clamp(min=1) - (mass[:, -1:] - mass) / above.clamp(min=1)
    between = torch.where((below > 0) & (above > 0), below * above * difference.square(), -1.0)
    cut = between.argmax(dim=1).clamp(1, 254)
    return ((levels > cut[:, None]) & (between.amax(dim=1) >= 0)[:, None]).view(maps.shape)


def eroded(region: Tensor, side: int, times: int = 1) -> Tensor:
    """Erodes regions ``[B, H, W]`` bool by a square; an erosion that would empty a region is undone."""
    for _ in range(times):
        smaller = ~_grown(~region[:, None], side)
        region = torch.where(smaller.any(dim=(1, 2), keepdim=True), smaller, region)
    return region


def _best(values: Tensor, allowed: Tensor, wanted: Tensor) -> Tensor:
    """Marks, in every row, the ``wanted`` largest of the allowed values."""
    order = torch.where(allowed, values, -torch.inf).argsort(dim=1, descending=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return allowed & (rank < wanted[:, None])


def _drawn(weights: Tensor, candidates: Tensor, count: int, mode: str) -> Tensor:
    """Draws up to ``count`` candidates of every row without replacement, by weight or uniformly."""
    chosen = torch.zeros_like(candidates)
    if count < 1:
        return chosen
    # The k smallest of exponential times over weights are a draw without replacement.
    times = torch.empty_like(weights).exponential_()
    race = torch.where(candidates, times / weights if mode == "weighted" else times, torch.inf)
    first = race.topk(min(count, race.shape[1]), dim=1, largest=False)
    return chosen.scatter_(1, first.indices, torch.isfinite(first.values))


def _grown(region: Tensor, side: int) -> Tensor:
    """Dilates ``[B, 1, H, W]`` bool by a square and drops the channel."""
    if side <= 1:
        return region[:, 0]
    return F.max_pool2d(region.float(), side, stride=1, padding=side // 2)[:, 0] > 0
