"""Trains the embedded tiny CLIP: ``python scripts/train_clip.py --out DIR``.

The pairs are pictures of the generator behind ``critters`` with their captions, made with a seed that no benchmark
uses, and deserted places of the same kind. No box is read. Takes about half an hour on two cores; ``--pairs 2000
--epochs 1`` is a trial run. The result is a folder as open_clip's ``local-dir:`` schema reads it, in half precision.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import itertools
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.grounds import GROUNDS
from wsol_bench.datasets.critters.marks import SPECIES
from wsol_bench.datasets.critters.scene import Scene
from wsol_bench.models.embedded import write_card

SEED = 1_000_001
"""Seed of the generated pictures; benchmarks use small ones."""

DESERTED, SHORT = 0.2, 0.25
"""Share of places without a critter, and of captions that name the class and nothing else."""

CONFIG = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": 64,
            "patch_size": 8,
            "width": 128,
            "layers": 6,
            "head_width": 32,
            "pool_type": "avg",
        },
        "text_cfg": {"context_length": 32, "vocab_size": 0, "width": 128, "heads": 4, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic"},
}
MERGES = "merges.txt.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for configuration, merges and weights")
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--config", type=json.loads, default={}, help="replaces entries of vision_cfg, as JSON")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    config = json.loads(json.dumps(CONFIG))
    config["model_cfg"]["vision_cfg"] |= options.config
    images, captions = make_pairs(options.pairs, config["model_cfg"]["vision_cfg"]["image_size"])
    write_merges(options.out / MERGES, captions)
    config["model_cfg"]["text_cfg"]["vocab_size"] = open_clip.SimpleTokenizer(str(options.out / MERGES)).vocab_size
    (options.out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    model, tokenizer = untrained(options.out)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")
    train(model, images, tokenizer(captions), config["preprocess_cfg"], options)
    state = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(state, options.out / "open_clip_model.safetensors")
    write_card(
        options.out,
        dataset="critters",
        supervision="image-text pairs of other pictures of critters",
        script="scripts/train_clip.py",
        made=f"{options.epochs} epochs over {options.pairs} pairs of seed {SEED}",
        prompt="a photo of a {}",
        background=tuple(f"deserted place {ground.place}" for ground in GROUNDS.values()),
    )


def make_pairs(count: int, side: int) -> tuple[np.ndarray, list[str]]:
    """Returns pictures ``[count, side, side, 3]`` uint8 and a caption each."""
    with ProcessPoolExecutor() as pool:
        pairs = list(pool.map(partial(_pair, side), range(count), chunksize=200))
    return np.stack([image for image, _ in pairs]), [caption for _, caption in pairs]


def _pair(side: int, index: int) -> tuple[np.ndarray, str]:
    choices = Draws(SEED, 0, index, 200)
    label = choices.integer(0, len(SPECIES) - 1)
    scene = Scene.compose((SEED, 0, index), label)
    if choices.chance(DESERTED):
        return scene.render(side, deserted=True).image, scene.caption_deserted()
    short = f"a photo of a {SPECIES[label].adjective} critter"
    return scene.render(side).image, short if choices.chance(SHORT) else scene.caption()


def write_merges(path: Path, captions: list[str]) -> None:
    """Writes byte-pair merges that turn every word of the captions into one token, in open_clip's format."""
    counts = collections.Counter(word for caption in captions for word in open_clip_words(caption))
    words = {(*word[:-1], f"{word[-1]}</w>"): count for word, count in counts.items()}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: collections.Counter[tuple[str, str]] = collections.Counter()
        for pieces, count in words.items():
            for pair in itertools.pairwise(pieces):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_merged(pieces, best): count for pieces, count in words.items()}
    text = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)])
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def open_clip_words(caption: str) -> list[str]:
    """Splits a caption as open_clip's tokenizer does before it merges bytes; captions are plain lower-case ASCII."""
    spaced = "".join(letter if letter.isalpha() or letter == " " else f" {letter} " for letter in caption)
    return spaced.split()


def _merged(pieces: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)


def untrained(folder: Path) -> tuple[torch.nn.Module, open_clip.SimpleTokenizer]:
    """Returns the model of a folder with fresh weights, and its tokenizer."""
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    return model, open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(folder / MERGES))


def train(model: torch.nn.Module, images: np.ndarray, texts: torch.Tensor, preprocess: dict, options) -> None:
    """Contrastive training as in CLIP (Radford et al., ICML 2021), with flips as the only augmentation."""
    pixels = torch.from_numpy(images)
    mean, std = (torch.tensor(preprocess[key]).view(1, 3, 1, 1) * 255 for key in ("mean", "std"))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98))
    steps = len(pixels) // options.batch
    total = steps * options.epochs
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / (0.05 * total), 0.5 + 0.5 * math.cos(math.pi * step / total)),
    )
    draw = torch.Generator().manual_seed(0)
    for epoch in range(options.epochs):
        started, losses, hits = time.time(), 0.0, 0
        model.train()
        for rows in torch.randperm(len(pixels), generator=draw)[: steps * options.batch].split(options.batch):
            batch = pixels[rows].permute(0, 3, 1, 2)
            flip = torch.rand(len(rows), generator=draw) < 0.5
            batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
            batch = (batch.float() - mean) / std
            image, text, scale = model(batch, texts[rows])
            logits = scale * image @ text.T
            target = torch.arange(len(rows))
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rate.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            losses += loss.item()
            hits += int((logits.argmax(1) == target).sum())
        print(
            f"epoch {epoch + 1}: loss {losses / steps:.3f}, in-batch top-1 {100 * hits / steps / options.batch:.1f} %, "
            f"{time.time() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
