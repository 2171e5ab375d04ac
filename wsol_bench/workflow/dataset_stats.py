"""How large the objects of a dataset are and where they lie: ``wsol-bench datasets stats``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.masks import MaskSet
from wsol_bench.datasets.base import SPLITS, Dataset
from wsol_bench.errors import DataError
from wsol_bench.metrics.iou import box_iou
from wsol_bench.report.dataset_figure import IOU_LEVELS, MaskSplitFigure, SplitFigure, dataset_figure, mask_figure
from wsol_bench.workflow.mask_stats import mask_stats

SIDES = np.linspace(0.02, 1.0, 50)
"""Sides of the centre boxes that are tried, relative to the frame."""


@dataclass(frozen=True, eq=False)
class BoxStats:
    """Boxes of one split, in shares of their image.

    Attributes:
        areas: ``[M]`` share of the image that each box covers, in (0, 1].
        centres: ``[M, 2]`` centre of each box, x and y in [0, 1].
        centre_acc: ``[L, S]`` percent of images that a centred box of each of S sides localizes, at L IoU levels.
    """

    areas: NDArray[np.float64]
    centres: NDArray[np.float64]
    centre_acc: NDArray[np.float64]


def dataset_stats(dataset: Dataset, figure: Path | None) -> list[dict[str, Any]]:
    """Describes the manual boxes or masks of each split, and what a guess in the centre scores against them.

    The best centre box is chosen on the very images it is scored on: the most that can be had without looking.

    Args:
        dataset: which dataset. Ground truth is read as a judge reads it.
        figure: picture to write, or None.

    Returns:
        One row per split with annotations: ``split``; ``images``; ``boxes`` or ``masks``; ``mean_area``, ``area_p10``,
        ``area_p50`` and ``area_p90``, in percent of the image; ``off_centre``, mean distance of their centres from the
        image centre in percent of the half diagonal. With boxes: ``whole_frame``, box accuracy of the whole frame at
        IoU 0.5 in percent; ``centre_box`` and ``centre_side``, accuracy and side (percent of the frame) of the best
        centre box. With masks: ``one_value`` and ``centre_map``, PxAP of a map with one value everywhere and of a map
        that falls from the centre to the corners.

    Raises:
        DataError: no split has boxes or masks, or a mask cannot be read.
    """
    rows: list[dict[str, Any]] = []
    boxes: list[SplitFigure] = []
    masks: list[MaskSplitFigure] = []
    for name in SPLITS:
        try:
            dataset.split(name)
        except DataError:
            continue
        with firewall.judging("datasets stats"):
            if dataset.has_masks(name):
                row, mask = _mask_row(name, dataset.ground_truth_masks(name), dataset.frame)
                masks.append(mask)
            elif dataset.has_ground_truth(name):
                row, box = _box_row(name, dataset.ground_truth(name), dataset.frame)
                boxes.append(box)
            else:
                continue
        rows.append(row)
    if not rows:
        raise DataError(
            f"Expected a split of {dataset.name} with manual boxes or masks but there is none; fix: statistics need "
            "them.",
            dataset.root,
        )
    if figure is not None and masks:
        mask_figure(dataset.name, masks, figure)
    elif figure is not None:
        dataset_figure(dataset.name, boxes, figure)
    return rows


def _box_row(name: str, truth: BoxSet, frame: int) -> tuple[dict[str, Any], SplitFigure]:
    stats = box_stats(truth, frame)
    at_half = stats.centre_acc[IOU_LEVELS.index(0.5)]
    best = int(at_half.argmax())
    row = {"split": name, "images": len(truth), "boxes": len(truth.boxes)} | _spread(stats.areas, stats.centres)
    row |= {
        "whole_frame": float(at_half[-1]),
        "centre_box": float(at_half[best]),
        "centre_side": 100.0 * float(SIDES[best]),
    }
    return row, SplitFigure(name, stats.areas, stats.centres, SIDES, stats.centre_acc)


def _mask_row(name: str, truth: MaskSet, frame: int) -> tuple[dict[str, Any], MaskSplitFigure]:
    stats = mask_stats(truth, frame)
    scored = stats.centre_map
    row = {"split": name, "images": len(truth), "masks": int(truth.counts.sum())}
    row |= _spread(stats.areas, stats.centres) | {"one_value": stats.prevalence, "centre_map": scored.px_ap}
    return row, MaskSplitFigure(name, stats.areas, stats.mean_mask, scored.recall, scored.precision, stats.prevalence)


def _spread(areas: NDArray[np.float64], centres: NDArray[np.float64]) -> dict[str, Any]:
    p10, p50, p90 = np.percentile(areas, (10, 50, 90))
    return {
        "mean_area": 100.0 * float(areas.mean()),
        "area_p10": 100.0 * float(p10),
        "area_p50": 100.0 * float(p50),
        "area_p90": 100.0 * float(p90),
        "off_centre": 100.0 * float(np.hypot(*(2.0 * centres - 1.0).T).mean() / np.sqrt(2.0)),
    }


def box_stats(truth: BoxSet, frame: int) -> BoxStats:
    """Measures boxes relative to their images, and scores centre boxes in the square frame.

    Args:
        truth: at least one box for every image.
        frame: side of the frame in pixels.
    """
    sizes = np.repeat(truth.sizes.astype(np.float64), np.diff(truth.offsets), axis=0)
    corners = truth.boxes.astype(np.float64)
    sides = (corners[:, 2:] - corners[:, :2] + 1.0) / sizes
    centres = (corners[:, :2] + corners[:, 2:] + 1.0) / 2.0 / sizes
    in_frame = truth.in_frame(frame, frame)
    accuracy = np.empty((len(IOU_LEVELS), len(SIDES)))
    for column, side in enumerate(SIDES):
        ious = np.maximum.reduceat(box_iou(centred_box(frame, float(side)), in_frame), truth.offsets[:-1])
        for level, threshold in enumerate(IOU_LEVELS):
            accuracy[level, column] = 100.0 * float((ious >= threshold).mean())
    return BoxStats(sides.prod(axis=1), centres, accuracy)


def centred_box(frame: int, side: float) -> NDArray[np.int64]:
    """Returns the centred square whose side is a share of the frame, ``[4]``, at least one pixel."""
    margin = min(round((1.0 - side) / 2.0 * frame), (frame - 1) // 2)
    return np.array([margin, margin, frame - 1 - margin, frame - 1 - margin])
