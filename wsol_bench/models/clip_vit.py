"""The image tower of an open_clip ViT, token by token: features, attention, and a gradient where one is wanted.

Works on the library's own modules, block by block; nothing of it is patched or copied, no hook is left behind.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.errors import UsageError

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]


class ClipImageTower(nn.Module):
    """A frozen ViT image tower.

    Args:
        visual: the image tower of an open_clip model.
        mean: channel means of its input, for pixel values in [0, 1].
        std: channel deviations, likewise.

    Attributes:
        side: side of the square input in pixels.
        grid: patches along each side of it.
        pools_patches: whether the mean of the patches represents the image, not the class token.

    Raises:
        UsageError: the tower is no plain ViT (a ResNet, a timm model, attentional pooling).
    """

    def __init__(self, visual: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
        attentions = [getattr(block, "attn", None) for block in blocks or ()]
        plain = bool(attentions) and all(isinstance(one, nn.MultiheadAttention) for one in attentions)
        pooled = getattr(visual, "attn_pool", None) is not None or getattr(visual, "pool_type", "") not in (
            "tok",
            "avg",
        )
        if not plain or pooled:
            raise UsageError(
                f"Expected a CLIP model with a plain ViT image tower but got {type(visual).__name__}; fix: a model "
                "such as ViT-B-16-quickgelu."
            )
        self.visual: Any = visual.eval().requires_grad_(False)
        self.blocks: Any = blocks
        self.mean_std = mean, std
        self.pools_patches = visual.pool_type == "avg"
        side, patch = _first(visual.image_size), _first(visual.patch_size)
        self.side = side
        self.grid = side // patch

    @property
    def description(self) -> str:
        """What features depend on beside weights: activation, heads, pooling, and the normalisation of the input."""
        block = self.blocks[0]
        parts = (block.mlp, block.attn.num_heads, self.visual.pool_type, self.visual.final_ln_after_pool)
        return f"a tower of {len(self.blocks)} blocks {parts} for {self.side} px {self.mean_std}"

    def prepare(self, pixels: Tensor) -> Tensor:
        """Resizes colours ``[B, 3, S, S]`` in 0..255 to the tower's side (bicubic, antialiased) and normalises them."""
        pixels = pixels.float()
        if pixels.shape[-1] != self.side:
            size = (self.side, self.side)
            pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)
        mean, std = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in self.mean_std)
        return (pixels / 255 - mean) / std

    def embed(self, pixels: Tensor) -> Tensor:
        """Returns the tokens ``[B, 1 + grid ** 2, width]`` that enter the first block, the class token first."""
        visual = self.visual
        patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
        token = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens: Tensor = visual.ln_pre(torch.cat([token, patches], dim=1) + visual.positional_embedding)
        return tokens

    def block(self, index: int, tokens: Tensor, *, attention: bool = False) -> tuple[Tensor, Tensor | None]:
        """Runs one block on ``[B, N, width]``; with ``attention`` also its weights, averaged over the heads."""
        block = self.blocks[index]
        return self.after_norm(index, tokens, block.ln_1(tokens), attention=attention)

    def after_norm(
        self, index: int, tokens: Tensor, normed: Tensor, *, attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Runs a block from the output ``normed`` of its first layer norm on, the point where CLIP-ES differentiates.

        Args:
            index: number of the block, from 0; negative ones count from the end.
            tokens: ``[B, N, width]``, what entered the block.
            normed: ``[B, N, width]``, ``ln_1(tokens)``.
            attention: also return the attention weights.

        Returns:
            Tokens ``[B, N, width]``, and the weights ``[B, N, N]`` (row = query, rows sum to 1) or None.
        """
        block = self.blocks[index]
        value = normed if block.attn.batch_first else normed.transpose(0, 1)
        mixed, weights = block.attn(value, value, value, need_weights=attention, average_attn_weights=True)
        mixed = mixed if block.attn.batch_first else mixed.transpose(0, 1)
        return self.perceive(index, tokens + block.ls_1(mixed)), weights

    def heads(self, index: int, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries, keys and values ``[B, heads, N, d]`` of a block, each, from its normed input."""
        of = self.blocks[index].attn
        mixed = F.linear(normed, of.in_proj_weight, of.in_proj_bias).unflatten(2, (3, of.num_heads, -1))  # type: ignore[no-untyped-call]
        queries, keys, values = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        return queries, keys, values

    def mix(self, index: int, weights: Tensor, values: Tensor) -> Tensor:
        """Returns ``[B, N, width]``, values ``[B, heads, N, d]`` mixed by ``[B, heads, N, N]`` and projected."""
        block = self.blocks[index]
        mixed: Tensor = block.ls_1(block.attn.out_proj((weights @ values).transpose(1, 2).flatten(2)))
        return mixed

    def perceive(self, index: int, tokens: Tensor) -> Tensor:
        """Runs the second half of a block, its perceptron."""
        block = self.blocks[index]
        after: Tensor = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
        return after

    def read(self, tokens: Tensor) -> Tensor:
        """Returns what represents the image in the joint space, ``[B, d]``, from the tokens of the last block."""
        if self.pools_patches and self.visual.final_ln_after_pool:
            return self.project(tokens[:, 1:].mean(dim=1))
        projected = self.project(tokens)
        return projected[:, 1:].mean(dim=1) if self.pools_patches else projected[:, 0]

    def project(self, tokens: Tensor) -> Tensor:
        """Maps tokens ``[..., width]`` of the last block to the joint space ``[..., d]``, not normalised."""
        normed = self.visual.ln_post(tokens)
        projected: Tensor = normed if self.visual.proj is None else normed @ self.visual.proj
        return projected

    def encode(self, pixels: Tensor) -> Tensor:
        """Returns what the library itself returns for images: ``[B, d]``, not normalised."""
        features: Tensor = self.visual(pixels)
        return features


def _first(size: int | tuple[int, int]) -> int:
    return size if isinstance(size, int) else size[0]


class TextedTower(nn.Module):
    """An image tower, texts, and the normalisation of the images that it is given: all that its maps depend on.

    Args:
        tower: frozen image tower.
        texts: ``[N, d]`` unit text features.
        mean_std: channel means and deviations with which images were normalised.
    """

    texts: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, tower: ClipImageTower, texts: Tensor, mean_std: MeanStd) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("texts", texts)
        self.register_buffer("mean", torch.tensor(mean_std[0]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(mean_std[1]).view(1, 3, 1, 1))

    def pixels(self, images: Tensor) -> Tensor:
        """Returns normalised images as colours in 0..255 again."""
        return ((images.float() * self.std + self.mean) * 255).clamp(0, 255)
