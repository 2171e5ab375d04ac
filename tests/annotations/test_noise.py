from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import read_four_file
from wsol_bench.annotations.noise import LEVELS, noisy_boxes
from wsol_bench.errors import DataError, UsageError

# Spec of the pseudo-boxes, section 8: seed 0, validation images of CUB, original pixels.
MEAN_IOU = (89.9, 81.1, 73.4, 66.7, 60.7, 55.5, 50.7, 46.4, 42.5, 38.9)
SHARE_AT_HALF = (100, 100, 100, 98.7, 86.2, 67.3, 45.7, 34.1, 25.0, 18.5)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(float), b.astype(float)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + 1
    inside = np.clip(sides, 0, None).prod(axis=1)
    areas = [(box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (a, b)]
    return inside / (areas[0] + areas[1] - inside)


@pytest.fixture(scope="module")
def cub(metadata_root: Path) -> BoxSet:
    boxes = read_four_file(metadata_root / "CUB" / "val", kind="boxes").boxes
    assert boxes is not None and len(boxes) == 1000
    return boxes


@pytest.fixture
def several() -> BoxSet:
    return BoxSet.from_mapping(
        {"a.jpg": [(10, 10, 59, 39), (10, 10, 59, 39)], "none.jpg": [], "b.jpg": [(0, 0, 99, 79)]},
        {"a.jpg": (100, 80), "none.jpg": (1, 1), "b.jpg": (100, 80)},
    )


def test_quality_per_level_is_the_published_one(cub: BoxSet) -> None:
    found = np.array([_iou(cub.boxes, noisy_boxes(cub, level).boxes) for level in LEVELS])
    assert np.round(100 * found.mean(axis=1), 3) == pytest.approx(MEAN_IOU, abs=0.0501)
    assert 100 * (found >= 0.5).mean(axis=1) == pytest.approx(SHARE_AT_HALF, abs=0.051)


def test_damage_grows_with_the_level(cub: BoxSet) -> None:
    found = np.array([_iou(cub.boxes, noisy_boxes(cub, level).boxes) for level in LEVELS])
    rises = np.diff(found, axis=0)
    # A change of aspect ratio that sets in at a level may undo a part of the shift, and so may rounding.
    assert (rises > 0).mean() < 0.005 and rises.max() < 0.1
    assert (np.diff(found.mean(axis=1)) < 0).all()


def test_follows_the_rule_word_for_word(several: BoxSet) -> None:
    import hashlib

    level = 0.4
    noisy = noisy_boxes(several, level, seed=7)
    for index, image_id in enumerate(several.ids):
        for k, (clean, got) in enumerate(zip(several.of(index).tolist(), noisy.of(index).tolist(), strict=True)):
            digest = hashlib.sha256(f"7|{image_id}|{k}".encode()).digest()
            u = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little"))).random(8)
            assert got == _one_box(clean, several.sizes[index].tolist(), u, level)


def _one_box(box: list[int], size: list[int], u: np.ndarray, level: float) -> list[int]:
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    scale = 1 + (2 * u[0] - 1) * level
    width, height = width * scale, height * scale
    x = (box[0] + box[2]) / 2 + (1 if u[1] < 0.5 else -1) * u[2] * level * width
    y = (box[1] + box[3]) / 2 + (1 if u[3] < 0.5 else -1) * u[4] * level * height
    if u[5] < level:
        ratio = 1 + (2 * u[6] - 1) * level
        width, height = width * ratio**0.5, height / ratio**0.5
    corners = []
    for centre, extent, side in ((x, width, size[0]), (y, height, size[1])):
        low = min(max(round(centre - (extent - 1) / 2), 0), side - 2)
        high = min(max(round(centre + (extent - 1) / 2), 1), side - 1)
        corners.append((low, max(high, low + 1)))
    return [corners[0][0], corners[1][0], corners[0][1], corners[1][1]]


def test_neither_order_nor_company_matters(cub: BoxSet) -> None:
    backwards = noisy_boxes(cub.select(cub.ids[::-1]), 0.3)
    alone = noisy_boxes(cub.select(cub.ids[17:18]), 0.3)
    whole = noisy_boxes(cub, 0.3)
    assert np.array_equal(backwards.select(cub.ids).boxes, whole.boxes)
    assert np.array_equal(alone.boxes, whole.of(17))


def test_every_box_of_an_image_is_disturbed_on_its_own(several: BoxSet) -> None:
    noisy = noisy_boxes(several, 0.3)
    assert noisy.ids == several.ids and noisy.offsets.tolist() == [0, 2, 2, 3]
    first, second = noisy.of(0).tolist()
    assert first != second and [10, 10, 59, 39] not in (first, second)
    assert noisy.boxes.dtype == np.int32


def test_seeds_differ(several: BoxSet) -> None:
    assert np.array_equal(noisy_boxes(several, 0.3, 1).boxes, noisy_boxes(several, 0.3, 1).boxes)
    assert not np.array_equal(noisy_boxes(several, 0.3, 1).boxes, noisy_boxes(several, 0.3, 2).boxes)


@pytest.mark.parametrize("level", LEVELS)
def test_tiny_boxes_stay_boxes_inside_the_image(level: float) -> None:
    corners = [(x, y, x, y) for x in (0, 1, 9) for y in (0, 1, 9)]
    ids = [f"{i}.jpg" for i in range(40)]
    boxes = BoxSet.from_mapping(dict.fromkeys(ids, corners), dict.fromkeys(ids, (10, 10)))
    noisy = noisy_boxes(boxes, level).boxes
    assert noisy.min() >= 0 and noisy.max() <= 9
    assert (noisy[:, 2:] - noisy[:, :2] >= 1).all()


@pytest.mark.parametrize("level", [0.0, -0.1, 0.51, 25, float("nan")])
def test_levels_out_of_range(several: BoxSet, level: float) -> None:
    with pytest.raises(UsageError, match=r"noise level above 0 and up to 0.5 but got .*; 25 % is 0.25"):
        noisy_boxes(several, level)


def test_images_without_room() -> None:
    boxes = BoxSet.from_mapping({"line.jpg": [(0, 0, 0, 5)]}, {"line.jpg": (1, 9)})
    with pytest.raises(DataError, match=r"at least 2 x 2 pixels.*'line.jpg'"):
        noisy_boxes(boxes, 0.1)


def test_no_boxes_at_all() -> None:
    assert noisy_boxes(BoxSet.from_mapping({"a.jpg": []}, {"a.jpg": (5, 5)}), 0.1).boxes.shape == (0, 4)
