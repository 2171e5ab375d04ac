"""Writes annotations with a known amount of noise as folders, for any evaluator: ``wsol-bench annotate noise``.

``select --val noise:25`` needs no such folder. Sources: thesis Figure 4.4 (boxes) and Table 4.9 (masks).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.annotations.four_file import LOCALIZATION, FourFile, read_four_file, write_four_file
from wsol_bench.annotations.noise import LEVELS, noisy_boxes
from wsol_bench.annotations.noisy_masks import erode_mask, erode_mask_by_kernel, mask_error
from wsol_bench.atomic import whole_file, whole_folder
from wsol_bench.errors import DataError, UsageError
from wsol_bench.metrics.iou import box_iou

MASK_LEVELS = (0.05, *(percent / 100 for percent in range(10, 100, 10)))
"""Removed shares of foreground in the study."""


def write_noisy_boxes(
    metadata: Path, out: Path, levels: Sequence[float] = LEVELS, seed: int = 0
) -> list[dict[str, Any]]:
    """Writes ``<out>/metadata_noise_<percent>/<split>/`` for every level.

    Args:
        metadata: folder in the four-file format with manual boxes, named like its split.
        out: where the folders go; those that are there are replaced.
        levels: in (0, 0.5].
        seed: another one gives another draw.

    Returns:
        One row per level: ``level`` in percent, ``folder``, ``mean_iou`` with the clean boxes in percent, ``iou_50``
        (the share with an IoU of at least 0.5).

    Raises:
        UsageError: a level is out of range.
        DataError: the metadata are malformed or list no boxes.
    """
    file = _read(metadata, "boxes")
    if file.boxes is None:
        raise DataError("Expected boxes but there are none.", metadata / LOCALIZATION)
    rows = []
    for level in levels:
        noisy = noisy_boxes(file.boxes, level, seed)
        folder = out / f"metadata_noise_{round(100 * level):02d}" / metadata.resolve().name
        write_four_file(folder, ids=file.ids, labels=file.labels, boxes=noisy, overwrite=True)
        ious = box_iou(noisy.boxes, file.boxes.boxes)
        rows.append(
            {
                "level": round(100 * level, 2),
                "mean_iou": round(100 * float(ious.mean()), 2),
                "iou_50": round(100 * float(np.mean(ious >= 0.5)), 2),
                "folder": str(folder),
            }
        )
    return rows


def write_eroded_masks(
    metadata: Path, masks: Path, out: Path, levels: Sequence[float] = MASK_LEVELS, *, by_kernel: bool = False
) -> list[dict[str, Any]]:
    """Writes ``<out>/masks_erode_<percent>/`` for every level: a root of mask files to use in place of the exact one.

    The metadata stay as they are, because paths of masks are relative to their root. Every mask file is eroded by
    itself at its own resolution; files of regions to ignore are copied.

    Args:
        metadata: folder in the four-file format that lists masks.
        masks: root of the exact mask files.
        out: where the roots go; those that are there are replaced.
        levels: removed shares of the foreground, in [0, 1].
        by_kernel: erode ring by ring with a 3 x 3 kernel, as the thesis did, not pixel by pixel.

    Returns:
        One row per level: ``level`` in percent, ``folder``, ``mask_error`` (mean of ``100 (1 - AUC)`` over masks that
        have one), ``masks``, ``empty`` (masks without foreground, untouched).

    Raises:
        UsageError: a level is out of range.
        DataError: the metadata or a mask file cannot be read.
    """
    erode = erode_mask_by_kernel if by_kernel else erode_mask
    file = _read(metadata, "masks")
    if file.masks is None:
        raise DataError("Expected mask files but the metadata list none.", metadata / LOCALIZATION)
    names = list(dict.fromkeys(file.masks.masks))
    rows = []
    for level in levels:
        root = out / f"masks_erode_{round(100 * level):02d}"
        errors = []
        with whole_folder(root, overwrite=True) as unfinished:
            for name in names:
                exact = _read_mask(masks / name)
                eroded = erode(exact, level)
                errors.append(mask_error(exact, eroded))
                with whole_file(unfinished / name) as temporary:
                    Image.fromarray(eroded.astype(np.uint8) * 255).save(temporary, format="PNG")
            for name in filter(None, file.masks.ignore):
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                _copy(masks / name, unfinished / name)
        known = [error for error in errors if not np.isnan(error)]
        rows.append(
            {
                "level": round(100 * level, 2),
                "mask_error": round(float(np.mean(known)), 2) if known else None,
                "masks": len(names),
                "empty": len(names) - len(known),
                "folder": str(root),
            }
        )
    return rows


def _read(metadata: Path, kind: Any) -> FourFile:
    split = metadata.resolve().name
    with firewall.judging("annotate noise"):
        firewall.read("gt", split)
        return read_four_file(metadata, kind=kind, outside="clip")


def _read_mask(path: Path) -> np.ndarray[Any, np.dtype[np.bool_]]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L")) > 0
    except OSError as error:
        raise DataError(f"Expected a mask image but it cannot be read ({error}); fix: check --masks.", path) from error


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise UsageError(
            f"Expected {source} to be a mask of regions to ignore but: {error}; fix: check --masks."
        ) from error
