"""Compiled: the contour with the largest polygon area at every cut of a map.

Components of ``{q > t}`` only grow and merge while ``t`` falls, so one union-find over the pixels in descending order
sees them all. Only outer borders compete: the border of a hole encloses no more than the outer border around it and,
when it encloses as much, has the same box; a component inside a hole encloses less.

OpenCV measures the polygon through border pixel centres. For a component without holes that is the number of its full
2x2 blocks plus half the number of its blocks with three pixels, which adding a pixel changes by a tabulated amount.
With holes the same sum is a lower bound, the bounding box gives an upper one, and only when the bounds leave the winner
open is the outer border walked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.maps._flood import Frame, find
from wsol_bench.maps._kernel import inlined, kernel
from wsol_bench.maps._neighbours import STEPS, arc_tables, area_gains, euler_gains
from wsol_bench.maps.curves import NUM_CUTS

_ARC_COUNT, _ARC_NEIGHBOUR = arc_tables(8)
_AREA_GAIN = area_gains()
_EULER_GAIN = euler_gains()
_DX = np.array([dx for dx, _ in STEPS], dtype=np.int64)
_DY = np.array([dy for _, dy in STEPS], dtype=np.int64)

# Columns of the component table. Areas are doubled to stay whole. FIRST is the position of the topmost-leftmost pixel,
# from which the top row follows; AREA counts 2x2 blocks; CEILING is an upper bound of the polygon area, vacuous once a
# hole has closed; WALKED is the area last measured by walking the border, at size WALKED_SIZE; TOUCHED is the last
# level that added a pixel.
_X0, _X1, _Y1, _FIRST, _SIZE, _AREA, _EULER, _CEILING, _WALKED, _WALKED_SIZE, _TOUCHED = range(11)
_UNBOUNDED = 1 << 30


def largest_boxes(
    maps: NDArray[np.uint8],
    cuts: NDArray[np.uint8],
    boxes: NDArray[np.int16],
    counts: NDArray[np.int64],
) -> None:
    """Sweeps maps of one size, holding the GIL for microseconds only.

    Args:
        maps: ``[N, H, W]`` uint8.
        cuts: ``[N, 256]`` uint8; the segments of map ``i`` end up in ``cuts[i, -counts[i]:]``, ascending.
        boxes: ``[N, 256, 4]`` int16, likewise.
        counts: ``[N]`` int64, number of segments.
    """
    height, width = maps.shape[1:]
    frame = Frame(height, width, border=0)
    most = ((height + 1) // 2) * ((width + 1) // 2)
    parents = np.empty(most, dtype=np.uint32)
    table = np.empty((most, 16), dtype=np.int32)
    candidates = np.empty((2, most + 1), dtype=np.int32)
    for i, image in enumerate(maps):
        frame.load(image)
        counts[i] = _sweep(
            width, height, frame.shift, frame.offsets, frame.padded, frame.states, frame.labels, frame.order,
            frame.starts, parents, table, candidates[0], candidates[1], cuts[i], boxes[i],
        )  # fmt: skip


@kernel
def _sweep(
    width: int,
    height: int,
    shift: int,
    offsets: Any,
    padded: Any,
    states: Any,
    labels: Any,
    order: Any,
    starts: Any,
    parents: Any,
    table: Any,
    candidates: Any,
    undecided: Any,
    cuts: Any,
    boxes: Any,
) -> int:
    whole = 2 * (width - 1) * (height - 1)
    created = 0
    winner, winner_area, winner_first = -1, -1, -1
    settled = False
    x0 = y0 = x1 = y1 = 0
    slot = NUM_CUTS + 1
    for value in range(255, 0, -1):
        begin, end = starts[255 - value], starts[256 - value]
        if begin == end:
            continue
        created, touched = _flood_level(
            order[begin:end], value, shift, offsets, states, labels, parents, table, created, candidates
        )
        if winner >= 0:
            winner = find(parents, winner)
        if not settled:
            if winner >= 0:
                # What was not touched lost to the winner before and still does, unless the winner grew upwards without
                # gaining area: then it may lose a tie.
                row = table[winner]
                if row[_FIRST] != winner_first and max(row[_AREA], row[_WALKED]) == winner_area:
                    touched = 0
                    for component in range(created):
                        candidates[touched] = component
                        touched += 1
                elif row[_TOUCHED] != value:
                    candidates[touched] = winner
                    touched += 1
            num_candidates = _keep_roots(candidates, touched, parents)
            winner = _largest(candidates[:num_candidates], undecided, table, padded, value, shift, offsets)
            winner_area = max(table[winner, _AREA], table[winner, _WALKED])
            winner_first = table[winner, _FIRST]
        row = table[winner]
        nx0, ny0 = row[_X0] - 1, (row[_FIRST] >> shift) - 1
        nx1, ny1 = min(row[_X1], width - 1), min(row[_Y1], height - 1)
        if nx0 != x0 or ny0 != y0 or nx1 != x1 or ny1 != y1:
            if value < NUM_CUTS:
                slot -= 1
                cuts[slot] = value
                boxes[slot, 0], boxes[slot, 1], boxes[slot, 2], boxes[slot, 3] = x0, y0, x1, y1
            x0, y0, x1, y1 = nx0, ny0, nx1, ny1
        # Disjoint polygons share the map: one that fills more than half of it stays the largest for good.
        full = row[_X1] - row[_X0] == width - 1 and row[_Y1] - (row[_FIRST] >> shift) == height - 1
        area = max(row[_AREA], row[_WALKED])
        if full and area <= whole // 2 and row[_EULER] != 1 and row[_WALKED_SIZE] != row[_SIZE]:
            area = _walk(row, padded, value, shift, offsets)
        settled = settled or area > whole // 2
        if full and settled:
            break
    slot -= 1
    cuts[slot] = 0
    boxes[slot, 0], boxes[slot, 1], boxes[slot, 2], boxes[slot, 3] = x0, y0, x1, y1
    return NUM_CUTS + 1 - slot


@inlined
def _flood_level(
    positions: Any,
    value: int,
    shift: int,
    offsets: Any,
    states: Any,
    labels: Any,
    parents: Any,
    table: Any,
    created: int,
    touched: Any,
) -> Any:
    """Adds the pixels of one level; returns the number of components created so far and of those listed as touched."""
    num_touched = 0
    column_mask, row_bits = np.uint64((1 << shift) - 1), np.uint64(shift)
    for i in range(len(positions)):
        p = np.uint64(positions[i])
        x, y = np.int32(p & column_mask), np.int32(p >> row_bits)
        state = states[p]
        arcs = _ARC_COUNT[state]
        if arcs == 0:
            parents[created] = created
            table[created, _X0] = table[created, _X1] = x
            table[created, _Y1] = y
            table[created, _FIRST] = np.int32(p)
            table[created, _SIZE] = table[created, _EULER] = 1
            table[created, _AREA] = table[created, _CEILING] = 0
            table[created, _WALKED] = table[created, _WALKED_SIZE] = 0
            table[created, _TOUCHED] = value
            touched[num_touched] = created
            num_touched += 1
            labels[p] = created
            created += 1
            continue
        root = find(parents, labels[p + offsets[_ARC_NEIGHBOUR[state, 0]]])
        for arc in range(1, arcs):
            other = find(parents, labels[p + offsets[_ARC_NEIGHBOUR[state, arc]]])
            if other == root:
                table[root, _CEILING] = _UNBOUNDED
            else:
                if table[other, _SIZE] > table[root, _SIZE]:
                    root, other = other, root
                parents[other] = root
                _absorb(table[root], table[other])
        labels[p] = root
        if x < table[root, _X0]:
            table[root, _X0] = x
        if x > table[root, _X1]:
            table[root, _X1] = x
        if y > table[root, _Y1]:
            table[root, _Y1] = y
        if np.int32(p) < table[root, _FIRST]:
            table[root, _FIRST] = np.int32(p)
        table[root, _SIZE] += 1
        table[root, _AREA] += _AREA_GAIN[state]
        table[root, _CEILING] += _AREA_GAIN[state]
        table[root, _EULER] += _EULER_GAIN[state]
        if table[root, _TOUCHED] != value:
            table[root, _TOUCHED] = value
            touched[num_touched] = root
            num_touched += 1
    return created, num_touched


@inlined
def _absorb(row: Any, other: Any) -> None:
    row[_X0] = min(row[_X0], other[_X0])
    row[_X1] = max(row[_X1], other[_X1])
    row[_Y1] = max(row[_Y1], other[_Y1])
    row[_FIRST] = min(row[_FIRST], other[_FIRST])
    row[_SIZE] += other[_SIZE]
    row[_AREA] += other[_AREA]
    row[_EULER] += other[_EULER]
    row[_CEILING] = min(np.int64(row[_CEILING]) + other[_CEILING], _UNBOUNDED)
    row[_WALKED] = max(row[_WALKED], other[_WALKED])


@inlined
def _keep_roots(components: Any, count: int, parents: Any) -> int:
    kept = 0
    for i in range(count):
        component = components[i]
        if parents[component] == component:
            components[kept] = component
            kept += 1
    return kept


@inlined
def _largest(candidates: Any, undecided: Any, table: Any, padded: Any, value: int, shift: int, offsets: Any) -> int:
    """Component of largest area; on ties the one whose first pixel comes last, which OpenCV lists first."""
    best, best_area, best_first = -1, -1, -1
    leader, leader_area = -1, -1
    num_undecided = 0
    for i in range(len(candidates)):
        component = candidates[i]
        row = table[component]
        area = max(row[_AREA], row[_WALKED])
        if row[_EULER] == 1 or row[_WALKED_SIZE] == row[_SIZE] or area == _ceiling(row, shift):
            if area > best_area or (area == best_area and row[_FIRST] > best_first):
                best, best_area, best_first = component, area, row[_FIRST]
        else:
            undecided[num_undecided] = component
            num_undecided += 1
            if area > leader_area:
                leader, leader_area = component, area
    if leader < 0:
        return best
    bar = max(best_area, leader_area)
    rivals = 0
    for i in range(num_undecided):
        component = undecided[i]
        if _ceiling(table[component], shift) >= bar:
            undecided[rivals] = component
            rivals += 1
    if rivals == 1 and leader_area > best_area:
        return leader
    for i in range(-1, rivals):
        # The leader goes first: its true area spares most of the others the walk.
        component = leader if i < 0 else undecided[i]
        row = table[component]
        if _ceiling(row, shift) < best_area or (i >= 0 and component == leader):
            continue
        area = _walk(row, padded, value, shift, offsets)
        if area > best_area or (area == best_area and row[_FIRST] > best_first):
            best, best_area, best_first = component, area, row[_FIRST]
    return best


@inlined
def _ceiling(row: Any, shift: int) -> Any:
    return min(row[_CEILING], 2 * (row[_X1] - row[_X0]) * (row[_Y1] - (row[_FIRST] >> shift)))


@kernel
def _walk(row: Any, padded: Any, value: int, shift: int, offsets: Any) -> int:
    """Doubled area enclosed by the outer border of a component of ``{q >= value}``, by the shoelace formula."""
    start = np.uint64(row[_FIRST])
    first = 0
    while first < 8 and padded[start + offsets[first]] < value:
        first += 1
    area = 0
    if first < 8:
        p, step = start, first
        x = y = 0
        while True:
            area += x * _DY[step] - y * _DX[step]
            x += _DX[step]
            y += _DY[step]
            p += offsets[step]
            step = (step + 5) & 7
            while padded[p + offsets[step]] < value:
                step = (step + 1) & 7
            if p == start and step == first:
                break
    row[_WALKED] = row[_CEILING] = abs(area)
    row[_WALKED_SIZE] = row[_SIZE]
    return abs(area)
