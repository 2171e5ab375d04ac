"""From the square frame back to original pixels, so that evaluators find the same frame box again."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def to_original(boxes: ArrayLike, frame: int, sizes: ArrayLike) -> NDArray[np.int32]:
    """Scales one box per image from the frame to original pixels.

    Evaluators bring a stored coordinate ``v`` to the frame with ``int(v * frame / W)``. Truncating on the way back too,
    as the released box files do, loses a pixel for most coordinates (pseudo-box spec, section 7). Here a coordinate
    ``k`` becomes the smallest ``v`` that evaluators map to ``k``. Where the image is smaller than the frame, several
    frame pixels share one original pixel and such a ``v`` may not exist; then it is the pixel that holds ``k``.

    Args:
        boxes: ``[N, 4]`` integer ``x0, y0, x1, y1``, inclusive corners, each in ``0..frame - 1``.
        frame: side of the square frame in pixels.
        sizes: ``[N, 2]`` original width and height.

    Returns:
        ``[N, 4]`` int32, inside the images; ``0, 0, 0, 0`` stays what it is.
    """
    corners = np.asarray(boxes, dtype=np.int64).reshape(-1, 4)
    sides = np.tile(np.asarray(sizes, dtype=np.int64).reshape(-1, 2), 2)
    smallest = -(-corners * sides // frame)
    exact = (smallest * frame // sides == corners) & (smallest < sides)
    return np.where(exact, smallest, corners * sides // frame).astype(np.int32)
