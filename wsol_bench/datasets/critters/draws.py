"""Random numbers that stay the same on every machine and with every numpy version."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Draws:
    """A stream of random numbers named by a tuple of non-negative integers.

    Two streams with different keys are independent, so an image drawn from ``(seed, split, index)`` depends on no other
    image. numpy promises stable raw bits of its bit generators, but not stable ``Generator`` methods; hence every
    number here is made from raw bits by exact arithmetic.
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))
        self._buffer: list[int] = []

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Returns a float in ``[low, high)``."""
        if not self._buffer:
            self._buffer = self._bits.random_raw(128).tolist()
        return low + (high - low) * ((self._buffer.pop() >> 11) * 2.0**-53)

    def integer(self, low: int, high: int) -> int:
        """Returns an integer from ``low`` to ``high``, both included."""
        return low + int(self.uniform() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Returns True with the given probability."""
        return self.uniform() < probability

    def choice(self, items: Sequence[T]) -> T:
        """Returns one of the items."""
        return items[int(self.uniform() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Returns the items in random order."""
        left = list(items)
        return [left.pop(int(self.uniform() * len(left))) for _ in range(len(left))]

    def array(self, *shape: int) -> NDArray[np.float32]:
        """Returns float32 numbers in ``[0, 1)``, each an exact multiple of 2**-24."""
        raw = self._bits.random_raw(math.prod(shape))
        return ((raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)
