from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.errors import DataError, UsageError
from wsol_bench.metrics.pointing import PointingGame, hits_on_boxes

BOX = [[10, 20, 30, 40]]


@pytest.mark.parametrize(
    ("peak", "hit"), [((10, 20), True), ((30, 40), True), ((31, 40), False), ((9, 20), False), ((-1, -1), False)]
)
def test_corners_are_inside(peak: tuple[int, int], hit: bool):
    assert hits_on_boxes([peak], BOX, [0, 1]).tolist() == [hit]


def test_any_box_of_the_own_image_counts():
    boxes = [[0, 0, 5, 5], [50, 50, 60, 60], [0, 0, 5, 5]]
    assert hits_on_boxes([[55, 55], [55, 55]], boxes, [0, 2, 3]).tolist() == [True, False]


def test_tolerance_is_a_distance_in_pixels():
    peaks = [[33, 44], [34, 44], [30, 45], [-1, -1]]
    assert hits_on_boxes(peaks, BOX * 4, [0, 1, 2, 3, 4], tolerance=5).tolist() == [True, False, True, False]


def test_masks_exclude_ignored_peaks():
    masks = np.zeros((4, 8, 8), np.uint8)
    masks[:, 2, 3] = 1
    masks[:, 0, 0] = 255
    game = PointingGame()
    hits = game.update_masks([[3, 2], [2, 3], [0, 0], [-1, -1]], masks)
    assert hits.tolist() == [True, False, False, False]
    assert (game.hits, game.misses, game.excluded) == (1, 2, 1)
    assert game.compute() == pytest.approx(100 / 3)


def test_mask_tolerance_equals_searching_the_whole_mask():
    rng = np.random.default_rng(0)
    masks = (rng.random((40, 12, 15)) < 0.03).astype(np.uint8)
    peaks = np.stack([rng.integers(0, 15, 40), rng.integers(0, 12, 40)], axis=1)
    for tolerance in (0, 1, 1.5, 3, 30):
        hits = PointingGame(tolerance).update_masks(peaks, masks)
        for hit, (x, y), mask in zip(hits, peaks, masks, strict=True):
            rows, columns = np.nonzero(mask)
            distances = np.hypot(rows - y, columns - x)
            assert hit == bool((distances <= tolerance).any())


def test_merge_of_shards_equals_the_whole():
    peaks, boxes, offsets = [[10, 20], [0, 0], [30, 41]], BOX * 3, [0, 1, 2, 3]
    whole, merged = PointingGame(1), PointingGame(1)
    whole.update_boxes(peaks, boxes, offsets)
    for i in (2, 0, 1):
        shard = PointingGame(1)
        shard.update_boxes(peaks[i : i + 1], BOX, [0, 1])
        merged.merge(shard)
    assert whole.compute() == merged.compute() == pytest.approx(200 / 3)


def test_wrong_use_is_refused():
    with pytest.raises(UsageError, match="tolerance"):
        PointingGame(-1)
    with pytest.raises(DataError, match="none was counted"):
        PointingGame().compute()
    with pytest.raises(DataError, match="tolerance"):
        PointingGame(1).merge(PointingGame(2))
    with pytest.raises(DataError, match="inside masks of 8x6"):
        PointingGame().update_masks([[8, 0]], np.zeros((1, 6, 8), np.uint8))
    with pytest.raises(DataError, match="Expected masks"):
        PointingGame().update_masks([[8, 0]], np.zeros((6, 8), np.uint8))
    with pytest.raises(DataError, match="integer peaks"):
        hits_on_boxes([[0.5, 1.0]], BOX, [0, 1])
