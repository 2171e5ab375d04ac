"""What methods on a frozen CLIP share: its hyper-parameters, its image tower and its text features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from wsol_bench.errors import UsageError
from wsol_bench.methods.hparams import Fixed, HyperParams, hp
from wsol_bench.models.clip import Clip, load_clip
from wsol_bench.models.clip_prompts import PROMPT, VOC_BACKGROUND
from wsol_bench.models.embedded import EMBEDDED, embedded_card
from wsol_bench.models.frozen import FrozenNetwork
from wsol_bench.models.heads import in_float32

AUTO, NONE = "auto", "none"


class ClipParams(HyperParams):
    """What every method on CLIP has."""

    clip: str = hp("ViT-B-16-quickgelu", Fixed(), "configuration of open_clip; the embedded weights have their own")
    clip_weights: str = hp(
        EMBEDDED, Fixed(), "a tag of open_clip ('openai'), 'embedded', FILE[@sha256:<hex>], or a local-dir folder"
    )
    prompt: str = hp(
        AUTO, Fixed(), "template of texts, {} is the class; auto: that of CLIP-ES, or of the embedded CLIP"
    )


class ClipTexts(nn.Module):
    """A frozen CLIP and the texts of the classes; it moves with the method that holds it.

    Args:
        hparams: has the fields of :class:`ClipParams`.
        class_names: C names.

    Attributes:
        frozen: holds the image tower.
        scale: factor on cosine similarities.
        classes: ``[C, d]`` unit features of the classes' texts.

    Raises:
        UsageError: a name is unknown, weights cannot be fetched, or the prompt has no ``{}``.
        DataError: a file is missing or damaged.
    """

    classes: Tensor

    def __init__(self, hparams: Any, class_names: Sequence[str]) -> None:
        super().__init__()
        self._embedded = hparams.clip_weights == EMBEDDED
        self._template = hparams.prompt
        if hparams.prompt == AUTO:
            self._template = embedded_card("clip").prompt if self._embedded else PROMPT
        if "{}" not in self._template:
            raise UsageError(f"Expected prompt to hold {{}} for the class but got '{hparams.prompt}'.")
        self.__dict__["_clip"] = clip = load_clip(hparams.clip, hparams.clip_weights)
        self.frozen = FrozenNetwork(clip.tower, f"clip {clip.sha256}")
        self.scale = clip.scale
        self.register_buffer("classes", self.features(class_names), persistent=False)

    _clip: Clip

    @property
    def tower(self) -> Any:
        """The image tower (:class:`~wsol_bench.models.clip_vit.ClipImageTower`)."""
        return self.frozen.network

    def features(self, words: Sequence[str]) -> Tensor:
        """Returns unit features ``[N, d]`` of words in the prompt; only before moving."""
        return self._clip.text_features([self._template.replace("{}", word.strip()) for word in words])

    def background(self, words: str) -> Tensor:
        """Returns unit features ``[b, d]`` of background words.

        Args:
            words: separated by commas; ``none``; or ``auto`` for those of CLIP-ES, or of the embedded CLIP.
        """
        if words == NONE:
            return self.features([])
        if words != AUTO:
            return self.features(words.split(","))
        return self.features(embedded_card("clip").background if self._embedded else VOC_BACKGROUND)

    def logits(self, images: Tensor) -> Tensor:
        """Returns zero-shot logits ``[B, C]`` of prepared pixels ``[B, 3, side, side]``."""
        features = nn.functional.normalize(self.tower.encode(images).float(), dim=-1)
        return in_float32(lambda unit: self.scale * unit @ self.classes.T, features)
