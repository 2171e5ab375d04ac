"""The exact threshold sweep: the boxes of 8-bit maps at all 255 cuts in one pass over their sorted pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import UsageError
from wsol_bench.maps._contours import all_contours
from wsol_bench.maps._largest import largest_boxes
from wsol_bench.maps.curves import NUM_CUTS, BoxCurves, ContourSets

_MAPS_PER_BLOCK = 32
_LONGEST_SIDE = 16000


def sweep_largest(q: NDArray[np.uint8], threads: int | None = None) -> BoxCurves:
    """Box of the largest contour of every map at every cut.

    Equal, at each cut ``t``, to taking ``q > t``, calling ``cv2.findContours(..., RETR_TREE, CHAIN_APPROX_SIMPLE)``,
    keeping the contour of largest ``cv2.contourArea`` (the first one on ties) and turning its bounding rectangle into
    ``x, y, min(x + w, W - 1), min(y + h, H - 1)``.

    Args:
        q: ``[N, H, W]`` or ``[H, W]`` uint8, see ``wsol_bench.maps.normalise.quantise``.
        threads: worker threads; None uses every core this process may run on. Does not change the result.

    Returns:
        The curves, in the order of the maps.

    Raises:
        UsageError: wrong type, rank or size of ``q``, or fewer than one thread.
    """
    maps = _checked(q)
    total = len(maps)
    cuts = np.empty((total, NUM_CUTS + 1), dtype=np.uint8)
    boxes = np.empty((total, NUM_CUTS + 1, 4), dtype=np.int16)
    counts = np.zeros(total, dtype=np.int64)
    _in_blocks(total, threads, lambda block: largest_boxes(maps[block], cuts[block], boxes[block], counts[block]))
    used = np.arange(NUM_CUTS, -1, -1) < counts[:, None]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    return BoxCurves(maps.max(axis=(1, 2), initial=0), cuts[used], boxes[used], offsets)


def sweep_all(q: NDArray[np.uint8], threads: int | None = None) -> ContourSets:
    """Boxes of all contours of every map, holes included, with the cuts over which each lives.

    Equal, at each cut ``t``, to the bounding rectangles of all that ``cv2.findContours(..., RETR_TREE,
    CHAIN_APPROX_SIMPLE)`` finds in ``q > t``, as ``x, y, min(x + w, W - 1), min(y + h, H - 1)``. The rectangle of a
    hole includes the ring of foreground around it.

    Args:
        q: ``[N, H, W]`` or ``[H, W]`` uint8, see ``wsol_bench.maps.normalise.quantise``.
        threads: worker threads; None uses every core this process may run on. Does not change the result.

    Returns:
        The contours, in the order of the maps; at 224x224 pixels a map
        upsampled from 14x14 has about 2,000, noise about 37,000.

    Raises:
        UsageError: wrong type, rank or size of ``q``, or fewer than one thread.
    """
    maps = _checked(q)
    blocks = _in_blocks(len(maps), threads, lambda block: all_contours(maps[block]))
    found = [contours for block in blocks for contours in block]
    cuts = np.concatenate([np.zeros((0, 2), dtype=np.uint8), *(cuts for _, cuts in found)])
    return ContourSets(
        maps.max(axis=(1, 2), initial=0),
        np.concatenate([np.zeros((0, 4), dtype=np.int16), *(boxes for boxes, _ in found)]),
        np.ascontiguousarray(cuts[:, 0]),
        np.ascontiguousarray(cuts[:, 1]),
        np.cumsum([0, *(len(cuts) for _, cuts in found)], dtype=np.int64),
    )


def _checked(q: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not isinstance(q, np.ndarray) or q.dtype != np.uint8:
        got = f"{q.dtype} values" if isinstance(q, np.ndarray) else f"a {type(q).__name__}"
        raise UsageError(
            f"Expected maps as a uint8 array but got {got}; fix: turn scores in [0, 1] into 8-bit levels with"
            " wsol_bench.maps.normalise.quantise."
        )
    if q.ndim not in (2, 3) or 0 in q.shape[-2:]:
        raise UsageError(
            f"Expected maps of shape [N, H, W] or [H, W], at least one pixel each, but got shape {list(q.shape)};"
            " fix: stack single-channel maps along the first axis."
        )
    if max(q.shape[-2:]) > _LONGEST_SIDE:
        raise UsageError(
            f"Expected maps of at most {_LONGEST_SIDE} pixels a side, because boxes are kept as int16, but got"
            f" {q.shape[-1]}x{q.shape[-2]}; fix: resize the maps first."
        )
    return q[None] if q.ndim == 2 else q


def _in_blocks(total: int, threads: int | None, work: Callable[[slice], Any]) -> list[Any]:
    """Results of ``work`` on blocks of maps, in order; the compiled kernels release the GIL."""
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise UsageError(f"Expected threads to be at least 1 but got {threads}; fix: leave it out to use every core.")
    size = min(_MAPS_PER_BLOCK, max(1, -(-total // threads)))
    blocks = [slice(begin, begin + size) for begin in range(0, total, size)]
    if threads == 1 or len(blocks) <= 1:
        return [work(block) for block in blocks]
    with ThreadPoolExecutor(threads) as pool:
        return [done.result() for done in [pool.submit(work, block) for block in blocks]]
