from __future__ import annotations

import cv2
import numpy as np
import pytest

from wsol_bench.maps._neighbours import STEPS, arc_tables, area_gains, euler_gains


def patch(state: int, *, centre: bool) -> np.ndarray:
    """5x5 pixels with the given neighbours of the middle one."""
    pixels = np.zeros((5, 5), np.uint8)
    for bit, (dx, dy) in enumerate(STEPS):
        pixels[2 + dy, 2 + dx] = state >> bit & 1
    pixels[2, 2] = centre
    return pixels


def components(pixels: np.ndarray, connectivity: int) -> int:
    return cv2.connectedComponents(pixels, connectivity=connectivity)[0] - 1


def pieces_minus_holes(pixels: np.ndarray) -> int:
    return components(pixels, 8) - (components(1 - pixels, 4) - 1)


def doubled_area(pixels: np.ndarray) -> int:
    blocks = pixels[:-1, :-1] + pixels[1:, :-1] + pixels[:-1, 1:] + pixels[1:, 1:]
    return int(np.count_nonzero(blocks == 3) + 2 * np.count_nonzero(blocks == 4))


@pytest.mark.parametrize("state", range(256))
def test_gains(state: int) -> None:
    before, after = patch(state, centre=False), patch(state, centre=True)
    assert euler_gains()[state] == pieces_minus_holes(after) - pieces_minus_holes(before)
    assert area_gains()[state] == doubled_area(after) - doubled_area(before)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_arcs_are_the_local_pieces_that_touch_the_pixel(connectivity: int) -> None:
    counts, members = arc_tables(connectivity)
    touching = range(0, 8, 2) if connectivity == 4 else range(8)
    for state in range(256):
        _, labels = cv2.connectedComponents(patch(state, centre=False)[1:4, 1:4].copy(), connectivity=connectivity)
        around = [int(labels[1 + dy, 1 + dx]) for dx, dy in STEPS]
        expected = {around[k] for k in touching} - {0}
        found = [around[k] for k in members[state, : counts[state]]]
        assert counts[state] == len(expected)
        assert set(found) == expected
