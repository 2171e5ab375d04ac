"""A classifier that needs no network, and images on which its answers can be worked out by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass
class ColourClassifier:
    """Class 0 is red, class 1 is blue; green speaks against both. Counts what it is asked."""

    frame: int = 64
    identity: str = "colour@1"
    batches: list[int] = field(default_factory=list)

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(images))
        means = images.astype(np.float64).mean(axis=(1, 2))
        evidence = means[:, [0, 2]] - 0.5 * means[:, 1:2]
        return (1 / (1 + np.exp(-evidence / 20))).astype(np.float32) / 2

    def maps(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        channel = np.where(labels == 0, 0, 2)
        of_class = images[np.arange(len(images)), :, :, channel].astype(np.float32)
        side = self.frame // 8
        return of_class.reshape(len(images), 8, side, 8, side).mean(axis=(2, 4))


@dataclass
class HashClassifier:
    """Scores and maps that look random but depend on the image alone; scores repeat, so that there are ties."""

    frame: int = 32
    identity: str = "hash@1"

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([self._numbers(image, 3) for image in images]).astype(np.float32) / 8

    def maps(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.stack([self._numbers(image, 16).reshape(4, 4) for image in images]).astype(np.float32)

    def _numbers(self, image: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
        digest = hashlib.sha256(image.tobytes()).digest()
        return np.frombuffer(digest[:count], dtype=np.uint8).astype(np.int64) % 8


@pytest.fixture
def colour_classifier() -> ColourClassifier:
    return ColourClassifier()


@pytest.fixture
def hash_classifier() -> HashClassifier:
    return HashClassifier()


@pytest.fixture
def square_image() -> Callable[..., NDArray[np.uint8]]:
    """Returns ``make(box, channel, frame)``: a filled box of one colour on green."""

    def make(box: tuple[int, int, int, int], channel: int = 0, frame: int = 64) -> NDArray[np.uint8]:
        image = np.zeros((frame, frame, 3), dtype=np.uint8)
        image[:, :, 1] = 120
        x0, y0, x1, y1 = box
        image[y0 : y1 + 1, x0 : x1 + 1] = 0
        image[y0 : y1 + 1, x0 : x1 + 1, channel] = 255
        return image

    return make


@pytest.fixture
def photos() -> NDArray[np.uint8]:
    """Six textured images ``[6, 64, 64, 3]`` with a few shapes each, enough for selective search to find boxes."""
    draw = np.random.default_rng(0)
    images = []
    for _ in range(6):
        image = draw.integers(60, 90, (64, 64, 3))
        for _ in range(4):
            x, y, w, h = draw.integers(0, 40), draw.integers(0, 40), draw.integers(8, 24), draw.integers(8, 24)
            image[y : y + h, x : x + w] = draw.integers(0, 255, 3) + draw.integers(-8, 8, (h, w, 3))[: 64 - y, : 64 - x]
        images.append(np.clip(image, 0, 255))
    return np.stack(images).astype(np.uint8)
