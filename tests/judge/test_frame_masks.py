"""Masks in the frame: exact, eroded before they are resized, and made of maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsol_bench.annotations.masks import MaskArrays
from wsol_bench.errors import RecordError, UsageError
from wsol_bench.judge.frame_masks import MapsOrigin, eroded_masks, error_of, exact_masks, masks_of_maps
from wsol_bench.records.run_record import has_maps, read_record, write_record

SIDE = 24
IDS = ("a", "b", "c")
SIZES = np.full((3, 2), SIDE, dtype=np.int32)


@pytest.fixture
def masks() -> MaskArrays:
    drawn = np.zeros((3, SIDE, SIDE), dtype=np.uint8)
    drawn[:2, 4:14, 4:14] = 1
    drawn[1, 0] = 255
    return MaskArrays(IDS, drawn)


def test_exact_masks_come_in_the_order_that_was_asked_for(masks):
    exact = exact_masks(masks, ("b", "a"), SIDE)
    assert (exact.ids, exact.key) == (("b", "a"), "gt")
    assert exact.masks[0, 0, 0] == 255
    assert exact.masks[1, 0, 0] == 0
    assert (exact.of(("a",))[0] == exact.masks[1]).all()
    with pytest.raises(UsageError, match="1 have none, first 'd'"):
        exact_masks(masks, ("a", "d"), SIDE)


def test_hashes_follow_the_pixels(masks):
    one, same, other = (exact_masks(masks, ids, SIDE) for ids in (IDS, IDS, ("b", "a", "c")))
    assert one.digest == same.digest != other.digest


def test_eroded_masks_lose_the_share_that_was_asked_for(masks):
    exact = exact_masks(masks, IDS, SIDE)
    twenty, eighty = eroded_masks(masks, IDS, SIZES, SIDE, [20, 80])
    assert [int((one.masks[0] == 1).sum()) for one in (twenty, eighty)] == [80, 20]
    assert [one.key for one in (twenty, eighty)] == ["gt:erode:20", "gt:erode:80"]
    assert (twenty.masks[1, 0] == 255).all()
    assert not twenty.masks[2].any()
    assert [error_of(exact, one) for one in (twenty, eighty)] == pytest.approx([10.0, 40.0])


def test_erosion_comes_before_the_resize(masks):
    (large,) = eroded_masks(masks, ("a",), SIZES[:1], SIDE, [36])
    (small,) = eroded_masks(masks, ("a",), SIZES[:1], SIDE // 2, [36])
    assert (large.masks[0, 5:13, 5:13] == 1).all()
    assert int(large.masks.sum()) == 64
    # Nearest neighbour halves the 8 x 8 pixels that are left, whose first ones lie at odd places.
    assert (small.masks[0] == large.masks[0, ::2, ::2]).all()


def test_maps_become_masks_above_their_own_otsu_threshold(study):
    runs, maps, _, _ = study
    record, pixels = maps["cam/0", "val", 0]
    flat = (pixels / 255).astype(np.float16)
    flat[3] = 0
    with pytest.raises(RecordError, match="expected a record with maps"):
        masks_of_maps(MapsOrigin(runs[0], 0), "cam")
    assert not has_maps(runs[0].path("val", 0))
    write_record(runs[0].path("val", 0), replace(record, maps=flat), {})
    assert has_maps(runs[0].path("val", 0))
    made = masks_of_maps(MapsOrigin(runs[0], 0), "cam")
    assert (made.ids, made.key) == (record.ids, "pseudo:maps:cam")
    assert not made.masks[3].any()
    assert made.masks[[0, 1, 2]].any(axis=(1, 2)).all()


def test_images_of_background_classes_have_empty_masks(study):
    runs, maps, _, _ = study
    record, pixels = maps["cam/0", "val", 0]
    write_record(runs[0].path("val", 0), replace(record, maps=(pixels / 255).astype(np.float16)), {})
    normal = int(record.labels[0])
    made = masks_of_maps(MapsOrigin(runs[0], 0), "cam", [normal])
    assert (made.masks.any(axis=(1, 2)) == (read_record(runs[0].path("val", 0)).labels != normal)).all()


def test_a_record_that_is_no_record_is_an_error(tmp_path):
    with pytest.raises(RecordError, match="does not exist"):
        has_maps(tmp_path / "val-000.parquet")
    (tmp_path / "val-000.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordError, match="damaged"):
        has_maps(tmp_path / "val-000.parquet")
