"""Similarity of CLIP's patches and the class name: vanilla CLIP, SCLIP and NACLIP.

The map is the cosine between every projected patch and the text of the class, without a softmax over classes. The three
differ in the last block only. Nothing is trained. Source: method spec ``clip_patch_text``.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from wsol_bench.methods.base import Localization
from wsol_bench.methods.clip_es import ZeroShot
from wsol_bench.methods.clip_params import ClipParams
from wsol_bench.methods.hparams import Fixed, hp
from wsol_bench.models.clip_dense import Variant, dense_features
from wsol_bench.models.heads import in_float32

ORIGINAL, CHANGED = "original", "changed"


class ClipSimilarity(ZeroShot):
    """Patch-text similarity of CLIP as it is."""

    title = "CLIP patch-text similarity"
    citation = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021"
    variant: ClassVar[Variant] = "vanilla"

    class HParams(ClipParams):
        """Hyper-parameters of patch-text similarity."""

        classified_by: str = hp(
            ORIGINAL, Fixed((ORIGINAL, CHANGED)), "class scores of CLIP as it is, or with its last block changed"
        )

    @property
    def sigma(self) -> float:
        """Width of the window in patches, for the variant that has one."""
        return float(getattr(self.hparams, "sigma", 1.0))

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        prepared = self.clip.tower.prepare(self.pixels(images))
        patches, image = dense_features(self.clip.tower, prepared, self.variant, sigma=self.sigma)
        if self.hparams.classified_by == CHANGED:
            logits = in_float32(lambda unit: self.clip.scale * unit @ self.clip.classes.T, image)
        else:
            logits = self.clip.logits(prepared)
        wanted = self.clip.classes[self.select_labels(logits, labels)]
        grid = self.clip.tower.grid
        return Localization(in_float32(lambda unit: unit @ wanted[:, :, None], patches).view(-1, grid, grid), logits)


class SCLIP(ClipSimilarity):
    """Correlative self-attention in the last block."""

    title = "SCLIP"
    citation = "Wang et al., SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference, ECCV 2024"
    variant = "sclip"


class NACLIP(ClipSimilarity):
    """Attention to neighbours in the last block."""

    title = "NACLIP"
    citation = (
        "Hajimiri et al., Pay Attention to Your Neighbours: Training-Free Open-Vocabulary Semantic Segmentation, "
        "WACV 2025"
    )
    variant = "naclip"

    class HParams(ClipSimilarity.HParams):
        """Hyper-parameters of NACLIP."""

        sigma: float = hp(5.0, Fixed(), "width of the window of neighbours in patches")
