"""Attention of the class token of a frozen, self-supervised ViT, the head chosen by a classifier.

Every head of the last block, and their mean, is a candidate map. A linear classifier on the frozen class tokens, the
only thing that is trained, is shown the image with everything blurred but the candidate's object region (Otsu); the
candidate under which the class keeps the highest probability is the map. Sources: DINO (Caron et al., ICCV 2021) and
the selection rule of DiPS; method spec ``dino_attention``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.losses.pseudo_pixels import otsu_region
from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.hparams import Fixed, HyperParams, hp
from wsol_bench.models.embedded import EMBEDDED
from wsol_bench.models.frozen_vit import CLASS_BLOCKS, FrozenVit, blurred_images, candidate_maps
from wsol_bench.models.heads import in_float32
from wsol_bench.models.vit import MINI_DINO

REFERENCE_FRAME = 224
PREDICTED, TRUE = "predicted", "true"


class FrozenVitParams(HyperParams):
    """What every method on a frozen vision transformer has."""

    backbone: str = hp(MINI_DINO, Fixed(), "frozen ViT: a model of timm such as vit_small_patch16_224.dino")
    weights: str = hp(EMBEDDED, Fixed(), "'timm' (those of the model's name), 'embedded', or FILE[@sha256:<hex>]")
    views: int = hp(4, Fixed(), "fixed crops per training image, whose features are kept; 0: free crops, not kept")


class OnFrozenVit(Method):
    """Base of methods on a frozen ViT: images are normalised as it wants them, and its answers are kept."""

    hparams: Any
    encoder: Any

    @property
    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        stated: tuple[tuple[float, ...], tuple[float, ...]] = self.encoder.mean_std
        return stated

    @property
    def views(self) -> int:
        return int(self.hparams.views)


class LinearProbe(OnFrozenVit):
    """Base of methods with a linear classifier on the frozen class tokens of a ViT."""

    encoder: FrozenVit

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.hparams = hparams
        self.frame = frame
        self.encoder = FrozenVit(hparams.backbone, hparams.weights, frame)
        self.head = nn.Linear(CLASS_BLOCKS * self.encoder.width, num_classes)
        nn.init.normal_(self.head.weight, 0.0, 0.01)
        nn.init.zeros_(self.head.bias)

    def classify(self, images: Tensor) -> Tensor:
        """Returns the logits ``[B, C]`` of the probe."""
        return in_float32(self.head, self.encoder(images)["classes"])

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(self.classify(batch.images), batch.labels)}


class DinoAttention(LinearProbe):
    """The attention map that a classifier recognises the class by."""

    title = "Attention of a self-supervised ViT"
    citation = "Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021"

    class HParams(FrozenVitParams):
        """Hyper-parameters of the choice."""

        heads: int = hp(12, Fixed(), "candidates: the mean and so many heads, as far as there are")
        chosen_by: str = hp(
            PREDICTED, Fixed((PREDICTED, TRUE)), "whose probability chooses: the predicted class's or the true one's"
        )
        blur: float = hp(60.0, Fixed(), "standard deviation of the blur outside the region, pixels at 224")

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        answers = self.encoder(images)
        logits = in_float32(self.head, answers["classes"])
        wanted = self.select_labels(logits, labels if self.hparams.chosen_by == TRUE else None)
        maps = candidate_maps(answers["attention"], self.hparams.heads)
        chosen = self.chosen(images, maps, wanted)
        return Localization(maps[torch.arange(len(maps), device=maps.device), chosen], logits)

    def chosen(self, images: Tensor, maps: Tensor, wanted: Tensor) -> Tensor:
        """Returns the index ``[B]`` of the candidate ``[B, N, g, g]`` that keeps the most of a class ``[B]``.

        A candidate without a region takes no part; if none has one, the first, the mean of the heads, is taken.
        """
        count, size = maps.shape[1], images.shape[2:]
        large = F.interpolate(maps, size, mode="bilinear", align_corners=False)
        regions = otsu_region(large.flatten(0, 1)).view_as(large)
        blurred = blurred_images(images, self.hparams.blur * self.frame / REFERENCE_FRAME)
        scores = []
        for index in range(count):
            shown = torch.where(regions[:, index : index + 1], images, blurred)
            probability = torch.softmax(self.classify(shown), dim=1)
            scores.append(probability.gather(1, wanted[:, None])[:, 0])
        usable = regions.flatten(2).any(dim=2)
        # Where none is usable all scores are equal, and argmax takes the first.
        return torch.where(usable, torch.stack(scores, dim=1), -1.0).argmax(dim=1)
