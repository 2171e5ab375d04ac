"""A complete third-party method: CAM trained on images whose centre is hidden.

Try it without installing anything, prove that it keeps to the contract, or install it beside wsol-bench::

    wsol-bench --plugin examples/edge_cam/edge_cam.py select --method edge_cam --val pseudo=ss
    wsol-bench check examples/edge_cam/edge_cam.py
    pip install examples/edge_cam
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from wsol_bench.methods.base import Batch
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.hparams import Uniform, hp
from wsol_bench.registry import METHODS


@METHODS.register("edge_cam")
class EdgeCAM(CAM):
    """CAM that must not rely on the centre of the image."""

    title = "CAM with a hidden centre"
    citation = "an example of wsol-bench, not a published method"

    class HParams(CAM.HParams):
        """One more hyper-parameter than CAM; the search plan and the command line find it here."""

        hidden_side: float = hp(0.3, Uniform(0.0, 0.6), "side of the hidden square, relative to the image, 0 to 1")

    def build(self, num_classes: int, class_names: Any, hparams: Any, frame: int) -> None:
        """Builds CAM's network and remembers which pixels to hide."""
        super().build(num_classes, class_names, hparams, frame)
        half = round(hparams.hidden_side * frame / 2)
        self.hidden = slice(frame // 2 - half, frame // 2 + half)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Hides the centre (the mean colour is zero after normalisation), then trains as CAM does."""
        images = batch.images.clone()
        images[:, :, self.hidden, self.hidden] = 0.0
        return super().training_step(dataclasses.replace(batch, images=images))
