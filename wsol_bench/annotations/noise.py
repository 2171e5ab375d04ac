"""Manual boxes disturbed by a known amount, to study how selection copes with boxes that are wrong.

The thesis (Murtaza, ETS Montreal, 2025, figure 4.4) scales, shifts and stretches boxes at ten levels but leaves the
distributions open; the rule here fills them in and its quality per level is part of the tests.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.errors import DataError, UsageError

LEVELS: Final = tuple(percent / 100 for percent in range(5, 55, 5))
"""The levels of the study."""

MAX_LEVEL: Final = 0.5


def noisy_boxes(boxes: BoxSet, level: float, seed: int = 0) -> BoxSet:
    """Scales, shifts and stretches every box by at most ``level`` of its size.

    All levels share the random numbers of a box, so more noise moves it further along the same way: on average, and
    for all but a few images, the IoU with the clean box falls from level to level. The numbers depend on the seed, the
    image's id and the position of the box inside its image only, not on which other images there are or their order.

    Scaling keeps the shape, by a factor in ``1 +- level``; the shift is up to ``level`` of the scaled width and height,
    each way; with probability ``level`` the ratio of width to height changes by a factor in ``1 +- level`` while the
    area stays. Corners are rounded half to even and clipped into the image; no side gets shorter than two pixels.

    Args:
        boxes: clean boxes.
        level: in (0, 0.5], 0.25 for 25 %.
        seed: another one gives another draw.

    Returns:
        The same images with the same number of boxes each.

    Raises:
        UsageError: ``level`` is out of range.
        DataError: a box belongs to an image less than two pixels wide or high.
    """
    if not 0 < level <= MAX_LEVEL:
        raise UsageError(f"Expected a noise level above 0 and up to {MAX_LEVEL:g} but got {level:g}; 25 % is 0.25.")
    counts = np.diff(boxes.offsets)
    sizes = np.repeat(boxes.sizes.astype(np.int64), counts, axis=0)
    if (sizes < 2).any():
        image_id = boxes.ids[int(np.flatnonzero((boxes.sizes < 2).any(axis=1) & (counts > 0))[0])]
        raise DataError(
            f"Expected images of at least 2 x 2 pixels, to put noisy boxes in, but '{image_id}' is smaller."
        )
    u = _uniforms(boxes, seed)
    clean = boxes.boxes.astype(np.float64)
    extent = clean[:, 2:] - clean[:, :2] + 1
    centre = (clean[:, :2] + clean[:, 2:]) / 2
    extent *= 1 + (2 * u[:, :1] - 1) * level
    towards = np.where(u[:, [1, 3]] < 0.5, 1.0, -1.0)
    centre += towards * u[:, [2, 4]] * level * extent
    ratio = np.where(u[:, 5] < level, 1 + (2 * u[:, 6] - 1) * level, 1.0)
    stretch = np.sqrt(ratio)
    extent *= np.stack([stretch, 1 / stretch], axis=1)
    first = np.rint(centre - (extent - 1) / 2).astype(np.int64)
    last = np.rint(centre + (extent - 1) / 2).astype(np.int64)
    first = np.clip(first, 0, sizes - 2)
    last = np.maximum(np.clip(last, 1, sizes - 1), first + 1)
    return BoxSet(boxes.ids, np.concatenate([first, last], axis=1).astype(np.int32), boxes.offsets, boxes.sizes)


def _uniforms(boxes: BoxSet, seed: int) -> NDArray[np.float64]:
    """Draws eight numbers in [0, 1) for each box, ``[M, 8]``; the last is spare, so that the rule can grow."""
    drawn = np.empty((len(boxes.boxes), 8), dtype=np.float64)
    for index, image_id in enumerate(boxes.ids):
        start, stop = int(boxes.offsets[index]), int(boxes.offsets[index + 1])
        for row in range(start, stop):
            digest = hashlib.sha256(f"{seed}|{image_id}|{row - start}".encode()).digest()
            drawn[row] = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little"))).random(8)
    return drawn
