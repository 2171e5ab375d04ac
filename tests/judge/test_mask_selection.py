"""Masks select by PxAP; eroded and made-up masks do so with a known error."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from wsol_bench.errors import DataError, RecordError, UsageError
from wsol_bench.judge.frame_masks import FrameMasks, MapsOrigin, error_of, masks_of_maps
from wsol_bench.judge.judgement import gap_between, rows_of
from wsol_bench.judge.mask_scoring import ScoringMasks
from wsol_bench.judge.mask_selection import chosen_by_labels, judge_masks
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
        sets[split] = FrameMasks(ids, masks, "gt")
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


def judged(runs, val, test, sources=None, **options):
    return judge_masks("cam", runs, ScoringMasks(val, test), sources or list(val), PROTOCOL, replicates=30, **options)


def test_the_epoch_and_the_run_with_the_best_px_ap_win(masked):
    runs, val, test = masked
    found = judged(runs, {"exact": val}, test)
    chosen = [(one.selection, found.runs[one.run].label, one.epoch) for one in found.decisions]
    assert chosen == [("BT", "cam/0", 1), ("BV", "cam/0", 1)]
    record = read_record(runs[0].path("test", 1), with_maps=True)
    meter = PixelAveragePrecision(tau_grid(0.001))
    meter.update(score_maps(record.maps.astype(np.float64), FRAME), test.masks)
    assert found.decisions[1].value == pytest.approx(meter.compute().px_ap)
    assert found.interval(1).low <= found.decisions[1].value <= found.interval(1).high
    assert [one.supervision for one in found.decisions] == ["gt:test+gt:val", "gt:val"]
    assert [one.label for one in found.decisions] == ["BT", "BV"]
    assert (found.num_images, found.decisions[1].realistic) == (30, False)


def test_class_labels_choose_by_classification(masked):
    runs, val, test = masked
    found = judged(runs, {"exact": val}, test, ["cls"])
    top1 = np.array([[read_record(run.path("val", epoch)).top1_hits.mean() for epoch in run.epochs] for run in runs])
    run = int(top1.max(axis=1).argmax())
    best = found.decisions[1]
    assert (best.selection, best.run, best.epoch) == ("BV", run, int(top1[run].argmax()))
    assert (best.supervision, best.realistic, best.note) == ("none", True, "")
    assert (found.decisions[0].supervision, found.decisions[0].realistic) == ("labels:test", False)
    epochs = top1.argmax(axis=1)
    test_top1 = [
        read_record(run.path("test", int(epoch))).top1_hits.mean() for run, epoch in zip(runs, epochs, strict=True)
    ]
    assert found.decisions[0].run == int(np.argmax(test_top1))
    origin = chosen_by_labels(runs, PROTOCOL)
    assert (origin.run.label, origin.epoch) == (runs[run].label, best.epoch)


def test_rows_say_that_there_is_no_threshold(masked):
    runs, val, test = masked
    found = judged(runs, {"gt": val}, test, ["cls", "gt"])
    rows = rows_of(found, PROTOCOL, "glas", "1")
    assert [(row.val_boxes, row.policy) for row in rows] == [("cls", "BT"), ("cls", "BV"), ("gt", "BT"), ("gt", "BV")]
    row = rows[3]
    assert (row.metric, row.tau_from, row.tau, row.iou_threshold, row.evaluator) == ("px_ap", "none", "", "", "px@1")
    assert (row.val_boxes_hash, row.test_boxes_hash, rows[0].val_boxes_hash) == (val.digest, test.digest, "")
    assert len(row.test_boxes_hash) == 12 and val.digest != test.digest
    gap = gap_between(found, "cls", "BV", "BT", "px_ap")
    assert gap.difference == pytest.approx(rows[2].value - rows[1].value)
    assert gap_between(found, "gt", "BV", "BT", "px_ap") is None


def test_masks_made_of_maps_select_without_ground_truth(masked):
    runs, val, test = masked
    origin = MapsOrigin(runs[1], 1)
    pseudo = masks_of_maps(origin, "other")
    assert 0 < pseudo.masks.mean() < 1
    assert 0 < error_of(val, pseudo) < 50
    best = judged(runs, {"maps:other": pseudo}, test).decisions[1]
    assert (best.selection, best.supervision, best.realistic) == ("BV", "pseudo:maps:other", True)
    assert best.note == "made of this method's own maps (cam/1, epoch 1), which they favour"
    elsewhere = replace(pseudo, origin=MapsOrigin(RecordedRun("inception/0", runs[0].folder.parent, (0,)), 0))
    assert judged(runs, {"maps:other": elsewhere}, test).decisions[1].note == ""


def test_what_is_missing_is_said(masked, study):
    runs, val, test = masked
    with pytest.raises(RecordError, match="to select from but there is none"):
        judged([], {"exact": val}, test)
    with pytest.raises(UsageError, match="have none, first 'val/19"):
        judged(runs, {"exact": FrameMasks(val.ids[:-1], val.masks[:-1], "gt")}, test)
    with pytest.raises(DataError, match="object pixels"):
        judged(runs, {"exact": FrameMasks(val.ids, np.zeros_like(val.masks), "gt")}, test)
    with pytest.raises(RecordError, match=r"cam/9 are not; .*--allow-missing"):
        judged(runs, {"exact": val}, test, absent=["cam/9"])
    with pytest.raises(RecordError, match="does not exist"):
        judged([RecordedRun("x", runs[0].folder, (9,))], {"exact": val}, test)
    write_record(runs[0].path("val", 1), replace(study[1]["cam/0", "val", 1][0], maps=None), {})
    with pytest.raises(RecordError, match=r"val-001.parquet: expected a record with maps.*--keep-maps"):
        judged(runs, {"exact": val}, test)


def test_what_is_missing_is_left_out_on_demand(masked, study):
    runs, val, test = masked
    whole = judged(runs, {"exact": val}, test)
    write_record(runs[0].path("val", 0), replace(study[1]["cam/0", "val", 0][0], maps=None), {})
    runs[0].path("test", 1).write_bytes(b"")
    found = judged(runs, {"exact": val}, test, allow_missing=True, absent=["cam/9"])
    assert (whole.decisions[1].run, whole.decisions[1].epoch) == (0, 1)
    assert found.runs[0].epochs == (2,)
    assert found.missing == "1 of 3 runs; 2 epochs"
    best = [one.val["exact"].max() for one in found.scores]
    assert found.decisions[1].run == int(np.argmax(best))
    assert found.decisions[1].epoch in found.runs[found.decisions[1].run].epochs
    with pytest.raises(RecordError, match="expected a record with maps"):
        judged(runs[:1], {"exact": val}, test)
