"""Boxes of whole batches in a dialect, in the form that the metrics take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import UsageError
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.dialects import Dialect
from wsol_bench.maps.normalise import quantise
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.maps.thresholds import cuts_of_taus


def dialect_curves(dialect: Dialect, maps: Sequence[NDArray[Any]], taus: Sequence[float]) -> BoxCurves:
    """Boxes of N maps of one size in a dialect.

    Args:
        dialect: see ``get_dialect``.
        maps: N maps ``[H, W]``, float in [0, 1] or uint8, at least one.
        taus: ascending thresholds in [0, 1) at which the curves will be read.

    Returns:
        Curves that hold ``dialect.box_at(map, tau)`` at the cut of each of the ``taus``; between the taus of SAT, whose
        thresholds are not relative to the maximum, they mean nothing.

    Raises:
        UsageError: thresholds that SAT cannot tell apart (see ``check_taus``), or maps that cannot be scored.
    """
    if dialect.name == "sat":
        return _at_fixed_levels(dialect, maps, taus)
    q = np.stack([quantise(values) for values in maps])
    return sweep_largest(q, threads=1) if dialect.name == "choe2020" else _past_the_edge(q)


def check_taus(dialect: Dialect, taus: Sequence[float]) -> NDArray[np.uint8]:
    """Cuts that stand for the thresholds of a dialect.

    Returns:
        ``[T]`` uint8, those of a map whose maximum is 255.

    Raises:
        UsageError: the dialect's thresholds are absolute, and two of these share a cut.
    """
    cuts: NDArray[np.uint8] = cuts_of_taus(taus, np.array([255], dtype=np.uint8))[0]
    if dialect.name == "sat" and len(np.unique(cuts)) < len(cuts):
        raise UsageError(
            "Expected thresholds at least 1/255 apart for the dialect 'sat' but two are closer; fix: a tau step of"
            " 0.004 or more, and a frozen tau on that grid."
        )
    return cuts


def _past_the_edge(q: NDArray[np.uint8]) -> BoxCurves:
    """TS-CAM's boxes: a margin of background keeps the sweep from clipping the far corner."""
    curves = sweep_largest(np.pad(q, ((0, 0), (0, 1), (0, 1))), threads=1)
    boxes = curves.boxes.copy()
    boxes[~boxes.any(axis=1)] = (0, 0, 1, 1)
    return BoxCurves(curves.max_levels, curves.cuts, boxes, curves.offsets)


def _at_fixed_levels(dialect: Dialect, maps: Sequence[NDArray[Any]], taus: Sequence[float]) -> BoxCurves:
    boxes = [dialect.box_at(values, tau) for values in maps for tau in taus]
    # A maximum of 255 makes the cut of a tau the same in all maps, as absolute thresholds need it.
    cuts = check_taus(dialect, taus)
    cuts[0] = 0
    return BoxCurves(
        max_levels=np.full(len(maps), 255, dtype=np.uint8),
        cuts=np.tile(cuts, len(maps)),
        boxes=np.asarray(boxes, dtype=np.int16).reshape(-1, 4),
        offsets=np.arange(len(maps) + 1, dtype=np.int64) * len(taus),
    )
