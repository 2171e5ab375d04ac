"""Speed of the annotators as Markdown: ``python benchmarks/annotators.py [--quick] [--write]``.

Selective search runs on made-up 224-pixel pictures (``critters:224``) with 1 worker and with one per core, and the
boxes of both runs are compared before a number is printed. CLIP-ES runs a ViT-B/16 with random weights at 224 pixels,
which costs what the pretrained one costs, and the embedded CLIP at 64 pixels; on a GPU where there is one.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray

from wsol_bench.annotators.base import AnnotatorContext
from wsol_bench.annotators.selective_search import SelectiveSearch
from wsol_bench.datasets.critters import Critters
from wsol_bench.models.clip import load_clip
from wsol_bench.models.clip_es import clip_es_maps
from wsol_bench.models.clip_vit import ClipImageTower

RESULTS = Path(__file__).parent / "results" / "annotators.md"


class NoClassifier:
    """Costs nothing, so that the search alone is timed; selective search asks for one."""

    frame = 224
    identity = "none"

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(images), 10), 0.1, dtype=np.float32)

    def maps(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.random.default_rng(0).random((len(images), 7, 7), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images, for a look of some seconds")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    options = parser.parse_args()
    lines = []
    for line in [*environment(), *search_table(16 if options.quick else 96), "", *clip_table(options.quick)]:
        print(line, flush=True)
        lines.append(line)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def environment() -> Iterator[str]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    yield "# Speed of the annotators"
    yield ""
    yield f"{platform.machine()}, {cores()} cores, {device}, torch {torch.__version__}; load {os.getloadavg()[0]:.1f}"
    yield ""


def cores() -> int:
    return len(os.sched_getaffinity(0))


def search_table(count: int) -> Iterator[str]:
    """Selective search at 224 pixels: images per second and whether the boxes depend on the workers."""
    critters = Critters(size=224, val=count, train=1, test=1)
    images = np.stack([critters.load_image("val", i) for i in range(count)])
    labels = critters.split("val").labels
    ids = critters.split("val").ids
    yield "| selective search, 224 px | images/s | times one worker |"
    yield "|---|---|---|"
    found, single = {}, 0.0
    for workers in sorted({1, 2, cores()}):
        with SelectiveSearch(AnnotatorContext(critters.class_names, NoClassifier(), workers)) as search:
            pools = list(search.proposals(images[: 2 * workers]))  # starts the processes
            started = time.perf_counter()
            pools = list(search.proposals(images))
            rate = count / (time.perf_counter() - started)
            annotated = search.annotate(images, labels, ids)
        found[workers] = [pool.boxes.tobytes() for pool in pools], [one.box.tobytes() for one in annotated]
        single = single or rate
        pool_size = np.mean([len(pool) for pool in pools])
        yield f"| {workers} workers, {pool_size:.0f} boxes an image | {rate:.2f} | {rate / single:.2f} |"
    if len({str(one) for one in found.values()}) != 1:
        raise SystemExit("the boxes depend on the number of workers")
    yield ""
    yield f"All {count} pools and boxes are the same in every run."


def clip_table(quick: bool) -> Iterator[str]:
    """CLIP-ES: images per second by model, device and batch."""
    yield "| CLIP-ES maps | device | batch | images/s |"
    yield "|---|---|---|---|"
    devices = ["cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        for name, tower, text in (vit_b16(), embedded()):
            tower = tower.to(device)
            for batch in (1, 32) if device == "cpu" else (1, 32, 128):
                rounds = 1 if quick else 3
                images = torch.randint(0, 256, (batch, 3, tower.side, tower.side), dtype=torch.uint8, device=device)
                rate = batch * rounds / seconds(work(tower, images, text.to(device)), rounds)
                yield f"| {name}, {tower.side} px, {tower.grid} x {tower.grid} | {device} | {batch} | {rate:.1f} |"


def vit_b16() -> tuple[str, ClipImageTower, torch.Tensor]:
    torch.manual_seed(0)
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-16-quickgelu"))
    tower = ClipImageTower(model.visual, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    return "ViT-B/16", tower, torch.nn.functional.normalize(torch.randn(26, 512), dim=1)


def embedded() -> tuple[str, ClipImageTower, torch.Tensor]:
    clip = load_clip("", "embedded")
    return "embedded", clip.tower, clip.text_features([f"a photo of {i}" for i in range(26)])


def work(tower: ClipImageTower, images: torch.Tensor, text: torch.Tensor) -> Callable[[], object]:
    wanted = text[:1].expand(len(images), -1)
    return lambda: clip_es_maps(tower, images, wanted, text[1:], 100.0).cpu()


def seconds(run: Callable[[], object], rounds: int) -> float:
    run()
    started = time.perf_counter()
    for _ in range(rounds):
        run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
