"""F-CAM: full-resolution maps by guided upscaling (Belharbi et al., WACV 2022).

Stage one trains a classifier as CAM does. Stage two freezes it, batch statistics included, and trains a decoder that
turns its features into a foreground map of the size of the image, from a few pseudo-pixels of the true class's map,
drawn afresh at every step, a dense CRF term and a term that keeps both regions from vanishing. The result is
class-agnostic and needs no interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.losses.dense_crf import PUBLISHED_WEIGHT, framed_crf_loss
from wsol_bench.losses.partial_cross_entropy import partial_cross_entropy
from wsol_bench.losses.pseudo_pixels import SeedRule, draw_seeds, eroded, otsu_region
from wsol_bench.losses.region_size import barrier_of_epoch, region_size_loss
from wsol_bench.methods.base import Batch, Localization, Stage, two_stages
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.hparams import Fixed, IntUniform, hp
from wsol_bench.models.decoder import decoder_on
from wsol_bench.models.heads import normalised_maps

REFERENCE_FRAME = 224
"""Pixel sizes of hyper-parameters are given for images of this side and scale with others."""

CLASSIFIER, DECODER = "classifier", "decoder"


class FCAM(CAM):
    """A frozen classifier and a decoder that learns full-resolution maps from its own."""

    title = "Full-resolution CAM"
    citation = (
        "Belharbi et al., F-CAM: Full Resolution Class Activation Maps via Guided Parametric Upscaling, WACV 2022"
    )

    class HParams(CAM.HParams):
        """Hyper-parameters of F-CAM; ``train=false`` takes a trained classifier and trains the decoder only."""

        classifier_share: float = hp(0.5, Fixed(), "share of the epochs in which the classifier is trained, 0 to 1")
        foreground: int = hp(1, IntUniform(1, 10), "foreground pixels per image and step")
        background: int = hp(1, IntUniform(1, 10), "background pixels per image and step")
        background_share: float = hp(0.1, Fixed(), "background is drawn from the lowest share of the map, 0 to 1")
        erosion: int = hp(11, Fixed(), "the foreground region is eroded by this square, pixels at 224")
        crf_weight: float = hp(PUBLISHED_WEIGHT, Fixed(), "factor on the dense CRF loss at 224 pixels; 0: none")
        crf_scale: float = hp(0.5, Fixed(), "the CRF loss looks at images of this scale, 0 to 1")
        size_weight: float = hp(0.1, Fixed(), "factor on the loss of region sizes; 0: none")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.hparams, self.frame = hparams, frame
        self.decoder = decoder_on(self.backbone, 2, frame, centre=hparams.backbone == "vgg16_gap")
        self.rule = SeedRule(hparams.foreground, hparams.background, 1.0, hparams.background_share)
        self.erosion = 2 * round((hparams.erosion * frame / REFERENCE_FRAME - 1) / 2) + 1
        self.frozen = False

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        if not self.hparams.train:
            return (Stage(DECODER, epochs),)
        return two_stages(CLASSIFIER, DECODER, self.hparams.classifier_share, epochs)

    def enter_stage(self, name: str) -> None:
        self.frozen = name == DECODER
        self.requires_grad_(not self.frozen)
        self.decoder.requires_grad_(self.frozen)

    def train(self, mode: bool = True) -> FCAM:
        """Switches the training mode; a frozen classifier stays in evaluation mode, its statistics included."""
        super().train(mode)
        if getattr(self, "frozen", False):
            self.backbone.eval()
            self.head.eval()
        return self

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        if not self.frozen:
            return super().training_step(batch)
        logits, teacher = self._decode(batch.images, batch.labels)
        teacher = normalised_maps(
            F.interpolate(normalised_maps(teacher)[:, None], logits.shape[2:], mode="bilinear")[:, 0]
        )
        region = otsu_region(teacher)
        seeds = draw_seeds(teacher, self.rule, eroded(region, self.erosion))
        losses = {"seeds": partial_cross_entropy(logits, seeds)}
        probabilities = torch.softmax(logits.float(), dim=1)
        if self.hparams.crf_weight:
            losses["crf"] = self.hparams.crf_weight * framed_crf_loss(
                probabilities, self.pixels(batch.images), self.hparams.crf_scale
            )
        if self.hparams.size_weight:
            losses["size"] = self.hparams.size_weight * region_size_loss(probabilities, barrier_of_epoch(batch.epoch))
        return losses

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        if not self.frozen:
            return super().localize(images, labels)
        features, kept = self.backbone.with_features(images, self.backbone.points.skips)
        decoded = self.decoder(features, [kept[unit] for unit in self.backbone.points.skips], images.shape[2:])
        return Localization(maps=torch.softmax(decoded.float(), dim=1)[:, 1], logits=self.head(features))

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": list(self.decoder.parameters()), "lr": lr}] if self.frozen else super().param_groups(lr)

    def _decode(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the decoder's logits ``[B, 2, H, W]`` and the classifier's maps ``[B, h, w]`` of the labels."""
        with torch.no_grad():
            features, kept = self.backbone.with_features(images, self.backbone.points.skips)
            teacher = self.head.class_maps(features, labels)
        return self.decoder(features, [kept[unit] for unit in self.backbone.points.skips], images.shape[2:]), teacher
