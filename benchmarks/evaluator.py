"""Speed of the evaluator, printed as Markdown: ``python benchmarks/evaluator.py [--quick]``.

The field's way is the loop of the reference evaluator: 1,000 thresholds, each with its own ``cv2.findContours``, on one
core. Both ways get the same maps in the same process, and their boxes are compared before any number is printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from wsol_bench.maps.curves import BoxCurves, ContourSets
from wsol_bench.maps.normalise import min_max, quantise, resize_map
from wsol_bench.maps.sweep import sweep_all, sweep_largest
from wsol_bench.maps.thresholds import cuts_of_taus, tau_grid

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
    """How much is timed: maps for the sweep, maps for the field's way (a subset), and repetitions; the best counts."""

    maps: int
    field_maps: int
    repeats: int


FULL = Effort(maps=256, field_maps=4, repeats=5)
QUICK = Effort(maps=64, field_maps=1, repeats=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer maps and repetitions, for a look of some seconds")
    effort = QUICK if parser.parse_args().quick else FULL
    print("\n".join(environment()))
    print("\n".join(sweep_table(effort)))


def environment() -> Iterator[str]:
    versions = f"NumPy {np.__version__}, Numba {numba.__version__}, OpenCV {cv2.__version__}"
    yield f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}."
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
    rng = np.random.default_rng(0)
    if kind == "white noise":
        return quantise(rng.random((count, FRAME, FRAME)))
    side, clutter = (56, 0.6) if kind == "mid" else (14, 0.15)
    y, x = np.mgrid[:side, :side] / side
    centre, width = rng.uniform(0.3, 0.7, (2, count, 1, 1)), rng.uniform(0.15, 0.3, (count, 1, 1))
    blobs = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))
    maps = resize_map(blobs + clutter * rng.random(blobs.shape), (FRAME, FRAME))
    if kind == "noisy":
        maps += 0.04 * rng.standard_normal(maps.shape)
    return quantise(min_max(maps))


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
