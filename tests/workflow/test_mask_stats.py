from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from wsol_bench.annotations.masks import FOREGROUND, IGNORE, MaskSet
from wsol_bench.errors import DataError
from wsol_bench.workflow.mask_stats import centred_map, mask_stats

RNG = np.random.default_rng(0)


class _Given(MaskSet):
    """Masks that are arrays already."""

    def __init__(self, masks: NDArray[np.uint8]) -> None:
        self._masks = masks
        self.ids = tuple(map(str, range(len(masks))))
        self.counts = np.array([int((mask == FOREGROUND).any()) for mask in masks])
        self.has_ignore = np.array([bool((mask == IGNORE).any()) for mask in masks])

    def draw(self, index: int, width: int, height: int) -> NDArray[np.uint8]:
        return self._masks[index]


def test_areas_centres_and_mean() -> None:
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[0, 0:4, 4:8] = FOREGROUND
    masks[1, 6:8, 0:2] = FOREGROUND
    masks[1, 0:4] = IGNORE
    stats = mask_stats(_Given(masks), 8)
    assert stats.areas == pytest.approx([0.25, 4 / 64])  # The third has no object.
    assert stats.centres == pytest.approx(np.array([[0.75, 0.25], [0.125, 0.875]]))
    assert stats.mean_mask[0, 7] == 0.5 and stats.mean_mask[7, 0] == pytest.approx(1 / 3)
    assert stats.prevalence == pytest.approx(100 * 20 / (3 * 64 - 32))


def test_the_centre_map_is_scored_like_any_map() -> None:
    masks = RNG.choice(np.array([0, FOREGROUND, IGNORE], np.uint8), (5, 16, 16), p=(0.6, 0.3, 0.1))
    stats = mask_stats(_Given(masks), 16)
    kept = masks != IGNORE
    # The reference ranks all scores; ours falls into steps of 0.001, so the scores are put on these steps.
    stepped = np.floor(np.broadcast_to(centred_map(16), masks.shape) * 1000) / 1000
    expected = average_precision_score(masks[kept] == FOREGROUND, stepped[kept])
    assert stats.centre_map.px_ap == pytest.approx(100 * expected, abs=1e-6)


@pytest.mark.parametrize("frame", [1, 2, 7, 224])
def test_the_centre_map_falls_to_the_corners(frame: int) -> None:
    fixed = centred_map(frame)
    assert fixed.shape == (frame, frame) and fixed.min() >= 0 and fixed.max() <= 1
    assert np.array_equal(fixed, fixed.T) and np.allclose(fixed, fixed[::-1])
    if frame > 2:
        assert fixed[0, 0] == 0 and fixed[frame // 2, frame // 2] == fixed.max()


def test_no_object_at_all() -> None:
    with pytest.raises(DataError, match="object pixels"):
        mask_stats(_Given(np.zeros((2, 8, 8), np.uint8)), 8)
