"""CLIP-ES: softmax Grad-CAM of a frozen CLIP, refined by the affinity of its attention (Lin et al., CVPR 2023).

Nothing is trained. Class scores are CLIP's own zero-shot scores, as CLIP-ES has none. With ``label=true`` the map is
that of the true class, as for every class-specific method here; ``label=predicted`` shows what CLIP would find
unaided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from wsol_bench.errors import PluginError
from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.clip_params import AUTO, ClipParams, ClipTexts
from wsol_bench.methods.hparams import Fixed, hp
from wsol_bench.models.clip_es import clip_es_maps
from wsol_bench.models.clip_prompts import BOX_TAU

TRUE, PREDICTED = "true", "predicted"


class ZeroShot(Method):
    """Base of methods that read a frozen CLIP: nothing to train."""

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.hparams = hparams
        self.clip = ClipTexts(hparams, class_names)

    @property
    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        stated: tuple[tuple[float, ...], tuple[float, ...]] = self.clip.tower.mean_std
        return stated

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        raise PluginError("Expected no training step: there is nothing to train in this method.")


class ClipES(ZeroShot):
    """Maps of CLIP for the class name."""

    title = "CLIP-ES"
    citation = (
        "Lin et al., CLIP Is Also an Efficient Segmenter: A Text-Driven Approach for Weakly Supervised Semantic "
        "Segmentation, CVPR 2023"
    )

    class HParams(ClipParams):
        """Hyper-parameters of CLIP-ES."""

        background: str = hp(
            AUTO, Fixed(), "words that compete with the class, separated by commas; none; auto: the published ones"
        )
        affinity: bool = hp(True, Fixed(), "refine the Grad-CAM by the affinity of attention")
        box_tau: float = hp(BOX_TAU, Fixed(), "evidence spreads from boxes above this share of the maximum, 0 to 1")
        label: str = hp(TRUE, Fixed((TRUE, PREDICTED)), "whose map: that of the true or of the predicted class")

    background: Tensor

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.register_buffer("background", self.clip.background(hparams.background), persistent=False)

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        pixels = self.pixels(images)
        logits = self.clip.logits(self.clip.tower.prepare(pixels))
        wanted = self.select_labels(logits, labels if self.hparams.label == TRUE else None)
        maps = clip_es_maps(
            self.clip.tower,
            pixels,
            self.clip.classes[wanted],
            self.background,
            self.clip.scale,
            affinity=self.hparams.affinity,
            box_tau=self.hparams.box_tau,
        )
        return Localization(maps, logits)
