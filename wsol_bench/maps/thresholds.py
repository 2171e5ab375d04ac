"""Thresholds: the tau of a protocol and the cut of an 8-bit map that it means."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import UsageError
from wsol_bench.maps.curves import NUM_CUTS


def tau_grid(step: float) -> NDArray[np.float64]:
    """Thresholds ``np.arange(0, 1, step)``, float for float those of Choe et al. (``cam_curve_interval``).

    Args:
        step: distance between thresholds, in (0, 1]. 0.001 reaches all 255 cuts of a map whose maximum is 255, 0.004
            misses five of them, 0.01 reaches 100.

    Returns:
        ``[T]`` float64 from 0; a last value that ``np.arange`` rounds up to 1 is left out, every map being empty there.

    Raises:
        UsageError: ``step`` outside (0, 1].
    """
    if not 0 < step <= 1:
        raise UsageError(f"Expected a tau step in (0, 1] but got {step}; fix: use 0.001 for every cut, or 0.01.")
    taus = np.arange(0, 1, step, dtype=np.float64)
    return taus[taus < 1]


def level_taus() -> NDArray[np.float64]:
    """The finest grid: ``[255]`` float64, one tau for each cut of a map whose maximum is 255 (see ``tau_of_cut``)."""
    return np.array([tau_of_cut(cut) for cut in range(NUM_CUTS)], dtype=np.float64)


def tau_of_cut(cut: int, max_level: int = 255) -> float:
    """A tau that means this cut: ``int(tau * max_level) == cut`` in float64.

    Args:
        cut: 0 to ``max_level - 1``.
        max_level: largest value of the 8-bit map, 1 to 255.

    Returns:
        ``cut / max_level``, or the float above it where the product would fall short of the cut by rounding.

    Raises:
        UsageError: a cut that no tau below 1 reaches.
    """
    if not 0 <= cut < max_level <= 255:
        raise UsageError(
            f"Expected 0 <= cut < max_level <= 255 but got cut {cut} and max_level {max_level}; fix: a tau below 1"
            " always cuts below the maximum of the map."
        )
    tau = cut / max_level
    while int(tau * max_level) < cut:
        tau = float(np.nextafter(tau, 1.0))
    return tau


def cuts_of_taus(taus: ArrayLike, max_levels: ArrayLike) -> NDArray[np.uint8]:
    """Cut that each tau means in each map: ``int(tau * max_level)`` in float64, truncated.

    Args:
        taus: ``[T]`` float64 in [0, 1).
        max_levels: ``[N]`` uint8, largest value of each map.

    Returns:
        ``[N, T]`` uint8, 0 to 254.

    Raises:
        UsageError: a tau outside [0, 1) or not finite, or max_levels that are not uint8.
    """
    grid = np.asarray(taus, dtype=np.float64)
    levels = np.asarray(max_levels)
    if grid.ndim != 1 or not np.all((grid >= 0) & (grid < 1)):
        raise UsageError(
            "Expected taus as a list of numbers in [0, 1) but got another shape or value; fix: divide percentages by"
            " 100 and leave out 1.0, at which every map is empty."
        )
    if levels.ndim != 1 or levels.dtype != np.uint8:
        raise UsageError(
            f"Expected max_levels as [N] uint8 but got {levels.dtype} of shape {list(levels.shape)}; fix: pass"
            " BoxCurves.max_levels."
        )
    return (grid * levels[:, None].astype(np.float64)).astype(np.uint8)
