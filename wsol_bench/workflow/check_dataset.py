"""Reads a dataset once from end to end and says what is in it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.datasets.base import SPLITS, Dataset, Split
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.errors import DataError
from wsol_bench.workflow.progress import Screen

Row = dict[str, Any]

_SHOWN = 20
_THREADS = 4
_BLOCK = 256


def check(dataset: Dataset, *, screen: Screen) -> list[Row]:
    """Decodes every image, reads labels and manual boxes, and counts; all problems are collected.

    Ground truth is read as a judge reads it, and noted in any ledger that is open.

    Args:
        dataset: what to check.
        screen: progress.

    Returns:
        One row per split that is there: ``split``; ``images``; ``classes`` that occur; ``unreadable`` images;
        ``boxes``; ``several_boxes``, the number of images with more than one; ``mean_area``, the mean share of the
        image that a box covers, in percent (None without boxes); ``full_boxes``, boxes that cover the whole image;
        ``thin_boxes``, one pixel wide or high; ``boxes_usable``, whether the manual boxes could be read; ``problems``,
        a list of sentences.
    """
    rows = []
    for name in SPLITS:
        try:
            split = dataset.split(name)
        except DataError:
            continue
        rows.append(_check_split(dataset, split, screen))
    if not rows:
        raise DataError(
            f"Expected at least one of the splits {', '.join(SPLITS)} of '{dataset.name}' but none is there."
        )
    return rows


def is_sound(rows: Sequence[Row], on_bad_image: OnBadImage = "error") -> bool:
    """Tells whether a dataset can be used: its images can be read, and the boxes that a judge needs are there.

    Args:
        rows: what :func:`check` returned.
        on_bad_image: with ``skip``, unreadable images do no harm as long as others are left.
    """
    bad_images = any(row["unreadable"] > (0 if on_bad_image == "error" else row["images"] - 1) for row in rows)
    return not bad_images and all(row["boxes_usable"] for row in rows if row["split"] != "train")


def _check_split(dataset: Dataset, split: Split, screen: Screen) -> Row:
    problems = []
    absent = sorted(set(range(dataset.num_classes)) - set(split.labels.tolist()))
    if absent:
        names = ", ".join(dataset.class_names[label] for label in absent[:3])
        problems.append(f"{len(absent)} of {dataset.num_classes} classes have no image, first {names}")
    with screen.bar(f"reading {split.name} of {dataset.name}") as progress:
        unreadable = _unreadable(dataset, split, progress)
    problems += [str(error) for error in unreadable[:_SHOWN]]
    if len(unreadable) > _SHOWN:
        problems.append(f"{len(unreadable) - _SHOWN} more images cannot be read")
    try:
        with firewall.judging("datasets check"):
            boxes = _box_facts(dataset.ground_truth(split.name))
    except DataError as error:
        boxes = _NO_BOXES
        needed = "no manual boxes, which training does not need" if split.name == "train" else "no usable manual boxes"
        problems.append(f"{needed}: {error}")
    return {
        "split": split.name,
        "images": len(split),
        "classes": len(np.unique(split.labels)),
        "unreadable": len(unreadable),
        **boxes,
        "problems": problems,
    }


def _unreadable(dataset: Dataset, split: Split, progress: Callable[[int, int], None]) -> list[DataError]:
    """Decodes all images of a split and returns what went wrong, in the order of the split."""

    def problem_of(index: int) -> DataError | None:
        try:
            dataset.load_image(split.name, index)
        except DataError as error:
            return error
        return None

    found: list[DataError] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(split), _BLOCK):
            block = range(start, min(start + _BLOCK, len(split)))
            found += filter(None, pool.map(problem_of, block))
            progress(block.stop, len(split))
    return found


_NO_BOXES: Row = {
    "boxes": 0,
    "several_boxes": 0,
    "mean_area": None,
    "full_boxes": 0,
    "thin_boxes": 0,
    "boxes_usable": False,
}


def _box_facts(truth: BoxSet) -> Row:
    counts = np.diff(truth.offsets)
    sides = truth.boxes[:, 2:].astype(np.int64) - truth.boxes[:, :2] + 1
    images = np.repeat(truth.sizes.astype(np.int64), counts, axis=0)
    areas = sides.prod(axis=1) / images.prod(axis=1)
    return {
        "boxes": len(truth.boxes),
        "several_boxes": int((counts > 1).sum()),
        "mean_area": 100.0 * float(areas.mean()) if len(areas) else None,
        "full_boxes": int((sides == images).all(axis=1).sum()),
        "thin_boxes": int((sides == 1).any(axis=1).sum()),
        "boxes_usable": bool((counts > 0).all()),
    }
