"""A method and a trial small enough to run dozens of times in a test session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.hparams import HyperParams, Uniform, hp
from wsol_bench.models.heads import LinearHead
from wsol_bench.registry import METHODS
from wsol_bench.training.config import OptimizerParams, TrialConfig


class Quick(Method):
    """A convolution, dropout and CAM: everything a method has, in a few milliseconds."""

    class HParams(HyperParams):
        dropout: float = hp(0.3, Uniform(0.0, 1.0), "share of features dropped")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.features = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.BatchNorm2d(8), nn.ReLU())
        self.dropout = nn.Dropout(hparams.dropout)
        self.head = LinearHead(8, num_classes)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.head(self.dropout(self.features(batch.images)))
        return {"cross_entropy": F.cross_entropy(logits, batch.labels), "size": 1e-3 * logits.square().mean()}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        features = self.features(images)
        logits = self.head(features)
        return Localization(self.head.class_maps(features, self.select_labels(logits, labels)), logits)


def make_config(method: str = "quick", *, epochs: int = 2, seed: int = 0, **optimizer: float) -> TrialConfig:
    """A trial on the tiny critters."""
    hparams = {"backbone": "resnet_tiny"} if method == "cam" else {}
    method_class: type[Method] = METHODS.get(method)
    return TrialConfig(
        method=method,
        dataset="critters",
        dataset_version="tiny",
        hparams=method_class.HParams.from_dict(hparams).as_dict(),
        optimizer=OptimizerParams.from_dict({"lr": 0.05, "step_size": 1} | optimizer).as_dict(),
        epochs=epochs,
        batch_size=8,
        seed=seed,
    )


def artefacts(trial: Path) -> dict[str, bytes]:
    """Content of everything that must not depend on interruptions: records, history and best weights."""
    files = [trial / "epochs.jsonl", trial / "config.yaml", trial / "checkpoints" / "best_cls.pt"]
    return {path.name: path.read_bytes() for path in [*files, *sorted((trial / "records").iterdir())]}
