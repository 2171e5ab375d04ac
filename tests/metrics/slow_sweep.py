"""Sweeps made the slow way, so that metrics are tested without the fast sweep."""

from __future__ import annotations

import numpy as np

from wsol_bench.maps.curves import NUM_CUTS, BoxCurves, ContourSets
from wsol_bench.maps.oracle import oracle_all, oracle_largest


class SlowSweep:
    """Maps, their boxes at every cut by OpenCV, and random ground truth."""

    def __init__(self, seed: int, count: int, *, side: int = 16, most_boxes: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.ids = tuple(f"image_{seed}_{i}" for i in range(count))
        self.q = np.stack([_random_map(rng, side) for _ in range(count)])
        self.gt: list[np.ndarray] = [
            _random_boxes(rng, side, int(rng.integers(1, most_boxes + 1))) for _ in range(count)
        ]
        self.gt_boxes = np.concatenate(self.gt)
        self.gt_offsets = np.concatenate([[0], np.cumsum([len(boxes) for boxes in self.gt])])

    def largest(self) -> BoxCurves:
        return BoxCurves.concatenate([curve_of(oracle_largest(q), int(q.max())) for q in self.q])

    def contours(self) -> ContourSets:
        return ContourSets.concatenate([_contours_of(q) for q in self.q])


def curve_of(boxes_per_cut: np.ndarray, max_level: int) -> BoxCurves:
    starts = [0] + [cut for cut in range(1, NUM_CUTS) if (boxes_per_cut[cut] != boxes_per_cut[cut - 1]).any()]
    return BoxCurves(
        np.array([max_level], np.uint8),
        np.array(starts, np.uint8),
        boxes_per_cut[starts],
        np.array([0, len(starts)]),
    )


def _contours_of(q: np.ndarray) -> ContourSets:
    boxes, cuts = [], []
    for cut, alive in enumerate(oracle_all(q)):
        boxes.extend(alive)
        cuts.extend([cut] * len(alive))
    lives = np.array(cuts, np.uint8)
    return ContourSets(np.array([q.max()], np.uint8), np.array(boxes, np.int16), lives, lives, np.array([0, len(cuts)]))


def _random_map(rng: np.random.Generator, side: int) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:
        return np.zeros((side, side), np.uint8)
    if kind == 1:
        return rng.integers(0, rng.integers(2, 256), (side, side)).astype(np.uint8)
    coarse = rng.random((4, 4))
    smooth = np.kron(coarse, np.ones((side // 4, side // 4)))
    return (smooth * rng.integers(1, 256)).astype(np.uint8)


def _random_boxes(rng: np.random.Generator, side: int, count: int) -> np.ndarray:
    corners = np.sort(rng.integers(0, side, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(np.int64)
