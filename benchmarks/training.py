"""How fast training is, and what bounds it, as Markdown: ``python benchmarks/training.py [--write]``.

CAM with a ResNet-50 at 224 pixels and the small network at 64, against the loop that the field's code has: JPEG files
from disk, PIL, a DataLoader with workers, float32. Every measurement is a process of its own, so that its memory is its
own; rounds over all rows take turns, and the median of each row counts, because other work may share the machine.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.datasets.four_file_dataset import FourFileDataset
from wsol_bench.datasets.packed import PackedSplit, pack
from wsol_bench.methods.base import Batch
from wsol_bench.methods.cam import CAM
from wsol_bench.training.batches import RESIDENT_BYTES, training_side
from wsol_bench.training.device import make_deterministic, pick_device
from wsol_bench.training.epoch import loss_of, train_epoch
from wsol_bench.training.feed import TrainingFeed
from wsol_bench.training.kept_answers import KeptAnswers
from wsol_bench.training.recorder import record_split

RESULTS = Path(__file__).parent / "results" / "training.md"
WARM_UP = 1
CASES = {"small ResNet at 64": ("resnet_small", 64), "ResNet-50 at 224": ("resnet50", 224)}
BATCH = 32
LARGE_ON_A_CPU = {"batch": 16, "images": 64, "rounds": 1, "steps": 3}
"""One step of the large network with 16 images takes ten seconds on two cores."""

LOADER = "DataLoader over JPEG files, float32"
ROWS: dict[str, dict[str, Any]] = {
    LOADER: {"loader": True},
    "packed, float32, channels first": {"channels_last": False},
    "packed, float32": {},
    "packed, float32, read from disk": {"resident": False},
    "packed, bfloat16": {"precision": "bf16"},
    "packed, bfloat16, channels first": {"precision": "bf16", "channels_last": False},
}
CROPPED = 256 / 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="timed steps of every row")
    parser.add_argument("--batch", type=int, default=BATCH, help="images per step")
    parser.add_argument("--rounds", type=int, default=3, help="times that every row is measured")
    parser.add_argument("--images", type=int, default=256, help="training images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="of the DataLoader")
    parser.add_argument("--threads", type=int, default=0, help="of torch on a CPU; 0: its own choice")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(_measured(json.loads(options.row), options)))
        return
    sections = [_header(options)]
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases:
            backbone, frame = CASES[case]
            place = Path(folder) / str(frame)
            images, rounds = _setting(options, frame, "images"), _setting(options, frame, "rounds")
            written = _write_files(place, frame, images)
            started = time.perf_counter()
            side = training_side(frame)
            pack(FourFileDataset(place, frame=frame), "train", side, cache_dir=place / "packed")
            packing = images / (time.perf_counter() - started)
            found: dict[str, list[dict[str, float]]] = {name: [] for name in ROWS}
            for _ in range(rounds):
                for name, how in ROWS.items():
                    one = _in_a_process({"backbone": backbone, "frame": frame, "folder": str(place), **how})
                    print(case, name, one, file=sys.stderr, flush=True)
                    found[name].append(one)
            sections.append(_section(case, images, found, written, packing))
    text = "\n\n".join(sections) + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


def _in_a_process(row: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, *sys.argv, "--row", json.dumps(row)], check=True, stdout=subprocess.PIPE, text=True
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _measured(row: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    make_deterministic()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    place, frame = Path(row["folder"]), row["frame"]
    size, steps = _setting(options, frame, "batch"), _setting(options, frame, "steps")
    dataset = FourFileDataset(place, frame=frame)
    method = CAM()
    torch.manual_seed(0)
    hparams = CAM.HParams.from_dict({"backbone": row["backbone"]})
    method.build(len(dataset.class_names), dataset.class_names, hparams, frame)
    method.to(device).train()
    if row.get("channels_last", True) and not row.get("loader"):
        method.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(method.param_groups(1e-3), 1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4)
    started = time.perf_counter()
    split = None
    if row.get("loader"):
        batches = _loaded(place, frame, size, options.workers, device)
    else:
        split = pack(dataset, "train", training_side(frame), cache_dir=place / "packed")
        batches = _packed(split, frame, size, method, device, row.get("resident", True))
    batches = _watched(batches)
    step = functools.partial(
        train_epoch, loss_of(method), optimizer, device=device, precision=row.get("precision", "fp32"), read_every=10
    )
    _take(step, batches, 1, size)
    _finish(device)
    first = time.perf_counter() - started
    _take(step, batches, WARM_UP, size)
    _finish(device)
    _watched.waited = 0.0
    started, busy = time.perf_counter(), time.process_time()
    _take(step, batches, steps, size)
    _finish(device)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    waited = _watched.waited
    found = {
        "batch": size,
        "steps": steps,
        "rate": size * steps / seconds,
        "per_cpu_second": size * steps / busy,
        "waiting": 100 * waited / seconds,
        "first": first,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if device.type == "cuda":
        found["gpu_memory"] = torch.cuda.max_memory_allocated(device) / 2**20
    if split is not None:
        # As many images as are trained on, squashed further: for time only.
        val = pack(dataset, "train", frame, cache_dir=place / "packed")
        started = time.perf_counter()
        record_split(method, val, len(dataset.class_names), device=device, precision=row.get("precision", "fp32"))
        found["recording"] = len(val) / (time.perf_counter() - started)
    batches.close()
    return found


def _setting(options: argparse.Namespace, frame: int, name: str) -> int:
    small = frame == 224 and pick_device(options.device).type == "cpu"
    value: int = LARGE_ON_A_CPU[name] if small else vars(options)[name]
    return value


def _take(step: Callable[..., float], batches: Iterator[Batch], count: int, size: int) -> None:
    step(itertools.islice(batches, count), [size] * count)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _watched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Adds up the time that steps wait for their batches."""
    while True:
        started = time.perf_counter()
        batch = next(batches)
        _watched.waited += time.perf_counter() - started
        yield batch


_watched.waited = 0.0


def _packed(
    split: PackedSplit, frame: int, size: int, method: CAM, device: torch.device, resident: bool
) -> Iterator[Batch]:
    kept = KeptAnswers(None, device)
    feed = TrainingFeed(split, frame, kept, resident_bytes=RESIDENT_BYTES if resident else 0)
    for epoch in itertools.count(1):
        yield from feed.epoch(method, epoch, size, 0, epoch)


class _Files(Dataset[tuple[torch.Tensor, int]]):
    """What the field's code does with an image: decode, resize, crop, flip, normalise."""

    def __init__(self, folder: Path, frame: int) -> None:
        from torchvision import transforms

        self.paths = sorted((folder / "train").glob("*.jpg"))
        resized = round(frame * CROPPED)
        self.transform = transforms.Compose(
            [
                transforms.Resize((resized, resized)),
                transforms.RandomCrop(frame),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), index % 10


def _loaded(folder: Path, frame: int, size: int, workers: int, device: torch.device) -> Iterator[Batch]:
    loader = DataLoader(
        _Files(folder, frame),
        size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    for epoch in itertools.count(1):
        for images, labels in loader:
            yield Batch(images.to(device), labels.to(device), epoch)


def _write_files(folder: Path, frame: int, count: int) -> float:
    """Writes critters as JPEG files, at twice the area so that there is something to resize; returns MB."""
    critters = Critters(size=min(frame * 3 // 2, 224), train=count)
    split = critters.split("train")
    (folder / "train").mkdir(parents=True)
    metadata = folder / "metadata" / "train"
    metadata.mkdir(parents=True)
    ids = [f"train/{i:05d}.jpg" for i in range(count)]
    for index, name in enumerate(ids):
        side = frame * 3 // 2
        image = Image.fromarray(critters.load_image("train", index)).resize((side, side), Image.Resampling.BICUBIC)
        image.save(folder / name, quality=90)
    labels = zip(ids, split.labels % 10, strict=True)
    (metadata / "image_ids.txt").write_text("\n".join(ids))
    (metadata / "class_labels.txt").write_text("\n".join(f"{name},{label}" for name, label in labels))
    return sum((folder / name).stat().st_size for name in ids) / 1e6


def _header(options: argparse.Namespace) -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and options.device != "cpu" else "no GPU"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    threads = options.threads or torch.get_num_threads()
    return "\n".join(
        [
            "# Speed of training",
            "",
            f"{os.cpu_count()} cores, {platform.machine()}, {gpu}, torch {torch.__version__}, torch with {threads} "
            "thread(s).",
            f"Load of the machine before the start: {load:.1f}.",
            "",
            f"CAM; {WARM_UP + 1} steps come before the timed ones; {options.workers} workers of the DataLoader.",
            "Per CPU second: images by processor time of the training process. Other work on the machine does "
            "not count there, but neither do the workers of the DataLoader. Gain: of images per CPU second "
            "without a GPU, of images/s with one; on a busy machine images/s are not to be compared.",
            "Waiting: share of the time in which a step has no batch yet. First step: from opening the packed images "
            "(or starting the workers) to the end of the first step. Recording: forward pass, sweep and peaks of whole "
            "images.",
        ]
    )


def _section(
    case: str, images: int, measured: dict[str, list[dict[str, float]]], written: float, packing: float
) -> str:
    found = {
        name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for name, rounds in measured.items()
    }
    first = next(iter(found.values()))
    gpu = "gpu_memory" in first
    compared = "rate" if gpu else "per_cpu_second"
    heads = [
        "training",
        "images/s",
        "gain",
        "per CPU second",
        "waiting, %",
        "first step, s",
        "recording, images/s",
        "peak memory, MiB",
    ]
    heads += ["GPU memory, MiB"] if gpu else []
    rounds = len(next(iter(measured.values())))
    lines = [
        f"## {case}",
        "",
        f"Batches of {first['batch']:.0f}, {first['steps']:.0f} timed step(s), {rounds} round(s), {images} images.",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" + "|---:" * (len(heads) - 1) + "|",
    ]
    for name, one in found.items():
        recording = _rate(one["recording"]) if "recording" in one else "-"
        cells = [
            name,
            _rate(one["rate"]),
            f"{one[compared] / first[compared]:.2f}x",
            _rate(one["per_cpu_second"]),
            f"{one['waiting']:.1f}",
            f"{one['first']:.1f}",
        ]
        cells += [recording, f"{one['memory']:,.0f}"] + ([f"{one['gpu_memory']:,.0f}"] if gpu else [])
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", _bound(found), "", f"Packing, once: {packing:,.1f} images/s from {written:.1f} MB of JPEG files."]
    return "\n".join(lines)


def _rate(value: float) -> str:
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def _bound(found: dict[str, dict[str, float]]) -> str:
    """Says what limits training, from the numbers."""
    loader, packed, first = (found[name] for name in (LOADER, "packed, float32", "packed, float32, channels first"))
    half = found["packed, bfloat16"]
    limit = "the arithmetic of the network" if packed["waiting"] < 10 else "the making of batches"
    return (
        f"What bounds it: {limit}. Steps wait {packed['waiting']:.1f} % of the time for packed batches and "
        f"{loader['waiting']:.1f} % for those of the DataLoader. By processor time, bfloat16 does "
        f"{half['per_cpu_second'] / packed['per_cpu_second']:.2f} times as many images as float32, and channels last "
        f"{packed['per_cpu_second'] / first['per_cpu_second']:.2f} times as many as channels first."
    )


if __name__ == "__main__":
    main()
