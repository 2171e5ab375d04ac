"""The peak of a map: the one pixel at which a method points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import UsageError

UNDEFINED = -1
"""Both coordinates of the peak of a map that has none."""


def peaks(maps: NDArray[Any]) -> NDArray[np.int16]:
    """First maximum of every map in row-major order, as in the pointing game (Zhang et al., IJCV 2018).

    Args:
        maps: ``[N, H, W]`` or ``[H, W]``, any real type.

    Returns:
        ``[N, 2]`` int16 ``x, y`` (``[2]`` for a single map); ``-1, -1`` for a constant map, an empty one or one with
        NaN, which point nowhere and therefore miss.

    Raises:
        UsageError: another rank, or maps without a pixel.
    """
    if maps.ndim not in (2, 3) or 0 in maps.shape[-2:]:
        raise UsageError(
            f"Expected maps of shape [N, H, W] or [H, W], at least one pixel each, but got shape {list(maps.shape)};"
            " fix: squeeze the channel axis or pick the map of one class."
        )
    height, width = maps.shape[-2:]
    flat = maps.reshape(*maps.shape[:-2], height * width)
    # A comparison with NaN is false, which leaves such a map without a peak.
    defined = flat.max(axis=-1) > flat.min(axis=-1)
    first = np.argmax(flat, axis=-1)
    found = np.stack([first % width, first // width], axis=-1)
    return np.where(defined[..., None], found, UNDEFINED).astype(np.int16)
