"""Which images of a model are shown: the lists keep their definitions, recomputed here the slow way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from invented_study import hostile_study

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.metrics.iou import box_iou
from wsol_bench.records.run_record import RunRecord
from wsol_bench.report.explorer import boxes_at, headline_order, models_of
from wsol_bench.report.gallery import Gallery, disagreement, gallery_of
from wsol_bench.workflow.selection_tables import Study

SOURCES = ("ss<i>&", "rpn';--")


def framed(boxes: BoxSet, record: RunRecord) -> list[np.ndarray]:
    chosen = boxes.select(record.ids)
    return np.split(chosen.in_frame(record.frame, record.frame), chosen.offsets[1:-1])


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return hostile_study(tmp_path_factory.mktemp("hostile"), maps=False)


def shown(study: Study, count: int) -> tuple[Gallery, dict[str, RunRecord]]:
    judgement, boxes = study.judged.judgements[0], study.judged.boxes
    model = models_of(judgement, study.judged.protocol)[0]
    records = {split: judgement.runs[model.run].record(split, model.epoch) for split in ("val", "test")}
    manual = {"val": boxes.val["gt"], "test": boxes.test}
    return gallery_of(judgement, model, records, boxes.val, manual, count), records


def test_the_headline_model_is_that_of_the_first_source_without_ground_truth(study) -> None:
    judgement, protocol = study.judged.judgements[0], study.judged.protocol
    first, second = SOURCES
    assert headline_order(judgement) == [first, second, "cls", "gt"]
    models = models_of(judgement, protocol)
    cell, _ = judgement.find(SOURCES[0], "BV-VT", "max_box_acc")
    assert (models[0].run, models[0].epoch) == (cell.run, cell.epoch)
    assert sorted(itertools.chain.from_iterable(model.sources for model in models)) == sorted(study.judged.sources)
    assert len({(model.run, model.epoch) for model in models}) == len(models)


def test_best_and_worst_are_those_of_the_frozen_threshold(study) -> None:
    judgement, boxes = study.judged.judgements[0], study.judged.boxes
    gallery, records = shown(study, 5)
    cell, _ = judgement.find(SOURCES[0], "BV-VT", "max_box_acc")
    assert gallery.tau == cell.taus[0]
    predicted = boxes_at(records["test"], gallery.tau)
    truth = framed(boxes.test, records["test"])
    ious = [max(float(box_iou(box, one)) for one in known) for box, known in zip(predicted, truth, strict=True)]
    assert 100 * np.mean(np.asarray(ious) >= 0.5) == pytest.approx(cell.value)
    best, worst = ([gallery.images[name].iou for name in gallery.lists[kind]] for kind in ("best", "worst"))
    assert best == sorted(ious, reverse=True)[:5]
    assert worst == sorted(ious)[:5]
    assert [int(name.split("-")[1]) for name in gallery.lists["spread"]] == [0, 4, 7, 10, 14]
    image = gallery.images[gallery.lists["best"][0]]
    assert tuple(predicted[image.place]) in [one.box for one in image.boxes if one.kind == "predicted"]
    assert image.image_id == records["test"].ids[image.place]


def test_disputed_images_carry_the_boxes_of_their_sources(study) -> None:
    boxes = study.judged.boxes
    gallery, records = shown(study, 4)
    dispute = disagreement({name: boxes.val[name] for name in SOURCES}, records["val"])
    found = [gallery.images[name] for name in gallery.lists["disputed"]]
    assert [one.dispute for one in found] == sorted(dispute, reverse=True)[:4]
    assert all({box.source for box in one.boxes if box.kind == "source"} <= set(SOURCES) for one in found)


def test_no_more_images_than_there_are(study) -> None:
    gallery, records = shown(study, 1000)
    assert {len(names) for names in gallery.lists.values()} == {len(records["test"]), len(records["val"])}
