"""How large the masks of a split are, where they lie, and what a map that looks at no pixel scores against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.masks import FOREGROUND, IGNORE, MaskSet
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.px_ap import PixelAveragePrecision, PxApResult

_TAU_STEP = 0.001


@dataclass(frozen=True, eq=False)
class MaskStats:
    """Masks of one split in the square frame.

    Attributes:
        areas: ``[M]`` share of the frame that is object, of the M images that have an object.
        centres: ``[M, 2]`` mean x and y of the object pixels, in [0, 1].
        mean_mask: ``[S, S]`` share of the images in which a pixel is object, of those in which it is not ignored.
        prevalence: object pixels in percent of all that are not ignored: PxAP of a map with one value everywhere.
        centre_map: PxAP of a map that falls from the centre to the corners.
    """

    areas: NDArray[np.float64]
    centres: NDArray[np.float64]
    mean_mask: NDArray[np.float64]
    prevalence: float
    centre_map: PxApResult


def mask_stats(masks: MaskSet, frame: int) -> MaskStats:
    """Draws every mask once.

    Args:
        masks: at least one image with an object.
        frame: side of the square in which maps are scored.

    Raises:
        DataError: a mask is missing or damaged, or no image has an object.
    """
    place = (np.arange(frame) + 0.5) / frame
    fixed = centred_map(frame)
    scored = PixelAveragePrecision(tau_grid(_TAU_STEP))
    objects, counted = np.zeros((frame, frame), np.int64), np.zeros((frame, frame), np.int64)
    areas, centres = [], []
    for index in range(len(masks)):
        drawn = masks.draw(index, frame, frame)
        scored.update(fixed[None], drawn[None])
        inside = drawn == FOREGROUND
        objects += inside
        counted += drawn != IGNORE
        if inside.any():
            areas.append(inside.mean())
            rows, columns = np.nonzero(inside)
            centres.append((place[columns].mean(), place[rows].mean()))
    return MaskStats(
        areas=np.array(areas),
        centres=np.array(centres).reshape(-1, 2),
        mean_mask=objects / np.maximum(counted, 1),
        prevalence=100.0 * float(objects.sum()) / max(int(counted.sum()), 1),
        centre_map=scored.compute(),
    )


def blind_scores(masks: NDArray[np.uint8]) -> dict[str, float]:
    """Returns PxAP in percent of maps that look at no pixel, by what they are.

    Args:
        masks: ``[N, S, S]`` uint8 with at least one object.

    Raises:
        DataError: no mask has an object.
    """
    frame = masks.shape[1]
    scores = {}
    for name, one in (
        ("constant map", np.zeros((frame, frame))),
        ("map falling from the centre", centred_map(frame)),
    ):
        meter = PixelAveragePrecision(tau_grid(_TAU_STEP))
        for mask in masks:
            meter.update(one[None], mask[None])
        scores[name] = meter.compute().px_ap
    return scores


def centred_map(frame: int) -> NDArray[np.float64]:
    """Returns ``[S, S]``: 1 in the centre, falling with the distance from it to 0 in the corners."""
    offset = np.arange(frame) + 0.5 - frame / 2
    distance = np.hypot(offset[:, None], offset[None, :])
    falling: NDArray[np.float64] = 1.0 - distance / max(float(distance.max()), 1e-9)
    return falling
