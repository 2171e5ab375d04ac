"""Compiled: every contour of a map with the interval of cuts over which its box stays.

OpenCV draws one contour for each 8-connected component of ``{q > t}`` and one for each hole, that is each 4-connected
component of ``{q <= t}`` that does not reach the edge of the map. Components appear, grow and merge while ``t`` falls,
holes do so while it rises; the second sweep is the first one run on the inverted map.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.maps._flood import Frame, find
from wsol_bench.maps._kernel import kernel
from wsol_bench.maps._neighbours import arc_tables
from wsol_bench.maps.curves import NUM_CUTS

_ARC_COUNT_8, _ARC_NEIGHBOUR_8 = arc_tables(8)
_ARC_COUNT_4, _ARC_NEIGHBOUR_4 = arc_tables(4)
_EAST, _SOUTH = 1 << 4, 1 << 6

# Columns of the component table: its extent (border included), its size, and the extent last listed together with the
# highest cut at which it had that extent (-1: none listed yet), and the last level that added a pixel.
_X0, _Y0, _X1, _Y1, _SIZE, _LISTED_X0, _LISTED_Y0, _LISTED_X1, _LISTED_Y1, _SINCE, _TOUCHED = range(11)
_OUTSIDE = 0


def all_contours(maps: NDArray[np.uint8]) -> list[tuple[NDArray[np.int16], NDArray[np.uint8]]]:
    """Sweeps maps of one size, holding the GIL for microseconds only.

    Args:
        maps: ``[N, H, W]`` uint8.

    Returns:
        For each map the boxes of its contours, ``[K, 4]`` int16, and their first and last cuts, ``[K, 2]`` uint8.
    """
    height, width = maps.shape[1:]
    bright = Frame(height, width, border=0)
    dark = Frame(height, width, border=255)
    parents = np.empty(height * width + 1, dtype=np.uint32)
    table = np.empty((height * width + 1, 16), dtype=np.int32)
    touched = np.empty(height * width, dtype=np.uint32)
    # A listing needs a pixel that was added since the one before and gets written once, so either sweep lists at most
    # one for each pixel; the last row is for the cuts at which the map is empty.
    boxes = np.empty((2 * height * width + 1, 4), dtype=np.int16)
    cuts = np.empty((2 * height * width + 1, 2), dtype=np.uint8)
    found = []
    for image in maps:
        bright.load(image)
        used = _list_intervals(
            width, height, bright.shift, 0, bright.offsets, bright.states, bright.labels, bright.order, bright.starts,
            _ARC_COUNT_8, _ARC_NEIGHBOUR_8, parents, table, touched, boxes, cuts, 0,
        )  # fmt: skip
        dark.load(255 - image)
        # Not even the border counts as added before a pixel of its own value that comes earlier in raster order.
        states = dark.states.reshape(height + 2, -1)
        states[height, 1 : width + 1] |= _SOUTH
        states[1 : height + 1, width] |= _EAST
        outer = used
        used = _list_intervals(
            width, height, dark.shift, 1, dark.offsets, dark.states, dark.labels, dark.order, dark.starts,
            _ARC_COUNT_4, _ARC_NEIGHBOUR_4, parents, table, touched, boxes, cuts, used,
        )  # fmt: skip
        cuts[outer:used] = NUM_CUTS - 1 - cuts[outer:used, ::-1]
        highest = image.max()
        if highest < NUM_CUTS:
            boxes[used] = 0
            cuts[used] = highest, NUM_CUTS - 1
            used += 1
        found.append((boxes[:used].copy(), cuts[:used].copy()))
    return found


@kernel
def _list_intervals(
    width: int,
    height: int,
    shift: int,
    margin: int,
    offsets: Any,
    states: Any,
    labels: Any,
    order: Any,
    starts: Any,
    arc_count: Any,
    arc_neighbour: Any,
    parents: Any,
    table: Any,
    touched: Any,
    boxes: Any,
    cuts: Any,
    used: int,
) -> int:
    """Lists the components of ``{q > t}`` except what is connected to the border; returns the number of rows used."""
    column_mask, row_bits = np.uint64((1 << shift) - 1), np.uint64(shift)
    parents[_OUTSIDE] = _OUTSIDE
    table[_OUTSIDE, _SIZE] = width * height + 1
    table[_OUTSIDE, _SINCE] = -1
    created = 1
    for value in range(255, 0, -1):
        begin, end = starts[255 - value], starts[256 - value]
        num_touched = 0
        for i in range(begin, end):
            p = np.uint64(order[i])
            x, y = np.int32(p & column_mask), np.int32(p >> row_bits)
            state = states[p]
            arcs = arc_count[state]
            if arcs == 0:
                parents[created] = created
                table[created, _X0] = table[created, _X1] = x
                table[created, _Y0] = table[created, _Y1] = y
                table[created, _SIZE] = 1
                table[created, _SINCE] = -1
                table[created, _TOUCHED] = value
                touched[num_touched] = created
                num_touched += 1
                labels[p] = created
                created += 1
                continue
            root = find(parents, labels[p + offsets[arc_neighbour[state, 0]]])
            for arc in range(1, arcs):
                other = find(parents, labels[p + offsets[arc_neighbour[state, arc]]])
                if other != root:
                    if table[other, _SIZE] > table[root, _SIZE]:
                        root, other = other, root
                    parents[other] = root
                    used = _list(table[other], value, width, height, margin, boxes, cuts, used)
                    _absorb(table[root], table[other])
            labels[p] = root
            if root == _OUTSIDE:
                continue
            if x < table[root, _X0]:
                table[root, _X0] = x
            if x > table[root, _X1]:
                table[root, _X1] = x
            if y < table[root, _Y0]:
                table[root, _Y0] = y
            if y > table[root, _Y1]:
                table[root, _Y1] = y
            table[root, _SIZE] += 1
            if table[root, _TOUCHED] != value:
                table[root, _TOUCHED] = value
                touched[num_touched] = root
                num_touched += 1
        for i in range(num_touched):
            root = touched[i]
            if parents[root] == root:
                row = table[root]
                if row[_SINCE] < 0 or _has_grown(row):
                    used = _list(row, value, width, height, margin, boxes, cuts, used)
                    row[_LISTED_X0], row[_LISTED_Y0] = row[_X0], row[_Y0]
                    row[_LISTED_X1], row[_LISTED_Y1] = row[_X1], row[_Y1]
                    row[_SINCE] = value - 1
    for component in range(1, created):
        if parents[component] == component:
            used = _list(table[component], 0, width, height, margin, boxes, cuts, used)
    return used


@kernel
def _list(row: Any, first_cut: int, width: int, height: int, margin: int, boxes: Any, cuts: Any, used: int) -> int:
    """Writes the interval that ends where another extent begins; nothing if the component was never listed."""
    if row[_SINCE] < 0:
        return used
    boxes[used, 0] = row[_LISTED_X0] - 1 - margin
    boxes[used, 1] = row[_LISTED_Y0] - 1 - margin
    boxes[used, 2] = min(row[_LISTED_X1] + margin, width - 1)
    boxes[used, 3] = min(row[_LISTED_Y1] + margin, height - 1)
    cuts[used, 0] = first_cut
    cuts[used, 1] = row[_SINCE]
    return used + 1


@kernel
def _has_grown(row: Any) -> Any:
    return (
        row[_X0] != row[_LISTED_X0]
        or row[_Y0] != row[_LISTED_Y0]
        or row[_X1] != row[_LISTED_X1]
        or row[_Y1] != row[_LISTED_Y1]
    )


@kernel
def _absorb(row: Any, other: Any) -> None:
    row[_X0] = min(row[_X0], other[_X0])
    row[_Y0] = min(row[_Y0], other[_Y0])
    row[_X1] = max(row[_X1], other[_X1])
    row[_Y1] = max(row[_Y1], other[_Y1])
    row[_SIZE] += other[_SIZE]
