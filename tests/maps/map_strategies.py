"""Hypothesis strategies for 8-bit maps of every kind that localisers, or bugs in them, produce."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

KINDS = ("noise", "levels", "salt", "dense", "smooth", "blocks", "strokes", "rings", "checker")


@st.composite
def levels(draw: st.DrawFn, longest_side: int = 40) -> NDArray[np.uint8]:
    """A map ``[H, W]`` uint8."""
    height = draw(st.integers(1, longest_side))
    width = draw(st.integers(1, longest_side))
    kind = draw(st.sampled_from(KINDS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return np.ascontiguousarray(make(kind, height, width, rng), dtype=np.uint8)


def make(kind: str, height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    size = (height, width)
    noise = rng.integers(0, 256, size)
    if kind == "noise":
        return noise.astype(np.uint8)
    if kind == "levels":
        return (rng.integers(0, rng.integers(2, 8), size) * 36).astype(np.uint8)
    if kind == "salt":
        return ((rng.random(size) < rng.random() / 2) * noise).astype(np.uint8)
    if kind == "dense":
        return ((rng.random(size) < rng.random()) * rng.integers(248, 256, size)).astype(np.uint8)
    if kind == "smooth":
        small = rng.random((int(rng.integers(1, 10)), int(rng.integers(1, 10))))
        return (cv2.resize(small, (width, height)) * 255).astype(np.uint8)
    if kind == "blocks":
        cells = rng.integers(0, 5, size) * 60
        return np.kron(cells, np.ones(rng.integers(1, 5, 2), int))[:height, :width].astype(np.uint8)
    if kind == "checker":
        y, x = np.mgrid[:height, :width]
        return ((y + x) % rng.integers(2, 4) * noise).astype(np.uint8)
    canvas = np.zeros(size, dtype=np.uint8)
    for _ in range(int(rng.integers(1, 20))):
        a, b = ((int(rng.integers(0, width)), int(rng.integers(0, height))) for _ in range(2))
        level, thickness = int(rng.integers(0, 256)), int(rng.integers(1, 3))
        if kind == "strokes":
            cv2.line(canvas, a, b, level, 1, cv2.LINE_4 if rng.random() < 0.5 else cv2.LINE_8)
        elif rng.random() < 0.5:
            cv2.circle(canvas, a, int(rng.integers(1, 20)), level, thickness)
        else:
            cv2.rectangle(canvas, a, b, level, thickness)
    return canvas
