"""Hyper-parameters: a default, a distribution and a sentence, declared side by side.

The command line, the search plan and the documentation all come from one declaration::

    class HParams(HyperParams):
        erase_threshold: float = hp(0.9, Uniform(0.0, 1.0), "where ACoL erases")
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Protocol, Self, dataclass_transform

import numpy as np

from wsol_bench.errors import UsageError, unknown_choice

Value = float | int | str | bool


class Distribution(Protocol):
    """Where a hyper-parameter is drawn from."""

    def draw(self, u: float) -> Value:
        """Maps ``u`` in [0, 1) to a value."""

    def check(self, value: Any) -> str | None:
        """Returns what is wrong with ``value``, or None."""


@dataclass(frozen=True)
class Uniform:
    """Uniform on ``[low, high)``."""

    low: float
    high: float

    def draw(self, u: float) -> float:
        return self.low + u * (self.high - self.low)

    def check(self, value: Any) -> str | None:
        return _check_number(value)


@dataclass(frozen=True)
class LogUniform:
    """Uniform in the logarithm on ``[low, high)``; both bounds positive."""

    low: float
    high: float

    def draw(self, u: float) -> float:
        return math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))

    def check(self, value: Any) -> str | None:
        return _check_number(value) or ("must not be negative" if value < 0 else None)


@dataclass(frozen=True)
class IntUniform:
    """Uniform on the integers ``low..high``, both included."""

    low: int
    high: int

    def draw(self, u: float) -> int:
        return self.low + min(int(u * (self.high - self.low + 1)), self.high - self.low)

    def check(self, value: Any) -> str | None:
        return None if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"


@dataclass(frozen=True)
class Choice:
    """One of the given values, with equal probability."""

    values: tuple[Value, ...]

    def draw(self, u: float) -> Value:
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]

    def check(self, value: Any) -> str | None:
        return None if value in self.values else f"must be one of {list(self.values)}"


@dataclass(frozen=True)
class Fixed:
    """Not searched: keeps its default unless a recipe or the user sets it.

    Attributes:
        values: the accepted values, or None for any text, number or switch.
    """

    values: tuple[Value, ...] | None = None

    def draw(self, u: float) -> Value:
        raise UsageError("Expected a hyper-parameter with a distribution to draw from, but this one is fixed.")

    def check(self, value: Any) -> str | None:
        return None if self.values is None or value in self.values else f"must be one of {list(self.values)}"


def hp(default: Value, distribution: Distribution, doc: str) -> Any:
    """Declares one hyper-parameter of a :class:`HyperParams` class.

    Args:
        default: value used when nothing else is said.
        distribution: where the search draws from; :meth:`Distribution.check` also validates what a user types.
        doc: one sentence on what it does, with its unit and range.
    """
    return field(default=default, metadata={"distribution": distribution, "doc": doc})


@dataclass_transform(field_specifiers=(hp,), frozen_default=True)
class HyperParams:
    """Base of hyper-parameter declarations; subclasses become frozen dataclasses by themselves."""

    _shared: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True)(cls)

    @classmethod
    def declarations(cls) -> dict[str, tuple[Value, Distribution, str]]:
        """Returns ``{name: (default, distribution, doc)}`` in the order of declaration."""
        return {
            item.name: (item.default, item.metadata["distribution"], item.metadata["doc"])
            for item in _fields_of(cls)
            if item.default is not MISSING and "distribution" in item.metadata
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Builds the hyper-parameters from plain values, the rest at their defaults.

        Raises:
            UsageError: a name is unknown or a value does not fit its declaration.
        """
        declared = cls.declarations()
        clean: dict[str, Any] = {}
        for name, value in values.items():
            if name not in declared:
                raise unknown_choice("a hyper-parameter", name, declared)
            default, distribution, _ = declared[name]
            typed = float(value) if isinstance(default, float) and isinstance(value, int) else value
            problem = distribution.check(typed)
            if problem is not None:
                raise UsageError(f"Expected the hyper-parameter '{name}' to fit: it {problem}, but got {value!r}.")
            clean[name] = typed
        return cls(**clean)

    def as_dict(self) -> dict[str, Value]:
        """Returns the values in the order of declaration."""
        return {name: getattr(self, name) for name in self.declarations()}


def draw(name: str, distribution: Distribution, seed: int, index: int) -> Value:
    """Draws a hyper-parameter; the value depends on the name, the seed and the configuration's index only.

    Adding a hyper-parameter to a method therefore changes no other draw, and all methods share the same values of the
    parameters that they have in common.
    """
    digest = hashlib.sha256(f"{seed}|{index}|{name}".encode()).digest()
    return distribution.draw(float(np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little"))).random()))


def _fields_of(cls: type[HyperParams]) -> tuple[Any, ...]:
    return fields(cls) if "__dataclass_fields__" in vars(cls) else ()


def _check_number(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "must be a finite number"
    return None
