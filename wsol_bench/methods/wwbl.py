"""WWbL, the WSOL mode: what is where by looking (Shaharabany et al., NeurIPS 2022).

A U-Net draws a mask from the image alone. A frozen CLIP trains it: what the mask keeps must look like the text of the
class, what it removes must not, it must resemble CLIP's own relevance map, and it must be small. Text appears in the
losses only. The network classifies nothing: class scores are CLIP's zero-shot scores. Masking happens in pixels,
before CLIP's own normalisation, with removed pixels in mid grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.cam import BackboneParams
from wsol_bench.methods.clip_params import NONE, ClipParams, ClipTexts
from wsol_bench.methods.hparams import Fixed, hp
from wsol_bench.models.backbones import build_backbone
from wsol_bench.models.clip_relevance import ClipRelevance
from wsol_bench.models.decoder import UNet
from wsol_bench.models.heads import in_float32

DIAGONAL, ALL_PAIRS = "diagonal", "all_pairs"
REMOVED = 127.5


class WWbL(Method):
    """A mask network trained by CLIP."""

    title = "What is where by looking (WSOL mode)"
    citation = (
        "Shaharabany et al., What is Where by Looking: Weakly-Supervised Open-World Phrase-Grounding, NeurIPS 2022"
    )

    class HParams(BackboneParams, ClipParams):
        """Hyper-parameters of WWbL."""

        distractors: str = hp(
            NONE,
            Fixed(),
            "words that compete with the class, separated by commas: the losses of the WSOL code; or none",
        )
        word: str = hp(NONE, Fixed(), "one word for all classes ('bird'); none: the name of each class")
        pairing: str = hp(DIAGONAL, Fixed((DIAGONAL, ALL_PAIRS)), "compare own pairs, or all pairs of the batch")
        foreground_weight: float = hp(1.0, Fixed(), "factor on the loss of what is kept")
        background_weight: float = hp(1.0, Fixed(), "factor on the loss of what is removed")
        relevance_weight: float = hp(4.0, Fixed(), "factor on the distance from CLIP's relevance map")
        size_weight: float = hp(1.0, Fixed(), "factor on the mean of the mask")
        relevance_blocks: int = hp(1, Fixed(), "blocks of CLIP whose attention makes the relevance map, from the last")

    others: Tensor

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.hparams = hparams
        self.clip = ClipTexts(hparams, class_names)
        backbone = build_backbone(hparams.backbone, hparams.weights, hparams.large_feature_map)
        self.unet = UNet(backbone, 1, frame, centre=hparams.backbone == "vgg16_gap")
        words = class_names if hparams.word == NONE else [hparams.word] * num_classes
        self.register_buffer("texts", self.clip.features(words), persistent=False)
        self.register_buffer("others", self.clip.background(hparams.distractors), persistent=False)
        self.relevance = ClipRelevance(
            self.clip.tower, self.texts, self.mean_std, hparams.relevance_blocks, self.clip.scale
        )

    texts: Tensor

    def mask(self, images: Tensor) -> Tensor:
        """Returns the mask ``[B, S, S]`` in (0, 1)."""
        return torch.sigmoid(self.unet(images).float())[:, 0]

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        mask = self.mask(batch.images)
        relevance = self.relevance(batch.images, batch.labels)["maps"]
        large = F.interpolate(relevance[:, None], mask.shape[1:], mode="bilinear", align_corners=False)[:, 0]
        # A map of zeros says that CLIP sees nothing of the class; such images teach the mask nothing here.
        known = (relevance.amax(dim=(1, 2)) > 0).to(mask.dtype)
        distance = (mask - large).square().mean(dim=(1, 2))
        pixels, shown = self.pixels(batch.images), mask[:, None]
        kept = self._seen(pixels * shown + REMOVED * (1 - shown))
        removed = self._seen(pixels * (1 - shown) + REMOVED * shown)
        wanted = self.texts[batch.labels]
        if len(self.others):
            foreground = F.cross_entropy(self._against_others(kept, wanted), torch.zeros_like(batch.labels))
            whole = self._against_others(self._seen(pixels), wanted)[:, 0]
            background = (self._against_others(removed, wanted)[:, 0] / (whole.detach().abs() + 1e-8)).mean()
        elif self.hparams.pairing == ALL_PAIRS:
            # Gradients between unit vectors that nearly agree would drown in the rounding of half precision.
            foreground = (1 - in_float32(lambda unit: unit @ wanted.T, kept)).mean()
            background = in_float32(lambda unit: unit @ wanted.T, removed).abs().mean()
        else:
            foreground, background = (-kept * wanted).sum(dim=1).mean(), (removed * wanted).sum(dim=1).mean()
        return {
            "foreground": self.hparams.foreground_weight * foreground,
            "background": self.hparams.background_weight * background,
            "relevance": self.hparams.relevance_weight * (distance * known).sum() / known.sum().clamp(min=1),
            "size": self.hparams.size_weight * mask.mean(),
        }

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        return Localization(self.mask(images), self.clip.logits(self.clip.tower.prepare(self.pixels(images))))

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return self.unet.param_groups(lr)

    def _seen(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.clip.tower.encode(self.clip.tower.prepare(pixels))
        return F.normalize(features.float(), dim=-1)

    def _against_others(self, features: Tensor, wanted: Tensor) -> Tensor:
        """Returns logits ``[B, 1 + others]`` of image features, the wanted text first."""
        own = (features * wanted).sum(dim=1, keepdim=True)
        return self.clip.scale * torch.cat([own, in_float32(lambda unit: unit @ self.others.T, features)], dim=1)
