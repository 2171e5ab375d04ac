"""What a classifier is shown of one box: the outside blurred, blackened, or cut away.

Source: DiPS (Murtaza et al., WACV 2024) keeps the inside of a box and blurs the rest strongly; the pseudo-box spec,
section 2, step 1. Cropping and blackening are there for ablation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import UsageError

Outside = Literal["blur", "crop", "zero"]
PaintView = Callable[[NDArray[np.int32], NDArray[np.uint8]], None]
"""Writes the view of a box ``[4]`` into a canvas ``[S, S, 3]``."""

REFERENCE_FRAME = 224
"""Kernel, sigma and smallest side are given for this frame and scale with others."""


def view_painter(
    image: NDArray[np.uint8], outside: Outside, blur_kernel: int = 115, blur_sigma: float = 100.5
) -> PaintView:
    """Prepares an image once (the blur is the costly part) for painting views of many boxes.

    Args:
        image: ``[S, S, 3]`` uint8.
        outside: what happens to the pixels outside the box.
        blur_kernel: side of the Gaussian kernel in pixels of a 224-pixel frame; scaled to ``S``, made odd.
        blur_sigma: standard deviation in the same unit.

    Returns:
        A function ``paint(box, canvas)``; ``box`` is inclusive and lies inside the image.

    Raises:
        UsageError: ``outside`` is not one of the three.
    """
    if outside == "crop":
        return lambda box, canvas: _paint_crop(image, box, canvas)
    if outside == "blur":
        background = blurred(image, blur_kernel, blur_sigma)
    elif outside == "zero":
        background = np.zeros_like(image)
    else:
        raise UsageError(f"Expected the option 'outside' to be one of (blur, crop, zero) but got '{outside}'.")
    return lambda box, canvas: _paint_inside(image, background, box, canvas)


def blurred(image: NDArray[np.uint8], kernel: int, sigma: float) -> NDArray[np.uint8]:
    """Returns a Gaussian-blurred copy; ``kernel`` and ``sigma`` are given for a 224-pixel frame.

    The border is reflected without repeating the edge pixel.
    """
    scale = image.shape[0] / REFERENCE_FRAME
    side = 2 * round((kernel * scale - 1) / 2) + 1
    if side <= 1:
        return image.copy()
    # On 8-bit images OpenCV computes in fixed point: at most 1.2 grey levels off, but the same bits on every machine.
    smooth = cv2.GaussianBlur(image, (side, side), sigma * scale, borderType=cv2.BORDER_REFLECT_101)
    return smooth.astype(np.uint8, copy=False)


def _paint_inside(
    image: NDArray[np.uint8], background: NDArray[np.uint8], box: NDArray[np.int32], canvas: NDArray[np.uint8]
) -> None:
    x0, y0, x1, y1 = box.tolist()
    canvas[...] = background
    canvas[y0 : y1 + 1, x0 : x1 + 1] = image[y0 : y1 + 1, x0 : x1 + 1]


def _paint_crop(image: NDArray[np.uint8], box: NDArray[np.int32], canvas: NDArray[np.uint8]) -> None:
    x0, y0, x1, y1 = box.tolist()
    inside = np.ascontiguousarray(image[y0 : y1 + 1, x0 : x1 + 1])
    canvas[...] = cv2.resize(inside, canvas.shape[1::-1], interpolation=cv2.INTER_LINEAR)
