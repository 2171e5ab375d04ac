"""Scores from records equal the slow, obvious computation from the maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsol_bench.errors import DataError, RecordError
from wsol_bench.judge.scoring import RecordedRun, Scorer, ScoringBoxes, UnreadableTestError, score_run, taus_of
from wsol_bench.maps.oracle import oracle_largest
from wsol_bench.maps.otsu import otsu_cuts
from wsol_bench.metrics.iou import best_iou
from wsol_bench.protocol import TauGrids, load_protocol
from wsol_bench.records.run_record import write_record


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
    for epoch in range(3):
        record, pixels = maps["cam/0", "val", epoch]
        ious = slow_ious(pixels, val, taus)
        found = scores.val["ss"]
        for level, threshold in enumerate(protocol.iou_thresholds):
            accuracy = 100 * (ious >= threshold).mean(axis=0)
            assert found.box_acc[epoch, level] == pytest.approx(accuracy.max())
            assert found.box_acc_tau[epoch, level] == accuracy.argmax()
        assert found.mean_iou[epoch] == pytest.approx(100 * ious.mean(axis=0).max())
        assert found.mean_iou_tau[epoch] == ious.mean(axis=0).round(12).argmax()
        assert scores.val_top1[epoch] == pytest.approx(100 * record.top1_hits.mean())
        record, pixels = maps["cam/0", "test", epoch]
        ious = slow_ious(pixels, test, taus)
        right = record.top1_hits[:, None]
        one = scores.test[epoch]
        assert one.n == 30
        assert one.top1 == pytest.approx(100 * right.mean())
        for level, threshold in enumerate(protocol.iou_thresholds):
            np.testing.assert_allclose(one.curves.box_acc[level], 100 * (ious >= threshold).mean(axis=0))
            hits = 100 * ((ious >= threshold) & right).mean(axis=0)
            np.testing.assert_allclose(one.curves.top1_loc[level], hits, atol=1e-9)
        np.testing.assert_allclose(one.curves.mean_iou, 100 * ious.mean(axis=0), atol=1e-9)


def test_otsu_scores_use_each_maps_own_cut(study, protocol):
    runs, maps, val, test = study
    scores = score_run(runs[1], ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test), protocol)
    truth = test.in_frame(24, 24)
    for epoch in range(3):
        _, pixels = maps["cam/1", "test", epoch]
        boxes = [oracle_largest(one)[cut] for one, cut in zip(pixels, otsu_cuts(pixels), strict=True)]
        ious = [best_iou(box[None], truth[test.offsets[i] : test.offsets[i + 1]])[0] for i, box in enumerate(boxes)]
        assert scores.test[epoch].otsu.mean_iou[0] == pytest.approx(100 * np.mean(ious))


def test_test_records_are_read_for_the_epochs_that_are_asked_for(study, protocol, monkeypatch):
    runs, _, val, test = study
    read = []
    original = RecordedRun.record
    monkeypatch.setattr(RecordedRun, "record", lambda run, *at: read.append(at) or original(run, *at))
    scores = score_run(runs[0], ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test), protocol)
    assert [split for split, _ in read] == ["val"] * 3
    assert scores.test[1].n == scores.test[1].n == 30
    assert read[3:] == [("test", 1)]


def test_threads_change_nothing(study, protocol):
    runs, _, val, test = study
    boxes = ScoringBoxes({"gt": val, "ss": val}, {"gt": "gt", "ss": "pseudo:ss"}, test)
    one, several = (Scorer(boxes, protocol, threads).score(runs) for threads in (1, 4))
    for a, b in zip(one, several, strict=True):
        np.testing.assert_array_equal(a.val["ss"].box_acc, b.val["ss"].box_acc)
        np.testing.assert_array_equal(a.test[2].curves.box_acc, b.test[2].curves.box_acc)


def _damage(path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def test_all_records_that_cannot_be_used_are_named(study, protocol):
    runs, _, val, test = study
    boxes = ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test)
    with pytest.raises(RecordError, match=r"val-003\.parquet.*does not exist"):
        score_run(RecordedRun("cam/0", runs[0].folder, (0, 1, 2, 3)), boxes, protocol)
    _damage(runs[0].path("val", 1))
    runs[1].path("test", 2).unlink()
    with pytest.raises(RecordError, match=r"2 records.*val-001\.parquet.*damaged.*test-002.*--allow-missing"):
        Scorer(boxes, protocol).score(runs)


def test_what_is_whole_can_be_scored_when_told_to(study, protocol):
    runs, _, val, test = study
    boxes = ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test)
    whole = score_run(runs[0], boxes, protocol)
    _damage(runs[0].path("val", 1))
    for epoch in runs[1].epochs:
        _damage(runs[1].path("val", epoch))
    dropped: list[str] = []
    first, second = Scorer(boxes, protocol).score(runs, dropped)
    assert second is None
    assert len(dropped) == 4
    assert first.epochs == (0, 2)
    np.testing.assert_array_equal(first.val["ss"].box_acc, whole.val["ss"].box_acc[[0, 2]])
    np.testing.assert_array_equal(first.test[1].curves.box_acc, whole.test[2].curves.box_acc)
    again = whole.without(1)
    np.testing.assert_array_equal(again.val["ss"].mean_iou_tau, first.val["ss"].mean_iou_tau)
    assert again.test[1] is whole.test[2]
    assert first.without(0).without(2) is None


def test_a_damaged_test_record_says_whose_it_is(study, protocol):
    runs, _, val, test = study
    _damage(runs[0].path("test", 1))
    scores = score_run(runs[0], ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test), protocol)
    with pytest.raises(UnreadableTestError, match="damaged") as caught:
        _ = scores.test[1]
    assert (caught.value.run.label, caught.value.epoch) == ("cam/0", 1)


@pytest.mark.parametrize("split", ["val", "test"])
def test_runs_over_different_images_do_not_compete(study, protocol, split):
    runs, maps, val, test = study
    for epoch in runs[1].epochs:
        record = maps["cam/1", split, epoch][0]
        write_record(runs[1].path(split, epoch), replace(record, ids=(*record.ids[1:], record.ids[0])), {})
    with pytest.raises(RecordError, match=f"the same {split} images"):
        scorer = Scorer(ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test), protocol)
        for scores in scorer.score(runs):
            _ = scores.test[0]


def test_epochs_over_different_images_are_an_error(study, protocol):
    runs, maps, val, test = study
    record = maps["cam/0", "val", 2][0]
    write_record(runs[0].path("val", 2), replace(record, ids=(*record.ids[1:], record.ids[0])), {})
    with pytest.raises(RecordError, match=r"val-002\.parquet.*other epochs"):
        score_run(runs[0], ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test), protocol)


def test_the_grids_of_the_reference_code(study):
    """250 thresholds on validation, 1,000 on test; every one of the former is among the latter."""
    runs, _, val, test = study
    protocol = load_protocol("realistic").model_copy(update={"tau_grid": TauGrids(val=0.004, test=0.001)})
    scores = score_run(runs[0], ScoringBoxes({"ss": val}, {"ss": "pseudo:ss"}, test), protocol)
    assert (len(scores.val_taus), len(scores.taus)) == (250, 1000)
    frozen = np.array([scores.taus[scores.test_tau_index(index)] for index in range(250)])
    np.testing.assert_allclose(frozen, scores.val_taus, atol=1e-12)


def test_an_image_without_a_box_is_an_error(study, protocol):
    runs, _, val, test = study
    with pytest.raises(DataError, match="have none"):
        score_run(runs[0], ScoringBoxes({"ss": val.select(val.ids[:-1])}, {"ss": "pseudo:ss"}, test), protocol)
