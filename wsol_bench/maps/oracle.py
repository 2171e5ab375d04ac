"""The slow truth: threshold and ask OpenCV, once for every distinct cut.

The fast sweep must agree with this file to the last box; anybody can check that on their own maps.
Source: Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020, whose evaluator
thresholds an 8-bit map with a strict ``>`` and calls ``cv2.findContours`` at every tau.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsol_bench.maps.curves import NUM_CUTS


def oracle_largest(q: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Boxes of the largest contour.

    Args:
        q: ``[H, W]`` uint8.

    Returns:
        ``[255, 4]`` int16 ``x0, y0, x1, y1`` for the cuts 0 to 254; ``0, 0, 0, 0`` where nothing exceeds the cut.
    """
    boxes = np.zeros((NUM_CUTS, 4), dtype=np.int16)
    for cut, contours in enumerate(_contours_per_cut(q)):
        if contours:
            boxes[cut] = _box(max(contours, key=cv2.contourArea), q.shape)
    return boxes


def oracle_all(q: NDArray[np.uint8]) -> list[NDArray[np.int16]]:
    """Boxes of every contour, holes included.

    Args:
        q: ``[H, W]`` uint8.

    Returns:
        For each of the cuts 0 to 254 its boxes, ``[K, 4]`` int16, in OpenCV's order; one box ``0, 0, 0, 0`` where
        nothing exceeds the cut.
    """
    return [
        np.array([_box(contour, q.shape) for contour in contours] or [(0, 0, 0, 0)], dtype=np.int16)
        for contours in _contours_per_cut(q)
    ]


def _contours_per_cut(q: NDArray[np.uint8]) -> list[Sequence[NDArray[Any]]]:
    present = np.zeros(256, dtype=bool)
    present[q] = True
    found: list[Sequence[NDArray[Any]]] = []
    for cut in range(NUM_CUTS):
        if cut == 0 or present[cut]:
            foreground = (q > cut).astype(np.uint8)
            found.append(cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0])
        else:
            found.append(found[-1])
    return found


def _box(contour: NDArray[Any], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(contour)
    return x, y, min(x + width, shape[1] - 1), min(y + height, shape[0] - 1)
