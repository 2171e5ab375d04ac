"""Draws one image with every annotation source that knows it: ``wsol-bench datasets show``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.masks import FOREGROUND, IGNORE
from wsol_bench.annotations.sources import load_source, named_sources
from wsol_bench.datasets.base import SPLITS, Dataset
from wsol_bench.datasets.contact_sheet import contact_sheet
from wsol_bench.datasets.images import read_header
from wsol_bench.errors import DataError, UsageError, did_you_mean
from wsol_bench.workflow.sheet import check_suffix, save_sheet

_CELL = 640
_OBJECT, _IGNORED = np.array([213, 94, 0]), np.array([0, 114, 178])


def show_image(
    dataset: Dataset, image_id: str, boxes: Sequence[str], pseudo_root: Path, out: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draws an image with its manual boxes, all named pseudo-boxes that hold it, and any other source.

    Where the dataset has masks, a second picture shows them: orange is object, blue is ignored.

    Args:
        dataset: where the image is.
        image_id: its id, or the end of its id where no other image ends so.
        boxes: more sources, as :func:`~wsol_bench.annotations.sources.parse_source` takes them.
        pseudo_root: folder with the dataset's named pseudo-boxes.
        out: the picture, ``.png`` or ``.jpg``.

    Returns:
        What is known of the image (``id``, ``split``, ``label``, ``class``, ``width``, ``height``, ``file``, ``mode``,
        ``exif_orientation``), and one row per box: ``source``, ``x0``, ``y0``, ``x1``, ``y1``.

    Raises:
        UsageError: no image, or several, is meant; a source is not known.
        DataError: the image or a source cannot be read.
    """
    check_suffix(out)
    split, index = find_image(dataset, image_id)
    image_id = dataset.split(split).ids[index]
    pixels = dataset.load_image(split, index)
    drawn: dict[str, list[NDArray[np.int32]]] = {}
    named = sorted(named_sources(dataset.name, [pseudo_root]))
    manual = ["gt"] if dataset.has_ground_truth(split) else []
    for text in dict.fromkeys([*manual, *(f"pseudo={name}" for name in named), *boxes]):
        try:
            with firewall.judging("datasets show"):
                loaded = load_source(dataset, split, text, pseudo_roots=[pseudo_root], ids=[image_id])
        except DataError:
            if text in boxes or text == "gt":
                raise
            continue  # A named source that does not hold this split or image.
        drawn[loaded.source.name] = [loaded.boxes.of(0)]
    label = int(dataset.split(split).labels[index])
    pictures, captions = [pixels], [f"{dataset.class_names[label]}, {image_id}"]
    if dataset.has_masks(split):
        pictures.append(_with_masks(dataset, split, index, pixels))
        captions.append("orange: object, blue: ignored")
    # Boxes that stand for "nothing found" are listed, not drawn.
    seen = {name: [found[found.any(axis=1)]] for name, (found,) in drawn.items()}
    padded = {name: [*found, *[np.zeros((0, 4), np.int32)] * (len(pictures) - 1)] for name, found in seen.items()}
    save_sheet(contact_sheet(pictures, padded, captions, columns=len(pictures), cell=_CELL), out)
    path = dataset.image_path(split, index)
    header = None if path is None else read_header(path)
    facts = {
        "id": image_id,
        "split": split,
        "label": label,
        "class": dataset.class_names[label],
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "file": path,
        "mode": None if header is None else header.mode,
        "exif_orientation": None if header is None else header.orientation,
    }
    rows = [
        {"source": name, **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))}
        for name, (found,) in drawn.items()
        for box in found.tolist()
    ]
    return facts, rows


def find_image(dataset: Dataset, image_id: str) -> tuple[str, int]:
    """Returns split and row of an image, by its id or the end of its id.

    Raises:
        UsageError: there is no such image, or there are several.
    """
    ends: list[tuple[str, int, str]] = []
    known: list[str] = []
    for split in SPLITS:
        try:
            ids = dataset.split(split).ids
        except DataError:
            continue
        if image_id in ids:
            return split, ids.index(image_id)
        known += ids
        ends += [(split, index, one) for index, one in enumerate(ids) if one.endswith(f"/{image_id}")]
    if len(ends) == 1:
        return ends[0][:2]
    if ends:
        listed = ", ".join(f"'{one}'" for _, _, one in ends[:3])
        raise UsageError(f"Expected one image but {len(ends)} end in '{image_id}': {listed}; fix: give the whole id.")
    names = {one.rpartition("/")[2]: one for one in known} if len(known) <= 20_000 else {}
    raise UsageError(
        f"Expected the id of an image of {dataset.name}, such as '{known[0]}', but got '{image_id}'."
        f"{did_you_mean(image_id.rpartition('/')[2], names)}"
    )


def _with_masks(dataset: Dataset, split: str, index: int, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    with firewall.judging("datasets show"):
        masks = dataset.ground_truth_masks(split)
    drawn = masks.draw(index, pixels.shape[1], pixels.shape[0])
    overlaid = pixels.astype(np.float64)
    for value, colour in ((IGNORE, _IGNORED), (FOREGROUND, _OBJECT)):
        overlaid[drawn == value] = 0.5 * overlaid[drawn == value] + 0.5 * colour
    return overlaid.astype(np.uint8)
