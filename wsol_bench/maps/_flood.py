"""Pixels of one map in the order in which a falling threshold floods them, and the union-find that follows them.

A map is kept with a border of one pixel in rows whose length is a power of two, so that position ``p`` of pixel
``(x, y)`` is ``(y + 1) << shift | (x + 1)``. Pixels of equal value are added in raster order; that order is arbitrary
and only the state after all of them is ever read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.maps._kernel import inlined, kernel
from wsol_bench.maps._neighbours import STEPS


class Frame:
    """Scratch arrays for maps of one size; each thread needs its own.

    Args:
        height: rows of the maps.
        width: columns of the maps.
        border: value of the border, 0 to keep it out of the flood and 255 to flood it first.

    Attributes:
        shift: binary logarithm of the row length.
        padded: ``[(H + 2) << shift]`` uint8, the map within its border.
        states: likewise, which neighbours precede each pixel.
        labels: ``[(H + 2) << shift]`` uint32, for the component that each pixel joins; 0 in the border.
        order: ``[H * W]`` uint32, the positions by descending value.
        starts: ``[257]`` int64; the pixels of value ``v`` are ``order[starts[255 - v]:starts[256 - v]]``.
        offsets: ``[8]`` uint64, steps in position to the neighbours. Steps back wrap around: unsigned positions spare
            the compiled code a test for negative indices at every access.
    """

    def __init__(self, height: int, width: int, border: int) -> None:
        self.shift = (width + 1).bit_length()
        shape = (height + 2, 1 << self.shift)
        self._padded = np.full(shape, border, dtype=np.uint8)
        self._states = np.zeros(shape, dtype=np.uint8)
        self.padded = self._padded.reshape(-1)
        self.states = self._states.reshape(-1)
        self.labels = np.zeros(self.padded.shape, dtype=np.uint32)
        self.order = np.empty(height * width, dtype=np.uint32)
        self.starts = np.empty(257, dtype=np.int64)
        self.offsets = np.array([dx + (dy << self.shift) for dx, dy in STEPS], dtype=np.int64).astype(np.uint64)

    def load(self, image: NDArray[np.uint8]) -> None:
        """Sorts the pixels of ``image``, ``[H, W]`` uint8.

        The copy keeps read-only and strided maps away from the compiled code, which would compile again for each.
        """
        height, width = image.shape
        self._padded[1 : height + 1, 1 : width + 1] = image
        _order_pixels(height, width, self.shift, self._padded, self._states, self.order, self.starts)


@kernel
def _order_pixels(height: int, width: int, shift: int, padded: Any, states: Any, order: Any, starts: Any) -> None:
    # Equal values come in runs; counting them in turns keeps one addition from waiting for the one before.
    counts = np.zeros((4, 256), dtype=np.int64)
    for y in range(height):
        for x in range(width):
            counts[x & 3, padded[y + 1, x + 1]] += 1
    for y in range(height):
        for x in range(width):
            v = padded[y + 1, x + 1]
            state = np.uint8(padded[y + 1, x] >= v) | np.uint8(padded[y, x] >= v) << 1
            state |= np.uint8(padded[y, x + 1] >= v) << 2 | np.uint8(padded[y, x + 2] >= v) << 3
            state |= np.uint8(padded[y + 1, x + 2] > v) << 4 | np.uint8(padded[y + 2, x + 2] > v) << 5
            state |= np.uint8(padded[y + 2, x + 1] > v) << 6 | np.uint8(padded[y + 2, x] > v) << 7
            states[y + 1, x + 1] = np.uint8(state)
    place = np.empty(256, dtype=np.int64)
    starts[0] = 0
    for i in range(256):
        v = 255 - i
        place[i] = starts[i]
        starts[i + 1] = starts[i] + counts[0, v] + counts[1, v] + counts[2, v] + counts[3, v]
    for y in range(height):
        base = ((y + 1) << shift) + 1
        for x in range(width):
            bucket = 255 - padded[y + 1, x + 1]
            order[place[bucket]] = base + x
            place[bucket] += 1


@inlined
def find(parents: Any, node: Any) -> Any:
    """Root of a node, halving the path on the way."""
    above = parents[node]
    while above != node:
        higher = parents[above]
        parents[node] = higher
        node = higher
        above = parents[node]
    return node
