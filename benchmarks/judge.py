"""Speed and memory of the judge: ``python benchmarks/judge.py [--scale 0.1] [--threads 2] [--copies] [--write]``.

A synthetic study of the size of the thesis: 180 configurations of one method, 50 epochs, five sources (class labels and
four sets of boxes), 1,000 validation and 5,794 test images at 224 px. A few records are made of invented maps, all
others are hard links to them, so they come from the page cache and the disk is not measured; ``--copies`` writes every
record of its own instead (use it with ``--scale``). The judge runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.judge.judgement import judge_method
from wsol_bench.judge.scoring import RecordedRun, ScoringBoxes
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.normalise import min_max, quantise, resize_map
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.protocol import load_protocol
from wsol_bench.records.run_record import RunRecord, write_record

FRAME = 224
SOURCES = ("gt", "rpn", "clip", "ss")
RESULTS = Path(__file__).parent / "results" / "judge.md"
BATCH = 250


@dataclass(frozen=True)
class Size:
    """How large the study is.

    Attributes:
        configs: configurations.
        epochs: epochs of each.
        val: validation images.
        test: test images.
        distinct: records that are really made, per split.
        replicates: bootstrap replicates.
        copies: whether every record is a file of its own.
    """

    configs: int = 180
    epochs: int = 50
    val: int = 1000
    test: int = 5794
    distinct: int = 6
    replicates: int = 1000
    copies: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the configurations")
    parser.add_argument("--epochs", type=int, default=Size.epochs)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--copies", action="store_true", help="no links: every record is read from its own file")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    parser.add_argument("--judge", metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judge:
        print(json.dumps(judge(Path(options.judge), options.threads)))
        return
    size = Size(configs=max(1, round(Size.configs * options.scale)), epochs=options.epochs, copies=options.copies)
    folder = Path(tempfile.mkdtemp(prefix="judge-"))
    try:
        start = time.perf_counter()
        make_study(folder, size)
        print(f"made in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        found = [run(folder, options.threads) for _ in range(2)]
    finally:
        shutil.rmtree(folder)
    text = report(size, options.threads, found)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


def make_study(folder: Path, size: Size) -> None:
    """Writes records and boxes; what is drawn depends on the size only."""
    (folder / "size.json").write_text(json.dumps(asdict(size)), encoding="utf-8")
    made = {
        split: [make_record(folder / f"{split}-{k}.parquet", split, count, k) for k in range(size.distinct)]
        for split, count in (("val", size.val), ("test", size.test))
    }
    for config in range(size.configs):
        records = folder / "runs" / str(config) / "records"
        records.mkdir(parents=True)
        for epoch in range(size.epochs):
            for split, paths in made.items():
                source = paths[(config * 7 + epoch) % len(paths)]
                target = records / f"{split}-{epoch:03d}.parquet"
                if size.copies:
                    shutil.copyfile(source, target)
                else:
                    os.link(source, target)


def make_record(path: Path, split: str, count: int, seed: int) -> Path:
    rng = np.random.default_rng([seed, count])
    curves, otsu = [], []
    for start in range(0, count, BATCH):
        levels = make_maps(rng, min(BATCH, count - start), seed)
        curves.append(sweep_largest(levels))
        otsu.append(otsu_boxes(levels, curves[-1]))
    record = RunRecord(
        ids=ids_of(split, count),
        labels=rng.integers(0, 200, count).astype(np.int16),
        top5=rng.integers(0, 200, (count, 5)).astype(np.int16),
        top5_scores=rng.random((count, 5)).astype(np.float32),
        peaks=rng.integers(0, FRAME, (count, 2)).astype(np.int16),
        otsu_boxes=np.concatenate(otsu),
        curves=BoxCurves.concatenate(curves),
        frame=FRAME,
    )
    write_record(path, record, {"split": split})
    return path


def make_maps(rng: np.random.Generator, count: int, seed: int) -> NDArray[np.uint8]:
    """A blob with clutter at the resolution of a CNN's last layer or, every third record, of a decoder."""
    side, clutter = (56, 0.6) if seed % 3 == 2 else (14, 0.15)
    y, x = np.mgrid[:side, :side] / side
    centre, width = rng.uniform(0.3, 0.7, (2, count, 1, 1)), rng.uniform(0.15, 0.3, (count, 1, 1))
    blobs = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))
    return quantise(min_max(resize_map(blobs + clutter * rng.random(blobs.shape), (FRAME, FRAME))))


def ids_of(split: str, count: int) -> tuple[str, ...]:
    return tuple(f"{split}/{index % 200:03d}.A_Class_of_Birds/A_Bird_{index:05d}.jpg" for index in range(count))


def boxes_of(split: str, count: int, seed: int) -> BoxSet:
    low = np.random.default_rng([seed, count, 1]).integers(10, 180, (count, 2))
    corners = zip(ids_of(split, count), low.tolist(), strict=True)
    boxes = {one: [(x, y, x + 200, y + 150)] for one, (x, y) in corners}
    return BoxSet.from_mapping(boxes, dict.fromkeys(boxes, (500, 375)))


def run(folder: Path, threads: int) -> dict[str, float]:
    arguments = [sys.executable, __file__, "--judge", str(folder), "--threads", str(threads)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def judge(folder: Path, threads: int) -> dict[str, float]:
    """Judges the study; seconds and the peak of the memory of this process."""
    size = Size(**json.loads((folder / "size.json").read_text(encoding="utf-8")))
    val = {name: boxes_of("val", size.val, k) for k, name in enumerate(SOURCES)}
    keys = {name: "gt" if name == "gt" else f"pseudo:{name}" for name in SOURCES}
    boxes = ScoringBoxes(val, keys, boxes_of("test", size.test, 9))
    runs = [
        RecordedRun(f"cam/{config}", folder / "runs" / str(config), tuple(range(size.epochs)))
        for config in range(size.configs)
    ]
    protocol = load_protocol("realistic")
    wall, processor = time.perf_counter(), time.process_time()
    with firewall.ledger():
        judgement = judge_method(
            "cam", runs, boxes, ("cls", *SOURCES), protocol, replicates=size.replicates, threads=threads
        )
    return {
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "load": os.getloadavg()[0],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
        "decisions": len(judgement.decisions),
        "test_records": sum(len(one.test.known) for one in judgement.scores),  # type: ignore[attr-defined]
        "record_kb": (folder / "val-0.parquet").stat().st_size / 1000,
    }


def report(size: Size, threads: int, found: list[dict[str, float]]) -> str:
    best = min(found, key=lambda one: one["wall"])
    storage = "every record a file of its own" if size.copies else f"links to {size.distinct} records per split"
    most = (1 + len(SOURCES)) * size.configs
    lines = [
        "# The judge",
        "",
        f"`python benchmarks/judge.py`: {size.configs} configurations, {size.epochs} epochs, {1 + len(SOURCES)} "
        f"sources, {size.val:,} validation and {size.test:,} test images, {size.replicates:,} bootstrap replicates, "
        f"{threads} threads. Records: {storage}; a validation record has {best['record_kb']:.0f} kB.",
        "",
        "| | |",
        "|---|---|",
        f"| wall time, better of {len(found)} runs | {best['wall']:.1f} s |",
        f"| other jobs on the machine meanwhile (load) | {max(0.0, best['load'] - threads):.1f} |",
        f"| processor time | {best['processor']:.1f} s |",
        f"| the same over {threads} threads: wall time of free cores at best | {best['processor'] / threads:.1f} s |",
        f"| peak memory | {best['memory']:.2f} GiB |",
        f"| validation records read | {size.configs * size.epochs:,} |",
        f"| test records read for choices | {best['test_records']:,.0f} of at most {most:,} |",
        f"| decisions with intervals | {best['decisions']:.0f} |",
        "",
        f"Machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. Records that are "
        "links come from memory and make sources agree on epochs more often than real ones: a real study reads more "
        "test records, about 0.025 s of processor time each, and reads from a disk.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
