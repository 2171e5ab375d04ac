"""From the raw output of a localiser to the 8-bit map that is thresholded.

The order is ``clean``, ``resize_map``, ``min_max`` (these three are ``score_maps``), ``quantise``. Some published
code normalises before it resizes; swap the two calls for that. All functions take ``[H, W]`` or ``[N, H, W]`` and
return the same rank.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import UsageError, unknown_choice

Interpolation = Literal["bilinear", "bicubic"]

_HALF_ONE = 0x3C00
"""Bits of 1.0 as a half float; the bits of all smaller non-negative ones are smaller numbers."""


def clean(maps: NDArray[Any]) -> NDArray[np.float64]:
    """Replaces NaN by 0, +inf by 1 and -inf by 0.

    Args:
        maps: ``[H, W]`` or ``[N, H, W]``, any float type.

    Returns:
        Same shape, float64.

    Raises:
        UsageError: another rank or type.
    """
    _check(maps)
    return np.nan_to_num(maps.astype(np.float64), copy=False, nan=0.0, posinf=1.0, neginf=0.0)


def min_max(maps: NDArray[Any]) -> NDArray[np.float64]:
    """Stretches every map to [0, 1] by its own minimum and maximum; a constant map becomes all zeros.

    Args:
        maps: ``[H, W]`` or ``[N, H, W]``, any float type, finite.

    Returns:
        Same shape, float64.

    Raises:
        UsageError: another rank or type, or a value that is not finite.
    """
    _check(maps)
    stretched = np.zeros(maps.shape, dtype=np.float64)
    for source, target in _each(maps, stretched):
        low, high = float(source.min()), float(source.max())
        if not math.isfinite(high - low):
            raise UsageError("Expected finite maps but got NaN or infinity; fix: pass them through clean first.")
        if high > low:
            np.subtract(source, low, out=target, dtype=np.float64)
            target /= high - low
    return stretched


def resize_map(maps: NDArray[Any], size: tuple[int, int], interpolation: Interpolation = "bilinear") -> NDArray[Any]:
    """Resizes maps with pixel centres at half-integers (``align_corners=False``).

    Args:
        maps: ``[H, W]`` or ``[N, H, W]``, any float type.
        size: ``(height, width)`` of the result.
        interpolation: ``bilinear``, the benchmark's rule, or ``bicubic``, that of Choe et al. (CVPR 2020), which may
            overshoot the range of the input.

    Returns:
        ``[height, width]`` or ``[N, height, width]``, float64 for float64 input, float32 otherwise.

    Raises:
        UsageError: another rank or type, an empty size, or an unknown interpolation.
    """
    import cv2

    _check(maps)
    if interpolation not in ("bilinear", "bicubic"):
        raise unknown_choice("interpolation", interpolation, ["bilinear", "bicubic"])
    height, width = size
    if height < 1 or width < 1:
        raise UsageError(f"Expected a size of at least 1x1 but got {height}x{width}; fix: give (height, width).")
    flag = cv2.INTER_LINEAR if interpolation == "bilinear" else cv2.INTER_CUBIC
    values = maps if maps.dtype == np.float64 else maps.astype(np.float32)
    resized = np.empty((*maps.shape[:-2], height, width), dtype=values.dtype)
    for source, target in _each(values, resized):
        target[...] = cv2.resize(source, (width, height), interpolation=flag)
    return resized


def quantise(maps: NDArray[Any]) -> NDArray[np.uint8]:
    """8-bit levels ``floor(255 * M)``, the product taken in float64 whatever the type of the map.

    Args:
        maps: ``[H, W]`` or ``[N, H, W]``; any float type with values in [0, 1], or uint8, which is taken as already
            quantised and returned as it is.

    Returns:
        Same shape, uint8.

    Raises:
        UsageError: another rank or type, NaN, or a value outside [0, 1]; nothing is clipped silently.
    """
    if isinstance(maps, np.ndarray) and maps.dtype == np.uint8:
        _check_rank(maps)
        return maps
    _check(maps)
    levels = np.empty(maps.shape, dtype=np.uint8)
    scaled = np.empty(maps.shape[-2:], dtype=np.float64)
    for source, target in _each(maps, levels):
        if source.dtype == np.float16 and source.view(np.uint16).max() <= _HALF_ONE:
            # Conversion from half floats is slow; there are so few of them in [0, 1] that their levels are looked up.
            np.take(_levels_of_halves(), source.view(np.uint16), out=target, mode="clip")
            continue
        low, high = float(source.min()), float(source.max())
        if not (low >= 0 and high <= 1):
            raise UsageError(
                f"Expected map values in [0, 1] but got values from {low:g} to {high:g}; fix: pass the maps through"
                " clean and min_max first."
            )
        scaled[...] = source
        scaled *= 255
        np.copyto(target, scaled, casting="unsafe")
    return levels


def score_maps(maps: NDArray[Any], frame: int) -> NDArray[np.float64]:
    """Turns maps of any scale into score maps: clean, resize, min-max (metrics spec, section 2).

    Args:
        maps: ``[B, h, w]`` float; NaN counts as 0, infinities as 1 and 0.
        frame: side S of the square in which maps are scored.

    Returns:
        ``[B, S, S]`` in [0, 1], with both ends reached; all zeros for a constant map.
    """
    finite = clean(maps)
    scores = min_max(resize_map(finite, (frame, frame)))
    # Interpolation can leave a trace of rounding in a constant map, which the stretch would blow up to a full one.
    scores[finite.min(axis=(1, 2)) == finite.max(axis=(1, 2))] = 0.0
    return scores


@functools.cache
def _levels_of_halves() -> NDArray[np.uint8]:
    halves = np.arange(_HALF_ONE + 1, dtype=np.uint16).view(np.float16)
    return (halves.astype(np.float64) * 255).astype(np.uint8)


def _each(source: NDArray[Any], target: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Pairs of single maps; working on one at a time keeps it in the processor's cache."""
    stacks = (array.reshape(-1, *array.shape[-2:]) for array in (source, target))
    return zip(*stacks, strict=True)


def _check(maps: NDArray[Any]) -> None:
    if not isinstance(maps, np.ndarray) or maps.dtype.kind != "f":
        got = f"{maps.dtype} values" if isinstance(maps, np.ndarray) else f"a {type(maps).__name__}"
        raise UsageError(
            f"Expected maps as a NumPy array of floats but got {got}; fix: convert scores with .astype(np.float32), or"
            " masks and integer levels with a division by their largest value."
        )
    _check_rank(maps)


def _check_rank(maps: NDArray[Any]) -> None:
    if maps.ndim not in (2, 3) or 0 in maps.shape[-2:]:
        raise UsageError(
            f"Expected maps of shape [H, W] or [N, H, W], at least one pixel each, but got shape {list(maps.shape)};"
            " fix: squeeze the channel axis or pick the map of one class."
        )
