"""Scores from records equal the slow, obvious computation from the maps."""

from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.errors import DataError, RecordError
from wsol_bench.judge.scoring import RecordedRun, ScoringBoxes, score_run, taus_of
from wsol_bench.maps.oracle import oracle_largest
from wsol_bench.maps.otsu import otsu_cuts
from wsol_bench.metrics.iou import best_iou
from wsol_bench.protocol import load_protocol


@pytest.fixture(params=["levels", 0.1])
def protocol(request):
    return load_protocol("realistic").model_copy(update={"tau_grid": request.param})


def slow_ious(maps, boxes, taus):
    frame = maps.shape[1]
    truth = boxes.in_frame(frame, frame)
    table = np.zeros((len(maps), len(taus)))
    for i, one in enumerate(maps):
        per_cut = oracle_largest(one)
        cuts = [int(tau * one.max()) for tau in taus]
        table[i] = best_iou(per_cut[cuts], truth[boxes.offsets[i] : boxes.offsets[i + 1]])
    return table


def test_scores_equal_the_slow_way(study, protocol):
    runs, maps, val, test = study
    scores = score_run(runs[0], ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test), protocol)
    taus = taus_of(protocol)
    assert scores.num_test == 30
    for epoch in range(3):
        for split, boxes, curves in (("val", val, scores.val["ss"]), ("test", test, scores.test)):
            record, pixels = maps["cam/0", split, epoch]
            ious = slow_ious(pixels, boxes, taus)
            right = (record.top5[:, 0] == record.labels)[:, None]
            for level, threshold in enumerate(protocol.iou_thresholds):
                np.testing.assert_allclose(curves.box_acc[epoch, level], 100 * (ious >= threshold).mean(axis=0))
                hits = 100 * ((ious >= threshold) & right).mean(axis=0)
                np.testing.assert_allclose(curves.top1_loc[epoch, level], hits, atol=1e-9)
            np.testing.assert_allclose(curves.mean_iou[epoch], 100 * ious.mean(axis=0), atol=1e-9)
            top1 = scores.val_top1 if split == "val" else scores.test_top1
            assert top1[epoch] == pytest.approx(100 * right.mean())


def test_otsu_scores_use_each_maps_own_cut(study, protocol):
    runs, maps, val, test = study
    scores = score_run(runs[1], ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test), protocol)
    truth = test.in_frame(24, 24)
    for epoch in range(3):
        _, pixels = maps["cam/1", "test", epoch]
        boxes = [oracle_largest(one)[cut] for one, cut in zip(pixels, otsu_cuts(pixels), strict=True)]
        ious = [best_iou(box[None], truth[test.offsets[i] : test.offsets[i + 1]])[0] for i, box in enumerate(boxes)]
        assert scores.otsu.mean_iou[epoch, 0] == pytest.approx(100 * np.mean(ious))


def test_missing_and_damaged_records_are_named(study, protocol):
    runs, _, val, test = study
    boxes = ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test)
    with pytest.raises(RecordError, match=r"val-003\.parquet.*does not exist"):
        score_run(RecordedRun("cam/0", runs[0].folder, (0, 1, 2, 3)), boxes, protocol)
    damaged = runs[0].folder / "records" / "test-001.parquet"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(RecordError, match=r"test-001\.parquet.*damaged"):
        score_run(runs[0], boxes, protocol)


def test_an_image_without_a_box_is_an_error(study, protocol):
    runs, _, val, test = study
    with pytest.raises(DataError, match="have none"):
        score_run(runs[0], ScoringBoxes({"ss": val.select(val.ids[:-1])}, {"ss": "pseudo:ss"}, test), protocol)
