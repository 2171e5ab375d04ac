"""The pictures of the report's gallery: small files under names of our own, whatever the images are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsol_bench.atomic import whole_file
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.contact_sheet import heated

SIDE: Final = 320
"""Larger pictures are scaled down to this many pixels on their longer side."""

SHARP: Final = 128
"""Pictures up to this size are kept pixel by pixel, as PNG."""


@dataclass(frozen=True)
class Picture:
    """Files of one image, relative to the report.

    Attributes:
        file: the image.
        heat: the image under its map, or empty.
        width: of the files, in pixels.
        height: likewise.
    """

    file: str
    heat: str
    width: int
    height: int


def write_picture(
    dataset: Dataset, split: str, index: int, name: str, folder: Path, score_map: NDArray[Any] | None = None
) -> Picture:
    """Writes ``images/<name>`` below ``folder``.

    Args:
        dataset: where the image comes from.
        split: its split.
        index: its place in the split.
        name: of the file, without ending.
        folder: of the report.
        score_map: ``[h, w]`` in [0, 1], where the record kept it.

    Raises:
        DataError: the image cannot be read.
    """
    pixels = dataset.load_image(split, index)
    scale = min(1.0, SIDE / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    if size != (pixels.shape[1], pixels.shape[0]):
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    file = _write(pixels, folder, name)
    heat = ""
    if score_map is not None:
        resized = cv2.resize(score_map.astype(np.float64), size, interpolation=cv2.INTER_LINEAR)
        heat = _write(heated(pixels, np.clip(resized, 0.0, 1.0)), folder, f"{name}-map")
    return Picture(file, heat, *size)


def _write(pixels: NDArray[np.uint8], folder: Path, name: str) -> str:
    sharp = max(pixels.shape[:2]) <= SHARP
    file = f"images/{name}.{'png' if sharp else 'jpg'}"
    with whole_file(folder / file) as temporary:
        if sharp:
            Image.fromarray(pixels).save(temporary, format="PNG", optimize=True)
        else:
            Image.fromarray(pixels).save(temporary, format="JPEG", quality=82)
    return file
