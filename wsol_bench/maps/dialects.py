"""Other ways in which published code turns a map into its box, kept for reading numbers that they produced.

They differ from ``wsol_bench.maps.sweep`` in the component they keep, the edge they report and the thresholds they use,
so numbers of different dialects must not share a column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.maps.normalise import quantise
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.maps.thresholds import cuts_of_taus

Box = tuple[int, int, int, int]

SAT_FRAME = 224
"""Side of the central crop in pixels."""


@dataclass(frozen=True)
class Dialect:
    """How one code base reads a box off a map.

    Attributes:
        name: identifier, as in ``get_dialect``.
        taus: thresholds of the published runs (TS-CAM: CUB, then ILSVRC); empty where every threshold is swept.
        hit_is_strict: whether a hit needs IoU > 0.5 rather than >= 0.5.
        source: paper and file.
        extract: box of one map at one tau, see ``box_at``.
    """

    name: str
    taus: tuple[float, ...]
    hit_is_strict: bool
    source: str
    extract: Callable[[NDArray[Any], float], Box]

    def box_at(self, scores: NDArray[Any], tau: float) -> Box:
        """Box of one map at one threshold.

        Args:
            scores: ``[H, W]``, float in [0, 1] (or uint8 levels), normalised the way the dialect's authors do.
            tau: threshold in [0, 1).

        Returns:
            ``x0, y0, x1, y1`` in map pixels; what x1 and y1 mean is the dialect's.

        Raises:
            UsageError: a map of another rank, type or range, or a tau outside [0, 1).
        """
        if not 0 <= tau < 1:
            raise UsageError(f"Expected tau in [0, 1) but got {tau}; fix: divide percentages by 100.")
        if quantise(scores).ndim != 2:
            raise UsageError(
                f"Expected one map of shape [H, W] but got shape {list(scores.shape)}; fix: call box_at once for each"
                " map of a batch."
            )
        return self.extract(scores, tau)


def get_dialect(name: str) -> Dialect:
    """Looks a dialect up by name.

    Raises:
        UsageError: an unknown name.
    """
    if name not in DIALECTS:
        raise unknown_choice("dialect", name, DIALECTS)
    return DIALECTS[name]


def sat_ground_truth(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """Ground-truth box in the frame of SAT: the image squashed to 256x256, of which the central 224x224 are kept.

    Args:
        box: ``x0, y0, x1, y1`` in pixels of the original image.
        size: ``(width, height)`` of the original image.

    Returns:
        The box, clipped to 0..223 and truncated to integers; a box outside the crop becomes one pixel wide or high.
    """
    width, height = size
    x0, x1 = (x / width * 256 - 16 for x in (box[0], box[2]))
    y0, y1 = (y / height * 256 - 16 for y in (box[1], box[3]))
    corners = (int(min(max(corner, 0), SAT_FRAME - 1)) for corner in (x0, y0, x1, y1))
    return next(corners), next(corners), next(corners), next(corners)


def _choe(scores: NDArray[Any], tau: float) -> Box:
    curves = sweep_largest(quantise(scores), threads=1)
    x0, y0, x1, y1 = curves.boxes_at(cuts_of_taus([tau], curves.max_levels))[0, 0].tolist()
    return x0, y0, x1, y1


def _ts_cam(scores: NDArray[Any], tau: float) -> Box:
    """As ``_choe``, but the far corner may lie one pixel outside the map, and an empty map has a box of its own."""
    levels = quantise(scores)
    foreground = (levels > int(tau * int(levels.max()))).astype(np.uint8)
    contours, _ = cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return 0, 0, 1, 1
    x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return x, y, x + width, y + height


def _sat(scores: NDArray[Any], tau: float) -> Box:
    """Absolute threshold, largest 8-connected component by pixels (the first in raster order on ties)."""
    # In float64, so that a map cut at 0.4 does not depend on the rounding of 0.4 to the type it was stored in.
    foreground = (scores / 255 if scores.dtype == np.uint8 else scores.astype(np.float64)) > tau
    _, labels, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=8)
    if len(stats) == 1:
        return 0, 0, scores.shape[1], scores.shape[0]
    sizes = stats[1:, cv2.CC_STAT_AREA]
    tied = 1 + np.flatnonzero(sizes == sizes.max())
    first = labels.ravel()[np.argmax(np.isin(labels.ravel(), tied))]
    x, y, width, height = stats[first, :4].tolist()
    return x, y, x + width, y + height


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("choe2020", (), False, "Choe et al., CVPR 2020; clovaai/wsolevaluation, evaluation.py", _choe),
        Dialect(
            "ts_cam", (0.1, 0.12), True, "Gao et al., TS-CAM, ICCV 2021; vasgaowei/TS-CAM, lib/cams_deit.py", _ts_cam
        ),
        Dialect("sat", (0.4,), False, "Wu et al., SAT, ICCV 2023; wpy1999/SAT, evaluator.py", _sat),
    )
}
