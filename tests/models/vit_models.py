"""Small vision transformers whose weights are random but not timid, and what timm's own attention was."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsol_bench.models.vit import MINI, build_vit


def stirred(module: Any, seed: int = 0) -> Any:
    """Noise on every weight: fresh ones give nearly uniform attention, norms of one and biases of zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def mini(frame: int = 64, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return stirred(build_vit(MINI, "none", frame)[0], seed)


def images(frame: int = 64, count: int = 2) -> Tensor:
    return torch.randn(count, 3, frame, frame, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def timm_attentions(vit: Any, pixels: Tensor) -> list[Tensor]:
    """Attention ``[B, heads, T, T]`` of every block, as it passes timm's own dropout."""
    kept: list[Tensor] = []
    handles = []
    for block in vit.blocks:
        block.attn.fused_attn = False
        handles.append(block.attn.attn_drop.register_forward_hook(lambda _, __, out: kept.append(out)))
    vit.forward_features(pixels)
    for handle in handles:
        handle.remove()
    return kept
