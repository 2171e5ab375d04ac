"""Trains trials in a workspace: ``python several_processes.py WORKSPACE``, or the same through ``torchrun``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from frozen_parts import OnColours
from tiny_trial import make_config
from torch import Tensor, nn

from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.datasets.packed import PackedSplit, pack
from wsol_bench.methods.base import Batch, Localization, Method, Stage
from wsol_bench.models.heads import LinearHead
from wsol_bench.registry import METHODS
from wsol_bench.training.batches import training_side
from wsol_bench.training.loop import TrialData, run_trial
from wsol_bench.training.parallel import current_world, main_first

CPU = torch.device("cpu")


class Smooth(Method):
    """Two stages, a part that one of them does not use, and no batch statistics: the same however it is divided."""

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.features = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.GroupNorm(2, 8), nn.ReLU())
        self.head, self.mask = LinearHead(8, num_classes), nn.Conv2d(8, 1, 1)
        self.second = False

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return Stage("first", 2), Stage("second", epochs - 2)

    def enter_stage(self, name: str) -> None:
        self.second = name == "second"
        self.features.requires_grad_(not self.second)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        features = self.features(batch.images)
        losses = {"cross_entropy": F.cross_entropy(self.head(features), batch.labels)}
        if self.second:
            losses["mask"] = torch.sigmoid(self.mask(features)).mean(dim=(1, 2, 3)).square().mean()
        return losses

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        features = self.features(images)
        logits = self.head(features)
        maps = self.head.class_maps(features, self.select_labels(logits, labels))
        return Localization(maps + self.mask(features)[:, 0], logits)


class Batched(Smooth):
    """The same with batch statistics."""

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.features[1] = nn.BatchNorm2d(8)


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.notes: list[str] = []

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        pass

    def on_epoch(self, summary: dict[str, Any]) -> None:
        self.epochs.append(summary["epoch"])

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def main(workspace: Path) -> None:
    torch.set_num_threads(1)
    METHODS.register("smooth")(Smooth)
    METHODS.register("batched")(Batched)
    METHODS.register("on_colours")(OnColours)
    # 27 images in batches of 8: a last one of 3, which does not divide by 2.
    critters = Critters(size=64, train=27, val=40, test=35)

    def packed(split: str, side: int) -> PackedSplit:
        with main_first():
            return pack(critters, split, side, cache_dir=workspace / "packed")

    data = TrialData(
        train=packed("train", training_side(64)),
        val=packed("val", 64),
        test=packed("test", 64),
        class_names=critters.class_names,
    )
    for name in ("smooth", "on_colours", "batched"):
        notes = Notes()
        config = make_config(name, epochs=4)
        assert run_trial(config, data, workspace, device=CPU, keep_maps=True, observer=notes) == "complete"
        if current_world().is_main:
            print(name, notes.epochs, *notes.notes, flush=True)
        else:
            assert not notes.epochs
    # Another step of the learning rate that diverges: all processes must agree on the end.
    config = make_config("smooth", epochs=4, lr=1e30)
    assert run_trial(config, data, workspace, device=CPU) == "diverged"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
