"""A sheet of small pictures with boxes and captions, to look at a dataset or at pseudo-boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from wsol_bench.errors import UsageError

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
"""Box colours in the order of the sources: Okabe and Ito's palette, told apart without colour vision too."""

_PAPER, _INK = "#FFFFFF", "#202020"
_GAP = 6
_FONT_SIZE = 12
_LINE = 16

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def contact_sheet(
    images: Sequence[NDArray[np.uint8]],
    boxes: Mapping[str, Sequence[ArrayLike]] | Sequence[ArrayLike] | None = None,
    labels: Sequence[str] | None = None,
    *,
    columns: int = 8,
    cell: int = 160,
) -> Image.Image:
    """Draws images in rows, each fitted into a square cell, with boxes and a caption.

    Args:
        images: N arrays ``[H, W, 3]`` uint8; sizes may differ.
        boxes: per source name, N arrays ``[k, 4]`` (``x0, y0, x1, y1``, inclusive, in pixels of that image; ``k`` may
            be 0); each source has its colour, explained in a legend. A plain sequence is one source without a legend.
        labels: N captions; too long ones are cut.
        columns: cells in a row.
        cell: side of a cell in pixels.

    Returns:
        An RGB picture.

    Raises:
        UsageError: there is no image, numbers of images, boxes and captions differ, or ``columns`` or ``cell`` is not
            positive.
    """
    named = boxes if isinstance(boxes, Mapping) else {} if boxes is None else {"": boxes}
    _check(images, named, labels, columns, cell)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    caption = _LINE if labels is not None else 0
    legend = _LINE if any(named) else 0
    step_x, step_y = cell + _GAP, cell + caption + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP + legend), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for i, pixels in enumerate(images):
        left, top = _GAP + i % columns * step_x, _GAP + i // columns * step_y
        _draw_cell(sheet, draw, pixels, [per_image[i] for per_image in named.values()], left, top, cell)
        if labels is not None:
            draw.text((left, top + cell + 1), _fitted(draw, labels[i], font, cell), fill=_INK, font=font)
    if legend:
        _draw_legend(draw, list(named), font, sheet.height - legend - _GAP // 2)
    return sheet


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    pixels: NDArray[np.uint8],
    per_source: Sequence[ArrayLike],
    left: int,
    top: int,
    cell: int,
) -> None:
    height, width = pixels.shape[:2]
    scale = cell / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Enlarged pixels stay sharp, so that a box can be judged to the pixel on small images.
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
    left, top = left + (cell - size[0]) // 2, top + (cell - size[1]) // 2
    sheet.paste(Image.fromarray(pixels).resize(size, how), (left, top))
    for source, source_boxes in enumerate(per_source):
        for x0, y0, x1, y1 in np.asarray(source_boxes, dtype=np.float64).reshape(-1, 4):
            corners = (
                left + round(x0 * size[0] / width),
                top + round(y0 * size[1] / height),
                left + round((x1 + 1) * size[0] / width) - 1,
                top + round((y1 + 1) * size[1] / height) - 1,
            )
            ordered = (corners[0], corners[1], max(corners[0], corners[2]), max(corners[1], corners[3]))
            draw.rectangle(ordered, outline=COLOURS[source % len(COLOURS)], width=2)


def _draw_legend(draw: ImageDraw.ImageDraw, names: Sequence[str], font: _Font, top: int) -> None:
    left = float(_GAP)
    for source, name in enumerate(names):
        draw.rectangle((left, top + 3, left + 10, top + 13), fill=COLOURS[source % len(COLOURS)])
        draw.text((left + 15, top), name, fill=_INK, font=font)
        left += 15 + draw.textlength(name, font=font) + 3 * _GAP


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: _Font, width: int) -> str:
    text = " ".join(text.split())
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font=font) > width:
        text = text[:-1]
    return f"{text}…"


def _check(
    images: Sequence[NDArray[np.uint8]],
    boxes: Mapping[str, Sequence[ArrayLike]],
    labels: Sequence[str] | None,
    columns: int,
    cell: int,
) -> None:
    if not len(images):
        raise UsageError("Expected at least one image for a contact sheet but got none.")
    if columns < 1 or cell < 1:
        raise UsageError(f"Expected columns and cell of at least 1 but got {columns} and {cell}.")
    counts = {f"boxes of '{name}'": len(per_image) for name, per_image in boxes.items()}
    if labels is not None:
        counts["captions"] = len(labels)
    for what, count in counts.items():
        if count != len(images):
            raise UsageError(f"Expected {what} for {len(images)} images but got {count}.")
