"""Galleries and explorer of the report, from the records of the chosen models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.scores import CLS, GT
from wsol_bench.judge.scoring import taus_of
from wsol_bench.judge.selection import selection_level
from wsol_bench.records.run_record import RunRecord, read_record
from wsol_bench.report.explorer import Model, explored, models_of
from wsol_bench.report.gallery import LISTS, Gallery, GalleryImage, gallery_of
from wsol_bench.workflow.report_images import Picture, write_picture
from wsol_bench.workflow.selection_tables import Study


@dataclass(frozen=True)
class Galleries:
    """What the page shows of images.

    Attributes:
        views: one per method, for the template.
        explorer: what the scripts compute with.
    """

    views: list[dict[str, Any]]
    explorer: dict[str, Any]


def sources_of(study: Study) -> list[dict[str, Any]]:
    """Returns name, place among the sources with boxes (their colour), and key of every source."""
    keys = study.judged.judgements[0].scores[0].ledger_keys
    boxed = [name for name in study.judged.sources if name != CLS]
    return [
        {
            "name": name,
            "boxes": name != CLS,
            "index": boxed.index(name) % 6 if name in boxed else 0,
            "key": keys.get(name, "class labels"),
        }
        for name in study.judged.sources
    ]


def galleries_of(study: Study, folder: Path, count: int) -> Galleries:
    """Chooses images for every method, writes their files, and collects the curves behind them.

    Args:
        study: what was judged.
        folder: of the report.
        count: images per list.

    Raises:
        RecordError: a record is damaged.
        DataError: an image cannot be read.
    """
    return _Maker(study, folder, count).made()


class _Maker:
    def __init__(self, study: Study, folder: Path, count: int) -> None:
        self._study = study
        self._folder = folder
        self._count = count
        self._colours = {source["name"]: source["index"] for source in sources_of(study)}
        self._places = {
            split: {image_id: place for place, image_id in enumerate(study.dataset.split(split).ids)}
            for split in ("val", "test")
        }
        self._pictures: dict[tuple[str, str], Picture] = {}

    def made(self) -> Galleries:
        protocol = self._study.judged.protocol
        views: list[dict[str, Any]] = []
        models: list[dict[str, Any]] = []
        embedded: list[dict[str, Any]] = []
        for judgement in self._study.judged.judgements:
            chosen = models_of(judgement, protocol)
            records = self._records(judgement, chosen[0], with_maps=True)
            gallery = gallery_of(
                judgement, chosen[0], records, self._study.judged.boxes.val, self._manual(records), self._count
            )
            images = {name: self._image(image, records, len(views)) for name, image in gallery.images.items()}
            embedded.append(
                {
                    "method": judgement.method,
                    "model": len(models),
                    "tau": gallery.tau,
                    "images": {name: _embedded(view) for name, view in images.items()},
                }
            )
            views.append(_view(gallery, images, len(views)))
            shown = {name: (image.split, image.place) for name, image in gallery.images.items()}
            for model in chosen:
                own = records if model is chosen[0] else self._records(judgement, model)
                models.append(explored(judgement, model, own, self._study.judged.boxes, protocol, shown))
        explorer = {
            "frame": self._study.dataset.frame,
            "taus": taus_of(protocol).tolist(),
            "levels": list(protocol.iou_thresholds),
            "selectionLevel": selection_level(protocol),
            "sources": [{"name": name, "index": index} for name, index in self._colours.items()],
            "galleries": embedded,
            "models": models,
        }
        return Galleries(views, explorer)

    def _records(self, judgement: Judgement, model: Model, *, with_maps: bool = False) -> dict[str, RunRecord]:
        run = judgement.runs[model.run]
        return {split: read_record(run.path(split, model.epoch), with_maps=with_maps) for split in ("val", "test")}

    def _manual(self, records: Mapping[str, RunRecord]) -> dict[str, BoxSet]:
        boxes = self._study.judged.boxes
        found = {"test": boxes.test.select(records["test"].ids)}
        if GT in boxes.val:
            found["val"] = boxes.val[GT]
        elif self._study.dataset.has_ground_truth("val"):
            with firewall.judging("the gallery of the report"):
                found["val"] = self._study.dataset.ground_truth("val").select(records["val"].ids)
        return found

    def _image(self, image: GalleryImage, records: Mapping[str, RunRecord], gallery: int) -> dict[str, Any]:
        maps = records[image.split].maps
        key = (image.name, "" if maps is None else str(gallery))
        if key not in self._pictures:
            place = self._places[image.split][image.image_id]
            name = image.name if maps is None else f"{image.name}-{gallery}"
            heat = None if maps is None else maps[image.place]
            self._pictures[key] = write_picture(self._study.dataset, image.split, place, name, self._folder, heat)
        picture = self._pictures[key]
        names = self._study.dataset.class_names
        word = "" if image.iou is None else f"IoU {image.iou:.2f}"
        caption = word if image.dispute is None else f"disagreement {image.dispute:.2f}"
        boxes = [
            {
                "kind": one.kind,
                "index": self._colours.get(one.source, 0),
                "box": list(one.box),
                "x": one.box[0],
                "y": one.box[1],
                "width": one.box[2] - one.box[0] + 1,
                "height": one.box[3] - one.box[1] + 1,
            }
            for one in image.boxes
        ]
        return {
            "name": image.name,
            "split": image.split,
            "file": picture.file,
            "heat": picture.heat,
            "width": picture.width,
            "height": picture.height,
            "sharp": max(picture.width, picture.height) <= 128,
            "image_id": image.image_id,
            "class_name": names[image.label],
            "predicted": "no class" if image.predicted_class is None else names[image.predicted_class],
            "caption": caption,
            "alt": f"{image.split} image of {names[image.label]} with its boxes" + (f", {word}" if word else ""),
            "boxes": boxes,
        }


def _view(gallery: Gallery, images: Mapping[str, dict[str, Any]], index: int) -> dict[str, Any]:
    return {
        "index": index,
        "method": gallery.model.method,
        "label": gallery.model.label,
        "epoch": gallery.model.epoch,
        "threshold": gallery.threshold,
        "lists": [
            {"title": LISTS[name], "images": [images[one] for one in names]} for name, names in gallery.lists.items()
        ],
    }


def _embedded(view: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the scripts need of an image."""
    kept = {name: view[name] for name in ("name", "split", "file", "heat", "width", "height", "alt", "predicted")}
    boxes = [{name: box[name] for name in ("kind", "index", "box")} for box in view["boxes"]]
    return {**kept, "id": view["image_id"], "class": view["class_name"], "boxes": boxes}
