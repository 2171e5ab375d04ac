"""Draws how an annotator came to its boxes: ``wsol-bench annotate show``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotators.base import AnnotatedImage
from wsol_bench.annotators.card import read_card
from wsol_bench.annotators.store import read_annotated
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.contact_sheet import contact_sheet, heated
from wsol_bench.datasets.images import squash
from wsol_bench.maps.normalise import score_maps
from wsol_bench.metrics.iou import best_iou
from wsol_bench.workflow.sheet import check_suffix, save_sheet, spread_rows

MOST_PROPOSALS, MOST_SURVIVORS = 24, 8
"""Boxes drawn of one image: proposals evenly out of its pool, survivors by score. More would hide the picture."""

Boxes = NDArray[np.int32]


def write_annotation_sheet(
    dataset: Dataset, split: str, folder: Path, count: int, out: Path, *, ground_truth: bool = True, columns: int = 6
) -> int:
    """Writes a sheet of images spread evenly over a split, each with the steps that led to its box.

    Annotators with a funnel show some of their proposals, the peak of the class map, the survivors of the pointing game
    and the final box; annotators that threshold a map show the map and the box.

    Args:
        dataset: where the images come from.
        split: ``train``, ``val`` or ``test``.
        folder: the set of boxes, ``<pseudo_root>/<dataset>/<annotator>/<split>``, made on this machine.
        count: images on the sheet; all of the split where it has fewer.
        out: the picture, ``.png`` or ``.jpg``.
        ground_truth: also draw the manual boxes and say the IoU, read as a judge reads them.
        columns: images in a row.

    Returns:
        The number of images drawn.

    Raises:
        UsageError: ``count`` is not positive, or ``out`` has another suffix.
        DataError: the set or its steps are missing, or an image cannot be read.
    """
    check_suffix(out)
    frame = read_card(folder).recipe.frame
    shown = _shown(folder, count)
    position = {image_id: row for row, image_id in enumerate(dataset.split(split).ids)}
    rows = [position[one.image_id] for one in shown]
    boxes: dict[str, list[Boxes]] = {"final": [one.box[None][one.box.any(keepdims=True)] for one in shown]}
    points = {}
    if shown[0].funnel is not None:
        boxes = {"proposals": [_some(one) for one in shown], "survivors": [_survivors(one) for one in shown], **boxes}
        points = {"peak": [one.funnel.peak if one.funnel is not None else None for one in shown]}
    if ground_truth:
        boxes["gt"] = _manual(dataset, split, [one.image_id for one in shown], frame)
    sheet = contact_sheet(
        [_picture(dataset, split, row, one, frame) for row, one in zip(rows, shown, strict=True)],
        boxes,
        [_caption(dataset, split, row, one, boxes, i) for i, (row, one) in enumerate(zip(rows, shown, strict=True))],
        points=points,
        thin=("proposals", "survivors"),
        columns=columns,
        cell=224,
    )
    save_sheet(sheet, out)
    return len(shown)


def _shown(folder: Path, count: int) -> list[AnnotatedImage]:
    images = read_card(folder).recipe.images
    wanted = set(spread_rows(images, count))
    return [one for row, one in enumerate(read_annotated(folder)) if row in wanted]


def _some(image: AnnotatedImage) -> Boxes:
    pool = image.funnel.boxes if image.funnel is not None else np.zeros((0, 4), np.int32)
    some: Boxes = pool[spread_rows(len(pool), MOST_PROPOSALS)] if len(pool) else pool
    return some


def _survivors(image: AnnotatedImage) -> Boxes:
    if image.funnel is None:
        return np.zeros((0, 4), np.int32)
    survivors = np.flatnonzero(image.funnel.survivors)
    best = np.argsort(-image.funnel.scores[survivors], kind="stable")[:MOST_SURVIVORS]
    return image.funnel.boxes[survivors[best]]


def _manual(dataset: Dataset, split: str, ids: Sequence[str], frame: int) -> list[Boxes]:
    with firewall.judging("annotate show"):
        truth = dataset.ground_truth(split).select(ids)
    in_frame = truth.in_frame(frame, frame)
    return [in_frame[truth.offsets[i] : truth.offsets[i + 1]] for i in range(len(ids))]


def _picture(dataset: Dataset, split: str, row: int, image: AnnotatedImage, frame: int) -> NDArray[np.uint8]:
    pixels = squash(dataset.load_image(split, row), frame)
    return pixels if image.map is None else heated(pixels, score_maps(image.map[None], frame)[0])


def _caption(
    dataset: Dataset, split: str, row: int, image: AnnotatedImage, boxes: dict[str, list[Boxes]], index: int
) -> str:
    parts = []
    if "gt" in boxes and len(boxes["gt"][index]):
        parts.append(f"IoU {100 * best_iou(image.box[None], boxes['gt'][index])[0]:.0f}")
    if image.fallback != "none":
        parts.append(image.fallback.value.replace("_", " "))
    parts.append(dataset.class_names[dataset.split(split).labels[row]])
    return ", ".join(parts)
