"""Masks select by PxAP; eroded and made-up masks do so with a known error."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from wsol_bench.errors import RecordError, UsageError
from wsol_bench.judge.mask_selection import MaskSet, eroded, masks_of_maps, select_by_masks
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.maps.normalise import score_maps
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.px_ap import PixelAveragePrecision
from wsol_bench.protocol import load_protocol
from wsol_bench.records.run_record import read_record, write_record

FRAME = 24
PROTOCOL = load_protocol("realistic")


@pytest.fixture
def masked(study):
    """Two runs of three epochs with maps; run 1 is noisier, and epoch 1 is the best of both."""
    runs, maps, _, _ = study
    rng = np.random.default_rng(0)
    sets = {}
    for split, count in (("val", 20), ("test", 30)):
        masks = np.zeros((count, FRAME, FRAME), dtype=np.uint8)
        for mask, (x, y) in zip(masks, rng.integers(2, 10, (count, 2)), strict=True):
            mask[y : y + 10, x : x + 10] = 1
        ids = maps["cam/0", split, 0][0].ids
        sets[split] = MaskSet(ids, masks, "gt")
        for number, run in enumerate(runs):
            for epoch in run.epochs:
                noise = (0.5 + number) * (1 + 2 * abs(epoch - 1))
                soft = np.stack([cv2.GaussianBlur(one.astype(np.float64), (0, 0), 1.5) for one in masks])
                soft = soft + noise * rng.random(soft.shape)
                low, high = soft.min(axis=(1, 2), keepdims=True), soft.max(axis=(1, 2), keepdims=True)
                record = replace(
                    maps[run.label, split, epoch][0], maps=((soft - low) / (high - low)).astype(np.float16)
                )
                write_record(run.path(split, epoch), record, {})
    return runs, sets["val"], sets["test"]


def test_the_epoch_and_the_run_with_the_best_px_ap_win(masked):
    runs, val, test = masked
    choices = select_by_masks(runs, {"exact": val}, test, PROTOCOL, exact=val, replicates=30)
    assert [(one.selection, one.run, one.epoch) for one in choices] == [("BT", "cam/0", 1), ("BV", "cam/0", 1)]
    record = read_record(runs[0].path("test", 1), with_maps=True)
    meter = PixelAveragePrecision(tau_grid(0.001))
    meter.update(score_maps(record.maps.astype(np.float64), FRAME), test.masks)
    assert choices[1].px_ap == pytest.approx(meter.compute().px_ap)
    assert choices[1].interval.low <= choices[1].px_ap <= choices[1].interval.high
    assert [one.supervision for one in choices] == ["gt:test+gt:val", "gt:val"]
    assert (choices[1].mask_error, choices[1].n, choices[1].realistic) == (0.0, 30, False)


def test_eroded_masks_are_known_to_be_wrong_and_made_of_ground_truth(masked):
    runs, val, test = masked
    sources = {f"{level}": eroded(val, level) for level in (20, 80)}
    assert [int(one.masks[0].sum()) for one in sources.values()] == [80, 20]
    choices = select_by_masks(runs, sources, test, PROTOCOL, exact=val, replicates=5)
    errors = {one.source: one.mask_error for one in choices}
    assert errors == pytest.approx({"20": 10.0, "80": 40.0})
    assert all("gt:erode:" in one.supervision and not one.realistic for one in choices)


def test_ignored_pixels_stay_ignored(masked):
    _, val, _ = masked
    masks = val.masks.copy()
    masks[:, 0, :] = 255
    assert (eroded(MaskSet(val.ids, masks, "gt"), 50).masks[:, 0] == 255).all()


def test_masks_made_of_maps_select_without_ground_truth(masked):
    runs, val, test = masked
    pseudo = masks_of_maps(read_record(runs[1].path("val", 1), with_maps=True), "other")
    assert 0 < pseudo.masks.mean() < 1
    choices = select_by_masks(runs, {"maps": pseudo}, test, PROTOCOL, exact=val, replicates=5)
    best_on_validation = next(one for one in choices if one.selection == "BV")
    assert best_on_validation.supervision == "pseudo:maps:other"
    assert best_on_validation.realistic
    assert 0 < best_on_validation.mask_error < 50


def test_a_constant_map_gives_an_empty_mask(masked):
    runs, _, _ = masked
    record = read_record(runs[0].path("val", 0), with_maps=True)
    flat = replace(record, maps=np.zeros_like(record.maps))
    assert not masks_of_maps(flat, "flat").masks.any()


def test_what_is_missing_is_said(masked, study):
    runs, val, test = masked
    with pytest.raises(RecordError, match="at least one"):
        select_by_masks([], {"exact": val}, test, PROTOCOL)
    with pytest.raises(UsageError, match="have none, first 'val/19"):
        select_by_masks(runs, {"exact": MaskSet(val.ids[:-1], val.masks[:-1], "gt")}, test, PROTOCOL)
    write_record(runs[0].path("val", 0), replace(study[1]["cam/0", "val", 0][0], maps=None), {})
    with pytest.raises(UsageError, match="--keep-maps"):
        select_by_masks(runs, {"exact": val}, test, PROTOCOL)
    with pytest.raises(RecordError, match="does not exist"):
        select_by_masks([RecordedRun("x", runs[0].folder, (9,))], {"exact": val}, test, PROTOCOL)
