"""Patch features of CLIP in the joint space: as it is, or with the last block changed as SCLIP and NACLIP do.

Sources: SCLIP, Wang, Mei and Yuille, ECCV 2024; NACLIP, Hajimiri, Ben Ayed and Dolz, WACV 2025; method spec
``clip_patch_text``.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.models.clip_vit import ClipImageTower

Variant = Literal["vanilla", "sclip", "naclip"]


def dense_features(
    tower: ClipImageTower, pixels: Tensor, variant: Variant = "vanilla", *, sigma: float = 5.0
) -> tuple[Tensor, Tensor]:
    """Returns features of patches and of the image.

    Args:
        tower: frozen image tower.
        pixels: ``[B, 3, side, side]``, as :meth:`ClipImageTower.prepare` returns them.
        variant: ``vanilla``; ``sclip``, whose last block attends by the sum of query-query and key-key attention;
            ``naclip``, by key-key attention with a Gaussian window, without residual and perceptron.
        sigma: width of NACLIP's window in patches.

    Returns:
        Unit vectors ``[B, grid ** 2, d]`` of the patches and ``[B, d]`` of the image, the latter as the changed model
        sees it.
    """
    tokens = tower.embed(pixels)
    last = len(tower.blocks) - 1
    for index in range(last):
        tokens, _ = tower.block(index, tokens)
    if variant == "vanilla":
        tokens, _ = tower.block(last, tokens)
    else:
        queries, keys, values = tower.heads(last, tower.blocks[last].ln_1(tokens))
        weights = dense_attention(queries, keys, variant, tower.grid, sigma)
        mixed = tower.mix(last, weights, values)
        tokens = mixed if variant == "naclip" else tower.perceive(last, tokens + mixed)
    image = F.normalize(tower.read(tokens).float(), dim=-1)
    return F.normalize(tower.project(tokens[:, 1:]).float(), dim=-1), image


def dense_attention(queries: Tensor, keys: Tensor, variant: Variant, grid: int, sigma: float) -> Tensor:
    """Returns the attention ``[B, heads, T, T]`` of a variant, from queries and keys ``[B, heads, T, d]``.

    Rows sum to 2 for SCLIP and to 1 for NACLIP.
    """
    scale = float(queries.shape[3] ** -0.5)
    alike = scale * keys @ keys.transpose(2, 3)
    if variant == "naclip":
        return (alike + gaussian_window(grid, sigma).to(alike)).softmax(dim=-1)
    return (scale * queries @ queries.transpose(2, 3)).softmax(dim=-1) + alike.softmax(dim=-1)


def gaussian_window(grid: int, sigma: float) -> Tensor:
    """Returns NACLIP's addition to the logits ``[T, T]``: a Gaussian of the distance of patches, 0 for the class
    token.
    """
    places = torch.arange(grid * grid)
    rows, columns = places // grid, places % grid
    squared = (rows[:, None] - rows).square() + (columns[:, None] - columns).square()
    return F.pad(torch.exp(-squared / (2 * sigma**2)), (1, 0, 1, 0))
