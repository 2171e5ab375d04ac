"""The gallery of the report: which images of a model are shown, with which boxes.

Four lists per method, for the model of the headline (see :func:`~wsol_bench.report.explorer.models_of`):

* ``spread``: test images at even distances, chosen by nothing; a picture of the whole;
* ``best`` and ``worst``: test images with the highest and lowest IoU of the predicted box, at the threshold that the
  model's source froze, with the manual box;
* ``disputed``: validation images on whose object the sources disagree most. Disagreement is 1 minus the mean IoU of
  all pairs of boxes of the pseudo-sources; manual boxes and their disturbed copies take part only where there are
  fewer than two pseudo-sources.

Ties keep the order of the split.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.scores import GT
from wsol_bench.judge.selection import Decision
from wsol_bench.metrics.iou import box_iou
from wsol_bench.records.run_record import NO_CLASS, RunRecord
from wsol_bench.report.explorer import Model, boxes_at

Kind = Literal["manual", "source", "predicted"]

LISTS: Final = {
    "spread": "Evenly spread over the test images, chosen by nothing",
    "best": "Best: test images with the highest IoU at the frozen threshold",
    "worst": "Worst: test images with the lowest IoU at the frozen threshold",
    "disputed": "Most disputed: validation images on which the sources agree least",
}


@dataclass(frozen=True)
class DrawnBox:
    """One box over an image.

    Attributes:
        kind: a manual box, the box of a source, or the one predicted.
        source: name of the source, empty for the other kinds.
        box: ``x0, y0, x1, y1`` in the frame, inclusive corners.
    """

    kind: Kind
    source: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class GalleryImage:
    """One image with its boxes.

    Attributes:
        name: ``test-12``: split and place in the record.
        split: ``val`` or ``test``.
        place: index in the record.
        image_id: as the dataset calls it.
        label: class index.
        predicted_class: index of the first class of the model, or None.
        iou: of the predicted box with the manual boxes, in [0, 1]; None where there are no manual boxes.
        boxes: what is drawn.
        dispute: disagreement of the sources in [0, 1], for validation images.
    """

    name: str
    split: str
    place: int
    image_id: str
    label: int
    predicted_class: int | None
    iou: float | None
    boxes: tuple[DrawnBox, ...]
    dispute: float | None = None


@dataclass(frozen=True)
class Gallery:
    """The images of one model.

    Attributes:
        model: the run and epoch.
        tau: where its maps were cut; None for Otsu's threshold of each image.
        threshold: the same in words: ``tau 0.24, frozen by ss``.
        lists: names of images by list.
        images: by name.
    """

    model: Model
    tau: float | None
    threshold: str
    lists: Mapping[str, tuple[str, ...]]
    images: Mapping[str, GalleryImage]


def gallery_of(
    judgement: Judgement,
    model: Model,
    records: Mapping[str, RunRecord],
    val: Mapping[str, BoxSet],
    manual: Mapping[str, BoxSet],
    count: int,
) -> Gallery:
    """Chooses images and collects their boxes.

    Args:
        judgement: of the model's method.
        model: the run and epoch.
        records: its records of ``val`` and ``test``.
        val: validation boxes by source.
        manual: manual boxes by split; ``val`` may be missing.
        count: images per list.
    """
    cell = _threshold_cell(judgement, model)
    predicted = {split: _predicted(record, cell) for split, record in records.items()}
    truth = {split: _framed(boxes, records[split]) for split, boxes in manual.items()}
    ious = {split: _best(predicted[split], truth[split]) for split in truth}
    test = ious["test"]
    orders = {
        "spread": np.unique(np.linspace(0, len(test) - 1, min(count, len(test))).round().astype(np.int64)),
        "best": np.argsort(-test, kind="stable")[:count],
        "worst": np.argsort(test, kind="stable")[:count],
    }
    lists = {name: tuple(f"test-{place}" for place in order) for name, order in orders.items()}
    dispute = disagreement(_disputing(judgement, val), records["val"])
    if dispute is not None:
        lists["disputed"] = tuple(f"val-{place}" for place in np.argsort(-dispute, kind="stable")[:count])
    images: dict[str, GalleryImage] = {}
    for name in itertools.chain.from_iterable(lists.values()):
        if name in images:
            continue
        split, _, digits = name.partition("-")
        place, record = int(digits), records[split]
        drawn = [DrawnBox("manual", "", box) for box in (truth[split][place] if split in truth else ())]
        if split == "val":
            for source, boxes in val.items():
                if source != GT:
                    drawn += [DrawnBox("source", source, box) for box in _framed(boxes, record, [place])[0]]
        drawn.append(DrawnBox("predicted", "", _corners(predicted[split][place])))
        top = int(record.top5[place, 0])
        images[name] = GalleryImage(
            name=name,
            split=split,
            place=place,
            image_id=record.ids[place],
            label=int(record.labels[place]),
            predicted_class=None if top == NO_CLASS else top,
            iou=float(ious[split][place]) if split in ious else None,
            boxes=tuple(one for one in drawn if any(one.box)),
            dispute=None if split == "test" or dispute is None else float(dispute[place]),
        )
    return Gallery(model, None if cell is None else cell.taus[0], _said(cell), lists, images)


def disagreement(sources: Mapping[str, BoxSet], record: RunRecord) -> NDArray[np.float64] | None:
    """Returns ``[N]``: 1 minus the mean IoU of all pairs of sources; None with fewer than two sources.

    Of several boxes of one image, the pair that agrees best counts.
    """
    if len(sources) < 2:
        return None
    boxes = [_framed(one, record) for one in sources.values()]
    pairs = [
        [max(float(box_iou(a, b)) for a in first for b in second) for first, second in zip(one, other, strict=True)]
        for one, other in itertools.combinations(boxes, 2)
    ]
    dispute: NDArray[np.float64] = 1.0 - np.mean(pairs, axis=0)
    return dispute


def _disputing(judgement: Judgement, val: Mapping[str, BoxSet]) -> Mapping[str, BoxSet]:
    keys = judgement.scores[0].ledger_keys
    pseudo = {name: boxes for name, boxes in val.items() if keys[name].partition(":")[0] != "gt"}
    return pseudo if len(pseudo) >= 2 else val


def _threshold_cell(judgement: Judgement, model: Model) -> Decision | None:
    for label in ("BV-VT", "BV-TT"):
        cell = judgement.find(model.sources[0], label, "max_box_acc")
        if cell is not None and cell[0].epoch == model.epoch and cell[0].run == model.run:
            # A source without validation threshold has Otsu's, before one that the test set gave.
            if label == "BV-TT" and judgement.find(model.sources[0], "BV-OT", "max_box_acc") is not None:
                return None
            return cell[0]
    return None


def _predicted(record: RunRecord, cell: Decision | None) -> NDArray[np.int16]:
    return record.otsu_boxes if cell is None else boxes_at(record, cell.taus[0])


def _said(cell: Decision | None) -> str:
    if cell is None:
        return "Otsu's threshold of each image"
    origin = f"frozen by {cell.source}" if cell.threshold == "VT" else "the best of the test set"
    return f"tau {cell.taus[0]:.3f}, {origin}"


def _framed(
    boxes: BoxSet, record: RunRecord, places: Sequence[int] | None = None
) -> list[list[tuple[int, int, int, int]]]:
    """Returns all boxes of each image of a record, or of some, in its frame."""
    ids = record.ids if places is None else [record.ids[place] for place in places]
    chosen = boxes.select(ids)
    scaled = chosen.in_frame(record.frame, record.frame)
    return [[_corners(box) for box in scaled[start:end]] for start, end in itertools.pairwise(chosen.offsets.tolist())]


def _best(predicted: NDArray[np.int16], truth: Sequence[Sequence[tuple[int, int, int, int]]]) -> NDArray[np.float64]:
    return np.asarray([box_iou(box, list(known)).max() for box, known in zip(predicted, truth, strict=True)])


def _corners(box: NDArray[np.int16] | NDArray[np.int32]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (int(corner) for corner in box)
    return x0, y0, x1, y1
