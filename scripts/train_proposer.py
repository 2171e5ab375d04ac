"""Trains the embedded region proposer: ``python scripts/train_proposer.py --out DIR``.

As an RPN knows objects from the boxes of COCO, this one knows them from boxes of other critters: pictures of the same
generator with seeds that no benchmark uses, one class-agnostic box each. Takes about 15 minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.detection.rpn import concat_box_prediction_layers

from wsol_bench.annotations import firewall
from wsol_bench.atomic import write_json
from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.models.embedded import write_card
from wsol_bench.models.region_proposals import CONFIG, WEIGHTS, ProposerConfig, RegionProposer, build_proposer

SEED = 1_000_002
"""First seed of the generated pictures; benchmarks use small ones."""

PROPOSER = ProposerConfig(
    side=64,
    backbone="resnet_tiny",
    anchors=(16, 24, 34, 46, 60),
    ratios=(0.6, 1.0, 1.6),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for configuration and weights")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.02)
    options = parser.parse_args()
    images, boxes = make_pictures(options.pictures, PROPOSER.side)
    torch.manual_seed(0)
    proposer = build_proposer(PROPOSER)
    print(f"{sum(p.numel() for p in proposer.parameters()) / 1e6:.2f} M parameters")
    train(proposer, images, boxes, options)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / CONFIG, PROPOSER.model_dump(mode="json"))
    halves = {
        name: value.half() if value.is_floating_point() else value for name, value in proposer.state_dict().items()
    }
    save_file({name: value.contiguous() for name, value in halves.items()}, options.out / WEIGHTS)
    write_card(
        options.out,
        dataset="critters",
        supervision="class-agnostic boxes of other pictures of critters",
        script="scripts/train_proposer.py",
        made=f"{options.epochs} epochs over {options.pictures} pictures of seeds from {SEED} on",
    )


def make_pictures(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Returns pictures ``[N, side, side, 3]`` uint8 and boxes ``[N, 4]`` float, as edges in pixels."""
    size = 500
    parts = [range(start, min(start + size, count)) for start in range(0, count, size)]
    with ProcessPoolExecutor() as pool:
        done = list(pool.map(partial(_part, side), parts))
    images, boxes = (np.concatenate(arrays) for arrays in zip(*done, strict=True))
    return torch.from_numpy(images), torch.from_numpy(boxes)


def _part(side: int, rows: range) -> tuple[np.ndarray, np.ndarray]:
    critters = Critters(size=side, seed=SEED + rows.start, train=len(rows))
    images = np.stack([critters.load_image("train", row) for row in range(len(rows))])
    with firewall.judging("the training of the embedded proposer"):
        boxes = critters.ground_truth("train").boxes.astype(np.float32)
    return images, boxes + np.array([0, 0, 1, 1], np.float32)


def train(proposer: RegionProposer, images: Tensor, boxes: Tensor, options: argparse.Namespace) -> None:
    """Trains with torchvision's two losses; flips are the only augmentation."""
    optimizer = torch.optim.SGD(proposer.parameters(), options.lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
    steps = len(images) // options.batch
    total = steps * options.epochs
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.03 * total), 0.5 + 0.5 * math.cos(math.pi * step / total))
    )
    proposer.train()
    side = images.shape[1]
    draw = torch.Generator().manual_seed(0)
    for epoch in range(options.epochs):
        started, sums = time.time(), torch.zeros(2)
        for rows in torch.randperm(len(images), generator=draw)[: steps * options.batch].split(options.batch):
            pixels = images[rows].permute(0, 3, 1, 2).float() / 255
            flip = torch.rand(len(rows), generator=draw) < 0.5
            pixels = torch.where(flip[:, None, None, None], pixels.flip(3), pixels)
            mirrored = boxes[rows][:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor([side, 0, side, 0])
            targets = [{"boxes": box[None]} for box in torch.where(flip[:, None], mirrored, boxes[rows])]
            losses = rpn_losses(proposer, list(pixels), targets)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            rate.step()
            sums += losses.detach()
        objectness, box = (sums / steps).tolist()
        print(
            f"epoch {epoch + 1}: objectness {objectness:.4f}, box {box:.4f}, {time.time() - started:.0f} s", flush=True
        )


def rpn_losses(proposer: RegionProposer, pixels: list[Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
    """Returns the losses of objectness and boxes; the network's own forward pass would also make proposals."""
    images, targets = proposer.transform(pixels, targets)
    features = [proposer.backbone(images.tensors)]
    objectness, deltas = concat_box_prediction_layers(*proposer.rpn.head(features))
    anchors = proposer.rpn.anchor_generator(images, features)
    labels, matched = proposer.rpn.assign_targets_to_anchors(anchors, targets)
    wanted = proposer.rpn.box_coder.encode(matched, anchors)
    return torch.stack(proposer.rpn.compute_loss(objectness, deltas, labels, wanted))


if __name__ == "__main__":
    main()
