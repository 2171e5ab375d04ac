"""A sheet of small pictures with boxes and captions, to look at a dataset or at pseudo-boxes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

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
_ARM = 4

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def contact_sheet(
    images: Sequence[NDArray[np.uint8]],
    boxes: Mapping[str, Sequence[ArrayLike]] | Sequence[ArrayLike] | None = None,
    labels: Sequence[str] | None = None,
    *,
    points: Mapping[str, Sequence[tuple[int, int] | None]] | None = None,
    thin: Collection[str] = (),
    columns: int = 8,
    cell: int = 160,
) -> Image.Image:
    """Draws images in rows, each fitted into a square cell, with boxes, points and a caption.

    Args:
        images: N arrays ``[H, W, 3]`` uint8; sizes may differ.
        boxes: per source name, N arrays ``[k, 4]`` (``x0, y0, x1, y1``, inclusive, in pixels of that image; ``k`` may
            be 0); each source has its colour, explained in a legend. A plain sequence is one source without a legend.
        labels: N captions; too long ones are cut.
        points: per source name, N pixels ``(x, y)`` of that image, drawn as crosses over all boxes; None for no point.
        thin: sources whose boxes are one pixel thick, not two.
        columns: cells in a row.
        cell: side of a cell in pixels.

    Returns:
        An RGB picture.

    Raises:
        UsageError: there is no image, numbers of images, boxes, points and captions differ, or ``columns`` or
            ``cell`` is not positive.
    """
    named = boxes if isinstance(boxes, Mapping) else {} if boxes is None else {"": boxes}
    crosses = points or {}
    _check(images, named, crosses, labels, columns, cell)
    styles = {name: (COLOURS[i % len(COLOURS)], 1 if name in thin else 2) for i, name in enumerate([*named, *crosses])}
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    caption = _LINE if labels is not None else 0
    legend = _LINE if any(styles) else 0
    step_x, step_y = cell + _GAP, cell + caption + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP + legend), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for i, pixels in enumerate(images):
        left, top = _GAP + i % columns * step_x, _GAP + i // columns * step_y
        place = _paste(sheet, pixels, left, top, cell)
        for name, per_image in named.items():
            _draw_boxes(draw, per_image[i], place, *styles[name])
        for name, per_point in crosses.items():
            _draw_cross(draw, per_point[i], place, styles[name][0])
        if labels is not None:
            draw.text((left, top + cell + 1), _fitted(draw, labels[i], font, cell), fill=_INK, font=font)
    if legend:
        _draw_legend(draw, styles, font, sheet.height - legend - _GAP // 2)
    return sheet


def heated(image: NDArray[np.uint8], score_map: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Lays a score map over an image: blue where it is 0, red where it is 1, half transparent.

    Args:
        image: ``[H, W, 3]`` uint8.
        score_map: ``[H, W]`` in [0, 1].

    Returns:
        ``[H, W, 3]`` uint8.
    """
    ramp = np.stack([np.clip(1.5 - np.abs(4.0 * score_map - peak), 0.0, 1.0) for peak in (3.0, 2.0, 1.0)], axis=-1)
    return (0.5 * image + 127.5 * ramp).astype(np.uint8)


@dataclass(frozen=True)
class _Place:
    """Where an image lies on the sheet, and how large it is there."""

    left: int
    top: int
    scale_x: float
    scale_y: float

    def edge(self, x: float, y: float) -> tuple[int, int]:
        return self.left + round(x * self.scale_x), self.top + round(y * self.scale_y)


def _paste(sheet: Image.Image, pixels: NDArray[np.uint8], left: int, top: int, cell: int) -> _Place:
    height, width = pixels.shape[:2]
    scale = cell / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Enlarged pixels stay sharp, so that a box can be judged to the pixel on small images.
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
    left, top = left + (cell - size[0]) // 2, top + (cell - size[1]) // 2
    sheet.paste(Image.fromarray(pixels).resize(size, how), (left, top))
    return _Place(left, top, size[0] / width, size[1] / height)


def _draw_boxes(draw: ImageDraw.ImageDraw, boxes: ArrayLike, place: _Place, colour: str, width: int) -> None:
    for x0, y0, x1, y1 in np.asarray(boxes, dtype=np.float64).reshape(-1, 4).tolist():
        left, top = place.edge(x0, y0)
        right, bottom = place.edge(x1 + 1, y1 + 1)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=width)


def _draw_cross(draw: ImageDraw.ImageDraw, point: tuple[int, int] | None, place: _Place, colour: str) -> None:
    if point is None:
        return
    x, y = place.edge(point[0] + 0.5, point[1] + 0.5)
    for line in ((x - _ARM, y - _ARM, x + _ARM, y + _ARM), (x - _ARM, y + _ARM, x + _ARM, y - _ARM)):
        draw.line(line, fill=_INK, width=5)
        draw.line(line, fill=colour, width=3)


def _draw_legend(draw: ImageDraw.ImageDraw, styles: Mapping[str, tuple[str, int]], font: _Font, top: int) -> None:
    left = float(_GAP)
    for name, (colour, _) in styles.items():
        draw.rectangle((left, top + 3, left + 10, top + 13), fill=colour)
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
    points: Mapping[str, Sequence[tuple[int, int] | None]],
    labels: Sequence[str] | None,
    columns: int,
    cell: int,
) -> None:
    if not len(images):
        raise UsageError("Expected at least one image for a contact sheet but got none.")
    if columns < 1 or cell < 1:
        raise UsageError(f"Expected columns and cell of at least 1 but got {columns} and {cell}.")
    counts = {f"boxes of '{name}'": len(per_image) for name, per_image in boxes.items()}
    counts |= {f"points of '{name}'": len(per_image) for name, per_image in points.items()}
    if labels is not None:
        counts["captions"] = len(labels)
    for what, count in counts.items():
        if count != len(images):
            raise UsageError(f"Expected {what} for {len(images)} images but got {count}.")
