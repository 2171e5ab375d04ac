r"""Relevance of patches for the similarity of an image and a text, by attention and its gradient.

Source: Chefer, Gur and Wolf, Generic Attention-model Explainability, ICCV 2021; method spec ``gae_clip_relevance``. Of
every block from some block on, attention ``A`` ``[heads, T, T]`` and the gradient of the similarity with respect to it
give ``mean over heads of relu(grad * A)``; these are rolled out as ``R <- R + A' R`` from the identity. The map is what
the token that represents the image receives from the patches.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.models.clip_vit import ClipImageTower, MeanStd, TextedTower
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.models.heads import float32_only, normalised_maps


def clip_relevance(
    tower: ClipImageTower, pixels: Tensor, texts: Tensor, *, blocks: int = 1, scale: float = 1.0
) -> Tensor:
    """Computes one map per pair of an image and a text.

    Args:
        tower: frozen image tower.
        pixels: ``[B, 3, side, side]``, as :meth:`ClipImageTower.prepare` returns them.
        texts: ``[B, d]`` unit text features, one per image.
        blocks: how many blocks count, from the last one; 1 as in WWbL, all of them in the paper's rule.
        scale: factor on the cosine; that of CLIP in the paper's rule, and of no effect with one block.

    Returns:
        ``[B, grid, grid]`` float32 in [0, 1]; all zeros where nothing speaks for the text. In float32 throughout, since
        gradients of attention underflow in half precision.
    """
    with float32_only(pixels.device):
        return _relevance(tower, pixels, texts, blocks, scale)


def _relevance(tower: ClipImageTower, pixels: Tensor, texts: Tensor, blocks: int, scale: float) -> Tensor:
    depth = len(tower.blocks)
    first = max(depth - blocks, 0)
    with torch.no_grad():
        tokens = tower.embed(pixels.float())
        for index in range(first):
            tokens, _ = tower.block(index, tokens)
    with torch.enable_grad():
        attentions = []
        for index in range(first, depth):
            queries, keys, values = tower.heads(index, tower.blocks[index].ln_1(tokens))
            attention = (queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5).softmax(dim=-1)
            # In the first block that counts nothing needs a gradient yet, so that its attention is made a leaf.
            attention = attention if attention.requires_grad else attention.requires_grad_()
            attentions.append(attention)
            tokens = tower.perceive(index, tokens + tower.mix(index, attention, values))
        similarity = scale * (F.normalize(tower.read(tokens), dim=-1) * texts).sum()
        gradients = torch.autograd.grad(similarity, attentions)
    count = tokens.shape[1]
    rolled = torch.eye(count, device=pixels.device).expand(len(pixels), -1, -1)
    for attention, gradient in zip(attentions, gradients, strict=True):
        rolled = rolled + (attention.detach() * gradient).clamp(min=0).mean(dim=1) @ rolled
    # Where the mean of the patches represents the image, each of them reads it out.
    received = rolled[:, 1:, 1:].mean(dim=1) if tower.pools_patches else rolled[:, 0, 1:]
    return normalised_maps(received.unflatten(1, (tower.grid, tower.grid)))  # type: ignore[no-untyped-call]


class ClipRelevance(FrozenFunction):
    """Relevance of an image's patches for the text of its class: ``maps`` ``[B, grid, grid]`` in [0, 1].

    Args:
        tower: frozen image tower.
        texts: ``[C, d]`` unit text features.
        mean_std: of the images that it will be given.
        blocks: see :func:`clip_relevance`.
        scale: likewise.
    """

    by_label = True

    def __init__(
        self, tower: ClipImageTower, texts: Tensor, mean_std: MeanStd, blocks: int, scale: float = 1.0
    ) -> None:
        description = f"clip relevance@1 blocks {blocks} scale {scale} of {tower.description}"
        super().__init__(TextedTower(tower, texts, mean_std), description)
        self._blocks, self._scale = blocks, scale

    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        texted: TextedTower = self.network
        prepared = texted.tower.prepare(texted.pixels(images))
        texts = texted.texts[labels]
        return {"maps": clip_relevance(texted.tower, prepared, texts, blocks=self._blocks, scale=self._scale)}
