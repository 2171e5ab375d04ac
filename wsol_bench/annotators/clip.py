"""Annotator ``clip``: CLIP-ES maps of the class name, Otsu, largest region; no classifier and no pointing game.

Source: Murtaza, PhD thesis, ETS Montreal, 2025, section 4.6.3; pseudo-box spec, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsol_bench.annotators.base import (
    AnnotatedImage,
    Annotator,
    AnnotatorContext,
    AnnotatorOptions,
    Fallback,
    ImageDone,
)
from wsol_bench.errors import UsageError
from wsol_bench.maps.normalise import quantise, score_maps
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.models.clip_prompts import BOX_TAU, PROMPT, VOC_BACKGROUND
from wsol_bench.models.embedded import EMBEDDED, embedded_card


class ClipBoxes(Annotator):
    """The box of the largest region of a CLIP-ES map above its Otsu threshold.

    It is the box that the evaluator reads off the same map under Otsu's policy. A map without any evidence gives the
    box ``0, 0, 0, 0``, as in the released files; it is counted and scores an IoU near 0.
    """

    name: ClassVar[str] = "clip"
    version: ClassVar[str] = "1"
    supervision: ClassVar[str] = "image-text pairs"

    class Options(AnnotatorOptions):
        """Options of the model, the prompts and the map."""

        model: str = Field("ViT-B-16-quickgelu", description="configuration of open_clip with a plain ViT image tower")
        weights: str = Field(
            "openai", description="tag of open_clip, embedded, FILE[@sha256:<hex>], or a folder in its local-dir layout"
        )
        prompt: str = Field(PROMPT, description="template of all texts; {} is the class or background word")
        background: str = Field(
            ",".join(VOC_BACKGROUND),
            description="words that compete with the class, separated by commas; 'none': no word",
        )
        affinity: bool = Field(True, description="refine the Grad-CAM by the affinity of CLIP's attention")
        box_tau: float = Field(BOX_TAU, ge=0, lt=1, description="evidence spreads from boxes above this share")

    options: Options

    def __init__(self, context: AnnotatorContext, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(context, options)
        if "{}" not in self.options.prompt:
            raise UsageError(
                f"Expected the option 'prompt' to hold {{}} for the class but got '{self.options.prompt}'."
            )
        # Imported here, so that annotators can be listed without torch.
        from wsol_bench.models.clip import load_clip

        self._clip = load_clip(self.options.model, self.options.weights).to(context.device)
        words = [] if self.options.background == "none" else self.options.background.split(",")
        self._background = self._clip.text_features([self._prompt(word) for word in words])
        self._classes = self._clip.text_features([self._prompt(name) for name in context.class_names])

    @classmethod
    def options_for(cls, dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Takes the embedded CLIP and its prompts for the dataset that it suits, unless the user names a model."""
        card = embedded_card("clip")
        if dataset != card.dataset or {"model", "weights"} & set(given):
            return dict(given)
        return {"weights": EMBEDDED, "prompt": card.prompt, "background": ",".join(card.background), **given}

    def supervised_by(self) -> str:
        """Names the pairs that CLIP has seen, where they are known."""
        return embedded_card("clip").supervision if self.options.weights == EMBEDDED else self.supervision

    def weights(self) -> dict[str, str]:
        """Returns the checksum of CLIP's weights."""
        return {"clip": self._clip.sha256}

    def annotate(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        ids: Sequence[str],
        on_image: ImageDone | None = None,
    ) -> list[AnnotatedImage]:
        """Computes maps in batches on the context's device, and boxes on the CPU."""
        annotated: list[AnnotatedImage] = []
        for start in range(0, len(images), self.context.batch_size):
            rows = slice(start, start + self.context.batch_size)
            maps = self._maps(images[rows], labels[rows])
            boxes = otsu_boxes(quantise(score_maps(maps, images.shape[1]))).astype(np.int32)
            for image_id, box, one in zip(ids[rows], boxes, maps, strict=True):
                fallback = Fallback.NONE if box.any() else Fallback.EMPTY_MASK
                annotated.append(AnnotatedImage(image_id, box, fallback, map=one.astype(np.float16)))
                if on_image is not None:
                    on_image()
        return annotated

    def _maps(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        import torch

        from wsol_bench.models.clip_es import clip_es_maps

        pixels = torch.from_numpy(np.array(images)).to(self.context.device).permute(0, 3, 1, 2)
        wanted = self._classes[torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(self._classes.device)]
        maps = clip_es_maps(
            self._clip.tower,
            pixels,
            wanted,
            self._background,
            self._clip.scale,
            affinity=self.options.affinity,
            box_tau=self.options.box_tau,
        )
        found: NDArray[np.float32] = maps.cpu().numpy()
        return found

    def _prompt(self, word: str) -> str:
        return self.options.prompt.replace("{}", word.strip())
