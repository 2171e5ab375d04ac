"""Speed of the evaluator as Markdown: ``python benchmarks/evaluator.py [--quick] [--large] [--write]``.

The field's way is the loop of the reference evaluator: 1,000 thresholds, each with its own ``cv2.findContours``, on one
core. Both ways get the same maps in the same process, and their boxes are compared before any number is printed.

The end-to-end part is ``wsol-bench evaluate`` in a process of its own, on made-up maps and boxes in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.maps.curves import BoxCurves, ContourSets
from wsol_bench.maps.normalise import min_max, quantise, resize_map
from wsol_bench.maps.sweep import sweep_all, sweep_largest
from wsol_bench.maps.thresholds import cuts_of_taus, tau_grid
from wsol_bench.workflow.map_checks import prepare_map

FRAME = 224
TAU_STEP = 0.001
KINDS = {
    "smooth": "14x14 blob with clutter, upsampled",
    "mid": "56x56 blob with more clutter, upsampled",
    "noisy": "smooth with 4 % pixel noise",
    "white noise": "every pixel by itself",
}

Boxes = list[tuple[int, int, int, int]]


@dataclass(frozen=True)
class Effort:
    """How much is timed.

    Attributes:
        maps: maps for the sweep.
        field_maps: how many of them also go through the field's way.
        repeats: repetitions of the sweep; the best counts.
        folder_maps: maps in the folder of the end-to-end part.
    """

    maps: int
    field_maps: int
    repeats: int
    folder_maps: int


FULL = Effort(maps=256, field_maps=4, repeats=5, folder_maps=5794)
QUICK = Effort(maps=64, field_maps=1, repeats=2, folder_maps=400)
LARGE = 50_000
RESULTS = Path(__file__).parent / "results" / "evaluator.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer maps and repetitions, for a look of some seconds")
    parser.add_argument("--large", action="store_true", help=f"also score {LARGE:,} maps, to see the memory they take")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    lines = ["# Speed of the evaluator", ""]
    for line in chain(environment(), sweep_table(effort), [""], end_to_end_table(effort, large=options.large)):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def environment() -> Iterator[str]:
    versions = f"NumPy {np.__version__}, Numba {numba.__version__}, OpenCV {cv2.__version__}"
    yield f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}."
    yield f"Load of the machine before the start: {os.getloadavg()[0]:.1f} (above 0.5, other work shared the cores)."
    yield ""


def sweep_table(effort: Effort) -> Iterator[str]:
    """Maps per second of the sweep and of the field's way, for each kind of map and contour mode."""
    compiled = {name: seconds(partial(sweep, np.zeros((1, 8, 8), np.uint8)), 1) for name, sweep in SWEEPS}
    yield f"## Threshold sweep, {FRAME}x{FRAME} maps, tau step {TAU_STEP}"
    yield ""
    yield "| maps | contours | field's way, maps/s | 1 thread, maps/s | 2 threads, maps/s | gain of 1 thread |"
    yield "|---|---|---:|---:|---:|---:|"
    for kind, meaning in KINDS.items():
        q = make_maps(kind, effort.maps)
        for name, sweep in SWEEPS:
            few = q[: effort.field_maps]
            agree(sweep(few), few)
            field = len(few) / seconds(partial(field_way, few, name), 1)
            one, two = (len(q) / seconds(partial(sweep, q, threads=n), effort.repeats) for n in (1, 2))
            yield f"| {kind} ({meaning}) | {name} | {field:,.1f} | {one:,.0f} | {two:,.0f} | {one / field:,.0f}x |"
    yield ""
    first = ", ".join(f"{name} {spent:.1f} s" for name, spent in compiled.items())
    yield f"First call of the process (compiles once per machine, later loads from the cache): {first}."


SWEEPS: tuple[tuple[str, Callable[..., BoxCurves | ContourSets]], ...] = (
    ("largest", sweep_largest),
    ("all", sweep_all),
)


def make_maps(kind: str, count: int) -> NDArray[np.uint8]:
    """``[count, 224, 224]`` 8-bit maps, the same at every run."""
    return quantise(make_scores(kind, count, seed=0))


def make_scores(kind: str, count: int, seed: int) -> NDArray[np.float64]:
    """``[count, 224, 224]`` maps in [0, 1], one kind of those in ``KINDS``."""
    rng = np.random.default_rng(seed)
    if kind == "white noise":
        return rng.random((count, FRAME, FRAME))
    side, clutter = (56, 0.6) if kind == "mid" else (14, 0.15)
    y, x = np.mgrid[:side, :side] / side
    centre, width = rng.uniform(0.3, 0.7, (2, count, 1, 1)), rng.uniform(0.15, 0.3, (count, 1, 1))
    blobs = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))
    maps = resize_map(blobs + clutter * rng.random(blobs.shape), (FRAME, FRAME))
    if kind == "noisy":
        maps += 0.04 * rng.standard_normal(maps.shape)
    return min_max(maps)


def field_way(q: NDArray[np.uint8], contours: str) -> list[list[Boxes]]:
    """Boxes of every map at every tau, found the way the reference evaluator finds them."""
    cv2.setNumThreads(1)
    return [[field_boxes(one, tau, contours) for tau in tau_grid(TAU_STEP)] for one in q]


def field_boxes(q: NDArray[np.uint8], tau: float, mode: str) -> Boxes:
    _, binary = cv2.threshold(q, int(tau * np.max(q)), 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return [(0, 0, 0, 0)]
    kept = [max(contours, key=cv2.contourArea)] if mode == "largest" else contours
    rectangles = [cv2.boundingRect(contour) for contour in kept]
    height, width = q.shape
    return [(x, y, min(x + w, width - 1), min(y + h, height - 1)) for x, y, w, h in rectangles]


def agree(swept: BoxCurves | ContourSets, q: NDArray[np.uint8]) -> None:
    """Stops the benchmark unless the sweep gives the boxes of the field's way on every fiftieth threshold.

    Raises:
        SystemExit: a box differs.
    """
    taus = tau_grid(TAU_STEP)[::50]
    cuts = cuts_of_taus(taus, swept.max_levels)
    for i, one in enumerate(q):
        for tau, cut in zip(taus, cuts[i], strict=True):
            if isinstance(swept, BoxCurves):
                ours, mode = swept.boxes_at([cut])[i], "largest"
            else:
                ours, mode = swept.boxes_at(i, int(cut)), "all"
            if sorted(map(tuple, ours.tolist())) != sorted(field_boxes(one, float(tau), mode)):
                raise SystemExit(f"The boxes of map {i} at tau {tau:.3f} differ; the timings would mean nothing.")


def end_to_end_table(effort: Effort, *, large: bool) -> Iterator[str]:
    """Wall time and peak memory of ``wsol-bench evaluate`` on a folder of maps, start of the process included."""
    yield "## From a folder of maps to the scores, `wsol-bench evaluate`, 2 threads"
    yield ""
    yield "| maps | options | wall s | maps/s | peak memory, MiB |"
    yield "|---:|---|---:|---:|---:|"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_maps(folder / "maps", effort.folder_maps)
        write_metadata(folder / "metadata", effort.folder_maps)
        for extra in ("", "--bootstrap 0", "--contours both", "--threads 1"):
            yield end_to_end_row(folder, effort.folder_maps, extra)
        if large:
            link_maps(folder / "maps", effort.folder_maps, LARGE)
            write_metadata(folder / "large", LARGE)
            yield end_to_end_row(folder, LARGE, "", metadata="large")
        yield ""
        yield from limits(folder / "maps", min(effort.folder_maps, 1024))


def limits(folder: Path, count: int) -> Iterator[str]:
    """What one thread spends its time on."""
    stored = [np.load(folder / f"{i}.npy") for i in range(count)]
    q = np.stack([quantise(one) for one in stored])
    steps = {
        "reading": lambda: [np.load(folder / f"{i}.npy") for i in range(count)],
        "checking": lambda: [prepare_map(one, FRAME, "a map") for one in stored],
        "rounding to 8 bits": lambda: [quantise(one) for one in stored],
        "the sweep": lambda: sweep_largest(q, threads=1),
    }
    spent = ", ".join(f"{name} {1000 * seconds(step, 2) / count:.2f} ms" for name, step in steps.items())
    yield f"What limits it: per map of this folder, one thread spends {spent}. {LIMITS}"


LIMITS = (
    "The sweep visits every pixel in the order of its level, so its reads jump about, and noise makes more components "
    "to join. Maps are in the page cache here: a cold disk is the limit at 50 (uint8) to 200 (float32) "
    "KiB per map. Memory is that of the interpreter with its libraries, of one batch per thread and of the bootstrap's "
    "counts; only the ids and boxes of the metadata grow with the number of images."
)


def end_to_end_row(folder: Path, count: int, extra: str, metadata: str = "metadata") -> str:
    command = ["evaluate", "--maps", str(folder / "maps"), "--metadata", str(folder / metadata), "--json", "--quiet"]
    start = time.perf_counter()
    threads = [] if "--threads" in extra else ["--threads", "2"]
    run = subprocess.run(
        [sys.executable, "-c", CHILD, *command, *threads, *extra.split()], capture_output=True, text=True, check=True
    )
    spent = time.perf_counter() - start
    if json.loads(run.stdout)["n"] != count:
        raise SystemExit(f"Expected {count} maps to be scored; the timing would mean nothing.")
    return f"| {count:,} | {extra or 'defaults'} | {spent:.1f} | {count / spent:,.0f} | {int(run.stderr) / 1024:.0f} |"


CHILD = """
import sys
from wsol_bench.cli.app import main
main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
sys.stderr.write(peak.split()[1])
"""
"""The command line, then the peak memory of its process in KiB (Linux); unlike ``ru_maxrss`` it forgets the parent."""

STORED: tuple[tuple[str, type], ...] = (
    ("smooth", np.float32),
    ("mid", np.float16),
    ("smooth", np.float32),
    ("noisy", np.uint8),
)
"""Kind and type of the maps in the folder, in turns."""


def write_maps(folder: Path, count: int) -> None:
    folder.mkdir()
    batch = 64
    for seed, start in enumerate(range(0, count, batch)):
        kind, dtype = STORED[seed % len(STORED)]
        scores = make_scores(kind, min(batch, count - start), seed)
        stored = quantise(scores) if dtype is np.uint8 else scores.astype(dtype)
        for i, one in enumerate(stored, start):
            np.save(folder / f"{i}.npy", one)


def link_maps(folder: Path, have: int, want: int) -> None:
    """Fills the folder up with hard links: other names, the same bytes on disk."""
    for i in range(have, want):
        os.link(folder / f"{i % have}.npy", folder / f"{i}.npy")


def write_metadata(folder: Path, count: int) -> None:
    ids = [f"{i}.jpg" for i in range(count)]
    corners = np.random.default_rng(0).integers(10, 180, (count, 2))
    boxes = {image: [(int(x), int(y), int(x) + 200, int(y) + 150)] for image, (x, y) in zip(ids, corners, strict=True)}
    invented = BoxSet.from_mapping(boxes, dict.fromkeys(ids, (500, 375)))
    write_four_file(folder, ids=ids, labels=np.zeros(count, dtype=np.int64), boxes=invented)


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Shortest wall time of several runs."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


if __name__ == "__main__":
    main()
