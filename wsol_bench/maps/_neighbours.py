"""What adding one pixel does to the shape around it, tabulated for the 256 states of its eight neighbours.

Neighbours are numbered clockwise from the left one: W, NW, N, NE, E, SE, S, SW (bits 0 to 7). A bit is set when that
neighbour was added before the pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS: tuple[tuple[int, int], ...] = ((-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1))
"""``(dx, dy)`` of each neighbour."""

_QUADS = ((0, 1, 2), (2, 3, 4), (4, 5, 6), (6, 7, 0))


def arc_tables(connectivity: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Groups the set neighbours into arcs, one for each locally separate piece that the pixel joins.

    Args:
        connectivity: 8, or 4: then only W, N, E and S are joined, and a corner merely links its two sides.

    Returns:
        ``[256]`` number of arcs and ``[256, 4]`` one neighbour of each arc.
    """
    reach = 1 if connectivity == 4 else 2
    links = [(a, b) for a in range(8) for b in range(a) if _squared_distance(a, b) <= reach]
    joined = range(0, 8, 2) if connectivity == 4 else range(8)
    counts = np.zeros(256, dtype=np.uint8)
    members = np.zeros((256, 4), dtype=np.uint8)
    for state in range(256):
        group = list(range(8))
        for a, b in links:
            if state >> a & 1 and state >> b & 1 and group[a] != group[b]:
                group = [group[b] if g == group[a] else g for g in group]
        arcs = {group[k]: k for k in reversed(joined) if state >> k & 1}
        counts[state] = len(arcs)
        members[state, : len(arcs)] = sorted(arcs.values())
    return counts, members


def area_gains() -> NDArray[np.int32]:
    """``[256]`` gain of twice the polygon area: a 2x2 block counts 1 with three of its pixels, 2 with all four."""
    return np.array([sum(_set_pixels(state, quad) >= 2 for quad in _QUADS) for state in range(256)], dtype=np.int32)


def euler_gains() -> NDArray[np.int32]:
    """``[256]`` change of (pieces - holes); pieces are 8-connected, holes 4-connected (bit quads of Gray, 1971)."""
    gains = np.zeros(256, dtype=np.int32)
    for state in range(256):
        for quad in _QUADS:
            before = _set_pixels(state, quad)
            corner = bool(state >> quad[1] & 1)
            gains[state] += _quad_weight(before + 1, before == 1 and corner)
            gains[state] -= _quad_weight(before, before == 2 and not corner)
    return gains // 4


def _squared_distance(a: int, b: int) -> int:
    return (STEPS[a][0] - STEPS[b][0]) ** 2 + (STEPS[a][1] - STEPS[b][1]) ** 2


def _set_pixels(state: int, quad: tuple[int, int, int]) -> int:
    return sum(state >> k & 1 for k in quad)


def _quad_weight(set_pixels: int, diagonal: bool) -> int:
    return -2 if diagonal else (0, 1, 0, -1, 0)[set_pixels]
