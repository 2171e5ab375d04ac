r"""SAT: the spatial-aware token (Wu et al., ICCV 2023).

One more token joins the ViT. Its query, before softmax, averaged over heads and squashed by a sigmoid, says of every
token how much it is foreground; in the last three blocks this mask multiplies the attention, which is not normalised
again, so that classification has to live on what the mask lets through. A term holds the mask's mean area near a
target, another drives it to 0 or 1. The mask is the map: class-agnostic, the same for every label.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.methods.base import Batch, Localization
from wsol_bench.methods.hparams import Uniform, hp
from wsol_bench.methods.ts_cam import TSCAM, TransformerParams
from wsol_bench.models.heads import in_float32

MASKED_BLOCKS = 3


class SAT(TSCAM):
    """A token that learns to mask the background."""

    title = "Spatial-aware token"
    citation = "Wu et al., Spatial-Aware Token for Weakly Supervised Object Localization, ICCV 2023"

    class HParams(TransformerParams):
        """Hyper-parameters of SAT."""

        area: float = hp(0.35, Uniform(0.0, 1.0), "mean area of the mask that is aimed at, 0 to 1")

    smoothing: Tensor

    def build(self, num_classes: int, class_names: Any, hparams: Any, frame: int) -> None:
        self.area = hparams.area
        super().build(num_classes, class_names, hparams, frame)

    def build_more(self) -> None:
        self.location = nn.Parameter(torch.empty(1, 1, self.tower.width))
        self.location_position = nn.Parameter(torch.empty(1, 1, self.tower.width))
        for token in (self.location, self.location_position):
            nn.init.trunc_normal_(token, std=0.02)
        self.register_buffer("smoothing", smoothing_kernel(), persistent=False)

    def official_names(self) -> dict[str, str]:
        return super().official_names() | {"loc_token": "location", "loc_embed": "location_position"}

    def masked(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns semantic maps ``[B, C, g, g]`` and the mask ``[B, g, g]`` in (0, 1), the mean of the last blocks."""
        tokens = self.tower.embed(images)
        extra = (self.location + self.location_position).expand(len(tokens), -1, -1).to(tokens.dtype)
        tokens = torch.cat([tokens, extra], dim=1)
        plain = self.tower.depth - MASKED_BLOCKS
        for index in range(plain):
            tokens = self.tower.block(index, tokens)
        masks = []
        for index in range(max(plain, 0), self.tower.depth):
            scores, values = self.tower.attention(index, tokens)
            mask = scores[:, :, -1].float().mean(dim=1).sigmoid()
            weights = scores.float().softmax(dim=-1) * mask[:, None, None]
            tokens = self.tower.finish(index, tokens, weights, values)
            masks.append(mask[:, 1:-1])
        return self.semantic_maps(tokens), self.tower.on_grid(torch.stack(masks).mean(dim=0))

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        semantic, mask = self.masked(batch.images)
        # Zero padding darkens the border, so the term never vanishes for masks that touch it; as in the reference.
        smooth = in_float32(lambda x: F.conv2d(x, self.smoothing, padding=1), mask[:, None])
        return {
            "cross_entropy": F.cross_entropy(semantic.mean(dim=(2, 3)), batch.labels),
            "area": (mask.mean() - self.area).abs(),
            "normalisation": (smooth * (1 - smooth)).mean(),
        }

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        semantic, mask = self.masked(images)
        return Localization(mask, semantic.mean(dim=(2, 3)))


def smoothing_kernel() -> Tensor:
    """Returns the fixed 3 x 3 kernel ``[1, 1, 3, 3]`` of the reference, which sums to 1.

    The square root of the outer product of a normal distribution, cut into three equal bins that span 49 / 3
    deviations.
    """
    edges = [49 / 6 * place for place in (-1.0, -1 / 3, 1 / 3, 1.0)]
    share = [0.5 * (1 + math.erf(edge / math.sqrt(2))) for edge in edges]
    bins = torch.tensor([high - low for low, high in itertools.pairwise(share)])
    kernel = torch.outer(bins, bins).sqrt()
    return (kernel / kernel.sum())[None, None]
