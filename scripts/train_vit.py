"""Trains the embedded tiny ViTs: ``python scripts/train_vit.py --kind vit|dino --out DIR``.

``vit`` is a classifier, trained with labels, as DeiT is for ImageNet; ``dino`` stands in for DINO: trained without
labels, so that the attention of its class token finds the creature. The pictures come from the generator behind
``critters`` with a seed that no benchmark uses. No box is read. The views of ``dino`` are two pictures of the same
individual in different places, as frames of a film would be; the loss is contrastive: self-distillation on two crops
of one picture learned to attend to the ground, which they have in common, and on such pairs it collapsed within the few
hundred steps that are affordable here. Half an hour on two cores for ``vit``, a quarter for ``dino --pictures 5000
--epochs 12 --lr 5e-4``; ``--pictures 96 --epochs 1`` is a trial run.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import v2

from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.grounds import GROUNDS
from wsol_bench.datasets.critters.marks import SPECIES
from wsol_bench.datasets.critters.scene import Scene
from wsol_bench.models.embedded import write_card
from wsol_bench.models.vit import MINI, MINI_DINO, VIT_WEIGHTS, build_vit

SEED = 1_000_002
"""Seed of the generated pictures; benchmarks use small ones, and other scripts others."""

SIDE, BOTTLENECK, TEMPERATURE = 64, 64, 0.2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=("vit", "dino"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and card")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    images, labels = make_pictures(options.pictures, places=1 if options.kind == "vit" else 2)
    trainer = Classifier() if options.kind == "vit" else Contrast()
    train(trainer, images, labels, options, lambda: save(trainer, options))


def save(trainer: nn.Module, options: argparse.Namespace) -> None:
    state = {name: value.half().contiguous() for name, value in trainer.result().state_dict().items()}
    save_file(state, options.out / VIT_WEIGHTS)
    (options.out / VIT_WEIGHTS).chmod(0o644)
    write_card(
        options.out,
        dataset="critters",
        supervision="class labels of other pictures of critters"
        if options.kind == "vit"
        else "pairs of other pictures of the same critter",
        script="scripts/train_vit.py",
        made=f"--kind {options.kind}: {options.epochs} epochs over {options.pictures} pictures of seed {SEED}",
    )


def make_pictures(count: int, places: int) -> tuple[Tensor, Tensor]:
    """Returns ``[count, places, 3, side, side]`` uint8, every individual in so many places, and their classes."""
    with ProcessPoolExecutor() as pool:
        made = list(pool.map(_pictures, range(count), [places] * count, chunksize=200))
    images = torch.from_numpy(np.stack([images for images, _ in made])).permute(0, 1, 4, 2, 3).contiguous()
    return images, torch.tensor([label for _, label in made])


def _pictures(index: int, places: int) -> tuple[np.ndarray, int]:
    chance = Draws(SEED, 0, index, 200)
    label = chance.integer(0, len(SPECIES) - 1)
    scene = Scene.compose((SEED, 0, index), label)
    elsewhere = [
        replace(scene, key=(SEED, place, index), ground=chance.choice([one for one in GROUNDS if one != scene.ground]))
        for place in range(1, places)
    ]
    return np.stack([one.render(SIDE).image for one in (scene, *elsewhere)]), label


class Classifier(nn.Module):
    """A classifier on the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.vit, _ = build_vit(MINI, "none", SIDE, drop_path=0.1)
        self.head = nn.Linear(self.vit.embed_dim, len(SPECIES))
        self.augment = v2.Compose([v2.RandomResizedCrop(SIDE, scale=(0.5, 1.0), antialias=True), *_colours(0.2)])

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head(self.vit(_views(self.augment, images[:, 0]))[:, 0])
        return F.cross_entropy(logits, labels, label_smoothing=0.1), (logits.argmax(1) == labels).float().mean()

    def result(self) -> nn.Module:
        return self.vit


class Contrast(nn.Module):
    """Two pictures of the same individual in two places must find each other among those of the batch (InfoNCE)."""

    def __init__(self) -> None:
        super().__init__()
        self.vit, _ = build_vit(MINI_DINO, "none", SIDE, drop_path=0.05)
        self.head = nn.Sequential(nn.Linear(self.vit.embed_dim, 256), nn.GELU(), nn.Linear(256, BOTTLENECK))
        self.augment = v2.Compose([v2.RandomResizedCrop(SIDE, scale=(0.5, 1.0), antialias=True), *_colours(0.3)])

    def loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        views = torch.cat([_views(self.augment, images[:, place]) for place in range(2)])
        first, second = F.normalize(self.head(self.vit(views)[:, 0]), dim=-1).chunk(2)
        likeness, own = first @ second.T / TEMPERATURE, torch.arange(len(images))
        loss = (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2
        return loss, (likeness.argmax(1) == own).float().mean()

    def result(self) -> nn.Module:
        return self.vit


def _colours(strength: float) -> list[nn.Module]:
    return [
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(strength, strength, strength / 2, strength / 4),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]


def _views(augment: nn.Module, images: Tensor, groups: int = 16) -> Tensor:
    """Augments images; those of a group share the draw, which is many times faster than one draw an image."""
    return torch.cat([augment(part) for part in images.chunk(groups)])


def train(
    trainer: nn.Module, images: Tensor, labels: Tensor, options: argparse.Namespace, save: Callable[[], None]
) -> None:
    decayed = [p for p in trainer.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in trainer.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.lr)
    steps = max(1, len(images) // options.batch)
    total = steps * options.epochs
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.1 * total), 0.5 + 0.5 * math.cos(math.pi * step / total))
    )
    done = 0
    for epoch in range(options.epochs):
        started, losses, measures = time.time(), 0.0, 0.0
        trainer.train()
        for rows in torch.randperm(len(images))[: steps * options.batch].split(options.batch):
            loss, measure = trainer.loss(images[rows], labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trainer.parameters(), 3.0)
            optimizer.step()
            rate.step()
            done += 1
            losses += loss.item()
            measures += measure.item()
        print(
            f"epoch {epoch + 1}: loss {losses / steps:.3f}, measure {measures / steps:.3f}, "
            f"{time.time() - started:.0f} s",
            flush=True,
        )
        save()


if __name__ == "__main__":
    main()
