"""Compares any set of boxes with ground truth: ``wsol-bench annotate report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import LOCALIZATION, read_four_file
from wsol_bench.errors import DataError, UsageError
from wsol_bench.judge.pseudo_quality import box_quality


def report(boxes: Path, metadata: Path, frame: int = 224, *, common: bool = False) -> dict[str, Any]:
    """Returns mean IoU, CorLoc and counts of the boxes in one folder against those in another.

    Both folders are in the four-file format. Boxes are taken as they are, because published numbers were made so: one
    that reaches ``x1 = W`` is counted but not cut, a box ``0, 0, 0, 0`` is counted and compared like any other.
    ``localization_iou.txt`` is not read.

    Args:
        boxes: the folder to judge, or a folder above it that holds no other boxes.
        metadata: the folder with ground truth, likewise; of several splits the one named like the folder of boxes.
        frame: side of the square frame in which boxes are compared.
        common: compare the images that both folders have, and count the others.

    Raises:
        DataError: a folder or file is missing or malformed, or an image of ``boxes`` has no ground truth (with
            ``common``: none has).
        UsageError: ``frame`` is not positive.
    """
    if frame < 1:
        raise UsageError(f"Expected a frame of at least 1 pixel but got {frame}.")
    judged_folder = _boxes_folder(boxes)
    truth_folder = _boxes_folder(metadata, judged_folder.name)
    judged = _read(judged_folder)
    with firewall.ledger() as book, firewall.judging("annotate report"):
        firewall.read("gt", truth_folder.name)
        truth = _read(truth_folder)
    total = len(judged)
    if common:
        known = set(truth.ids)
        judged = judged.select([image_id for image_id in judged.ids if image_id in known])
        if not len(judged):
            raise DataError(f"Expected images that {boxes} has too but there is none; fix: the same ids.", metadata)
    quality = box_quality(judged, truth, frame)
    return {
        "boxes": str(judged_folder),
        "metadata": str(truth_folder),
        "frame": frame,
        **quality.as_dict(),
        "boxes_outside_image": _outside(judged),
        "ground_truth_images": len(truth),
        "without_ground_truth": total - len(judged),
        "read": book.supervision(),
    }


def _read(folder: Path) -> BoxSet:
    boxes = read_four_file(folder, kind="boxes", outside="keep").boxes
    if boxes is None:
        raise DataError("Expected boxes but there are none.", folder / LOCALIZATION)
    return boxes


def _outside(boxes: BoxSet) -> int:
    last = np.repeat(boxes.sizes, np.diff(boxes.offsets), axis=0) - 1
    return int(((boxes.boxes[:, :2] < 0) | (boxes.boxes[:, 2:] > last)).any(axis=1).sum())


def _boxes_folder(folder: Path, split: str | None = None) -> Path:
    if not folder.is_dir():
        raise DataError(f"Expected a folder with {LOCALIZATION} but it does not exist.", folder)
    found = sorted(
        path.parent for depth in ("", "*/", "*/*/", "*/*/*/") for path in folder.glob(f"{depth}{LOCALIZATION}")
    )
    if folder in found:
        return folder
    fitting = found if len(found) == 1 else [path for path in found if path.name == split]
    if len(fitting) != 1:
        listed = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise DataError(
            f"Expected one folder with {LOCALIZATION} but got {listed}; fix: name the one you mean.", folder
        )
    return fitting[0]
