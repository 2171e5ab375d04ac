r"""TeD-Loc: text distillation for localization (Murtaza et al., arXiv 2501.12632, 2025).

On frozen patch features of a ViT, a decoder learns patch embeddings ``z`` that agree with fixed anchors, one per class,
made orthogonal from CLIP's text embeddings, at pseudo-foreground positions; a patch classifier ``g`` tells foreground
from background and weighs the patches into one image embedding ``h``, which is classified against the same anchors.
Map and class come from one forward pass, without text encoder or external classifier. Pseudo-labels are CLIP-ES maps
of the true class, worked out once per training image.

The reference is not public. Decoder and sampling follow the recommendations of the method spec; losses are means over
the sampled positions, so that their factors do not depend on how many are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.errors import UsageError
from wsol_bench.losses.partial_cross_entropy import partial_cross_entropy
from wsol_bench.losses.pseudo_pixels import SeedRule, draw_seeds, otsu_region
from wsol_bench.methods.base import Batch, Localization
from wsol_bench.methods.clip_params import AUTO, ClipParams, ClipTexts
from wsol_bench.methods.dino_attention import FrozenVitParams, OnFrozenVit
from wsol_bench.methods.hparams import Choice, Fixed, LogUniform, hp
from wsol_bench.models.clip_es import ClipEsMaps
from wsol_bench.models.decoder import double_conv
from wsol_bench.models.frozen import FrozenFunction
from wsol_bench.models.frozen_vit import FrozenPatches
from wsol_bench.models.heads import in_float32
from wsol_bench.models.vit import MINI

QR, POLAR, PLAIN, RANDOM = "qr", "polar", "off", "random"
PATCHES, ANCHOR = "patches", "anchor"

_SMALL = 1e-6


class TedLoc(OnFrozenVit):
    """Patch embeddings distilled from orthogonal text anchors."""

    title = "Text distillation for localization"
    citation = "Murtaza et al., TeD-Loc: Text Distillation for Weakly Supervised Object Localization, arXiv 2025"

    class HParams(FrozenVitParams, ClipParams):
        """Hyper-parameters of TeD-Loc."""

        backbone: str = hp(MINI, Fixed(), "frozen ViT: any model of timm, such as eva02_large_patch14_448")
        background: str = hp(AUTO, Fixed(), "words that compete with the class in pseudo-labels, as for clip_es")
        anchors: str = hp(QR, Fixed((QR, POLAR, PLAIN, RANDOM)), "how text embeddings become anchors")
        distil_weight: float = hp(1.0, LogUniform(0.01, 1.0), "factor on the loss of foreground patches; 0: none")
        patch_weight: float = hp(1.0, LogUniform(0.01, 1.0), "factor on the loss of the patch classifier; 0: none")
        image_weight: float = hp(1.0, LogUniform(0.01, 1.0), "factor on the loss of the image's class; 0: none")
        positions: int = hp(10, Choice((1, 10, 100)), "positions of either kind per image and step")
        foreground_share: float = hp(0.3, Choice((0.1, 0.3, 0.5)), "foreground is drawn from this strongest share")
        background_share: float = hp(0.3, Choice((0.1, 0.3, 0.5)), "background is drawn from this weakest share")
        pooled_by: str = hp(PATCHES, Fixed((PATCHES, "uniform")), "weights of patches in the image embedding")
        map: str = hp(PATCHES, Fixed((PATCHES, ANCHOR)), "the patch classifier's map, or similarity to the anchor")
        blocks: int = hp(2, Fixed(), "of the decoder, each doubles the resolution")
        width: int = hp(64, Fixed(), "channels of the decoder's last block; those before have more")

    targets: Tensor

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        if not any((hparams.distil_weight, hparams.patch_weight, hparams.image_weight)):
            raise UsageError("Expected at least one loss of TeD-Loc but all three factors are 0.")
        self.hparams = hparams
        self.encoder = FrozenPatches(hparams.backbone, hparams.weights, frame)
        self.clip = ClipTexts(hparams, class_names)
        self.teacher = ClipEsMaps(
            self.clip.tower, self.clip.classes, self.clip.background(hparams.background), self.clip.scale, self.mean_std
        )
        self.register_buffer("targets", anchors(self.clip.classes, hparams.anchors))
        layers: list[nn.Module] = []
        width = self.encoder.width
        for index in range(hparams.blocks):
            narrower = hparams.width * 2 ** (hparams.blocks - 1 - index)
            layers += [nn.Upsample(scale_factor=2, mode="nearest"), double_conv(width, narrower)]
            width = narrower
        self.decoder = nn.Sequential(*layers)
        # Linear, so that products with anchors can be negative.
        self.embed = nn.Conv2d(width, self.targets.shape[1], 1)
        self.judge = nn.Conv2d(self.targets.shape[1], 2, 1)
        self.rule = SeedRule(
            hparams.positions, hparams.positions, hparams.foreground_share, hparams.background_share, dilate=1
        )

    def harvest(self) -> Mapping[str, FrozenFunction]:
        return {"teacher": self.teacher}

    def embedded(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns ``z`` ``[B, d, G, G]``, logits of ``g`` ``[B, 2, G, G]`` and the image embedding ``h`` ``[B, d]``."""
        embeddings = in_float32(self.embed, self.decoder(self.encoder(images)["patches"]))
        judged = in_float32(self.judge, embeddings)
        # Not detached: the class loss trains the patch classifier too.
        weights = torch.softmax(judged, dim=1)[:, 1:]
        if self.hparams.pooled_by != PATCHES:
            weights = torch.ones_like(weights)
        weights = weights / (weights.sum(dim=(2, 3), keepdim=True) + _SMALL)
        return embeddings, judged, (weights * embeddings).sum(dim=(2, 3))

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        embeddings, judged, whole = self.embedded(batch.images)
        seeds = self.seeds(batch, embeddings.shape[2])
        losses = {}
        if self.hparams.distil_weight:
            scores = in_float32(lambda z: torch.einsum("bdhw,kd->bkhw", z, self.targets), embeddings)
            losses["distillation"] = self.hparams.distil_weight * foreground_cross_entropy(scores, batch.labels, seeds)
        if self.hparams.patch_weight:
            losses["patches"] = self.hparams.patch_weight * partial_cross_entropy(judged, seeds)
        if self.hparams.image_weight:
            image = F.cross_entropy(self._logits(whole), batch.labels)
            losses["image"] = self.hparams.image_weight * image
        return losses

    def seeds(self, batch: Batch, size: int) -> Tensor:
        """Draws positions ``[B, size, size]``: 1 foreground, 0 background outside the object region, others ignored."""
        maps = batch.window.crop_maps(batch.harvest["teacher"]["maps"], size).clamp(0, 1)
        region = otsu_region(maps)
        return draw_seeds(maps, self.rule, None, region)

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        embeddings, judged, whole = self.embedded(images)
        logits = self._logits(whole)
        if self.hparams.map == ANCHOR:
            wanted = self.targets[self.select_labels(logits, labels)]
            maps = in_float32(lambda z: torch.einsum("bdhw,bd->bhw", z, wanted), embeddings)
            return Localization(maps, logits)
        return Localization(torch.softmax(judged, dim=1)[:, 1], logits)

    def _logits(self, whole: Tensor) -> Tensor:
        """Returns the products ``[B, K]`` of image embeddings ``[B, d]`` with the anchors."""
        return in_float32(lambda h: h @ self.targets.T, whole)


def foreground_cross_entropy(scores: Tensor, labels: Tensor, seeds: Tensor) -> Tensor:
    """Returns the mean cross-entropy of class scores at foreground positions; 0 where there is none.

    Args:
        scores: ``[B, K, G, G]``.
        labels: ``[B]``, the class of every foreground position of an image.
        seeds: ``[B, G, G]``, 1 at foreground positions.
    """
    wanted = labels[:, None, None].expand_as(seeds)
    losses = F.cross_entropy(scores, wanted, reduction="none")
    foreground = (seeds == 1).to(losses.dtype)
    return (losses * foreground).sum() / foreground.sum().clamp(min=1)


def anchors(texts: Tensor, how: str) -> Tensor:
    """Turns text embeddings into anchors, one per class.

    With at most ``d`` classes, ``qr`` and ``polar`` give orthonormal anchors. More than ``d`` vectors cannot be
    orthogonal: they then give the rows of a matrix with orthonormal columns, scaled to unit length, which are nearly
    so. Orthonormal anchors carry no meaning of the text beyond that, as a linear layer before them can undo any
    rotation; ``random`` is the control experiment.

    Args:
        texts: ``[K, d]`` unit vectors.
        how: ``qr`` (Gram-Schmidt, depends on the order of the classes), ``polar`` (the closest such matrix, does not),
            ``random`` (orthonormal, no text; drawn from torch), or ``off`` (the texts themselves).

    Returns:
        ``[K, d]``.
    """
    if how == PLAIN:
        return texts
    source = torch.randn_like(texts) if how == RANDOM else texts
    double = source.double()
    few = len(texts) <= texts.shape[1]
    if how == POLAR:
        left, _, right = torch.linalg.svd(double, full_matrices=False)
        matrix = left @ right
    elif few:
        basis, triangle = torch.linalg.qr(double.T)
        matrix = (basis * torch.where(triangle.diagonal() < 0, -1.0, 1.0)).T
    else:
        matrix, _ = torch.linalg.qr(double)
    return (matrix if few else F.normalize(matrix, dim=1)).to(texts.dtype)
