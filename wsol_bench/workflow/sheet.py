"""Draws a contact sheet of a split, with the boxes of any sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.annotations.sources import load_source
from wsol_bench.atomic import whole_file
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.contact_sheet import contact_sheet
from wsol_bench.errors import UsageError, unknown_choice

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def write_sheet(dataset: Dataset, split: str, count: int, boxes: Sequence[str], pseudo_root: Path, out: Path) -> int:
    """Writes a contact sheet of images spread evenly over a split; the caption of each is its class.

    Boxes that stand for "nothing found" (``0, 0, 0, 0``) are not drawn. Ground truth is read as a judge reads it.

    Args:
        dataset: where the images come from.
        split: ``train``, ``val`` or ``test``.
        count: images on the sheet; all of the split where it has fewer.
        boxes: sources as :func:`~wsol_bench.annotations.sources.parse_source` takes them (``gt``, ``pseudo=ss``, a
            folder); each has its colour.
        pseudo_root: folder with the dataset's named pseudo-boxes.
        out: the picture, ``.png`` or ``.jpg``.

    Returns:
        The number of images drawn.

    Raises:
        UsageError: ``count`` is not positive, a source is unknown or given twice, or ``out`` has another suffix.
        DataError: an image or a box file cannot be read.
    """
    check_suffix(out)
    part = dataset.split(split)
    rows = spread_rows(len(part), count)
    ids = [part.ids[row] for row in rows]
    drawn: dict[str, list[NDArray[np.int32]]] = {}
    for text in boxes:
        with firewall.judging("datasets sheet"):
            loaded = load_source(dataset, split, text, pseudo_roots=[pseudo_root], ids=ids)
        if loaded.source.name in drawn:
            raise UsageError(f"Expected different sources but two of them are called '{loaded.source.name}'.")
        per_image = [loaded.boxes.of(index) for index in range(len(ids))]
        drawn[loaded.source.name] = [found[found.any(axis=1)] for found in per_image]
    sheet = contact_sheet(
        [dataset.load_image(split, row) for row in rows],
        drawn,
        [dataset.class_names[part.labels[row]] for row in rows],
    )
    save_sheet(sheet, out)
    return len(rows)


def spread_rows(total: int, count: int) -> list[int]:
    """Returns up to ``count`` row numbers spread evenly over ``0..total - 1``.

    Raises:
        UsageError: ``count`` is not positive.
    """
    if count < 1:
        raise UsageError(f"Expected --count of at least 1 but got {count}.")
    rows: list[int] = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()
    return rows


def check_suffix(out: Path) -> None:
    """Refuses a picture that is not to be ``.png`` or ``.jpg``, before any work is done.

    Raises:
        UsageError: it has another suffix.
    """
    if out.suffix.lower() not in _FORMATS:
        raise unknown_choice("the suffix of --out", out.suffix.lower() or out.name, _FORMATS)


def save_sheet(sheet: Image.Image, out: Path) -> None:
    """Writes a sheet, whole or not at all."""
    check_suffix(out)
    with whole_file(out) as temporary:
        sheet.save(temporary, format=_FORMATS[out.suffix.lower()])
