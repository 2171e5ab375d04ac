"""Hyper-parameters: a default, a distribution and a sentence, declared side by side.

The command line, the search plan and the documentation all come from one declaration::

    class HParams(HyperParams):
        erase_threshold: float = hp(0.9, Uniform(0.0, 1.0), "where ACoL erases")
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self, dataclass_transform

from wsol_bench.errors import PluginError, UsageError, unknown_choice

Value = float | int | str | bool


class Distribution(Protocol):
    """Where a hyper-parameter is drawn from."""

    def draw(self, u: float) -> Value:
        """Maps ``u`` in [0, 1) to a value."""

    def check(self, value: Any) -> str | None:
        """Returns what ``value``, already of the right type, must be and is not; None where it is fine."""


@dataclass(frozen=True)
class Uniform:
    """Uniform on ``[low, high]``; values set by hand may lie outside."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self, self.low, self.high)

    def draw(self, u: float) -> float:
        """Returns the value at the fraction ``u``, to six significant digits."""
        return _readable(self.low + u * (self.high - self.low))

    def check(self, value: Any) -> str | None:
        """Accepts every number."""
        return None


@dataclass(frozen=True)
class LogUniform:
    """Uniform in the logarithm on ``[low, high]``, both positive; values set by hand may lie outside, 0 included."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range(self, self.low, self.high, positive=True)

    def draw(self, u: float) -> float:
        """Returns the value at the fraction ``u``, to six significant digits."""
        return _readable(math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low))))

    def check(self, value: Any) -> str | None:
        """Accepts every number that is not negative."""
        return None if value >= 0 else "not negative"


@dataclass(frozen=True)
class IntUniform:
    """Uniform on the integers ``low..high``, both included; values set by hand may lie outside."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_range(self, self.low, self.high)

    def draw(self, u: float) -> int:
        """Returns the integer at the fraction ``u``."""
        return self.low + int(u * (self.high - self.low + 1))

    def check(self, value: Any) -> str | None:
        """Accepts every whole number."""
        return None


@dataclass(frozen=True)
class Choice:
    """One of the given values, with equal probability."""

    values: tuple[Value, ...]

    def draw(self, u: float) -> Value:
        """Returns the value at the fraction ``u``."""
        return self.values[int(u * len(self.values))]

    def check(self, value: Any) -> str | None:
        """Accepts the given values only."""
        return None if value in self.values else f"one of ({', '.join(map(str, self.values))})"


@dataclass(frozen=True)
class Fixed:
    """Not searched: keeps its default unless a recipe or the user sets it.

    Attributes:
        values: the accepted values, or None for any of the default's type.
    """

    values: tuple[Value, ...] | None = None

    def draw(self, u: float) -> Value:
        """Raises: there is nothing to draw from.

        Raises:
            UsageError: always.
        """
        raise UsageError("Expected a hyper-parameter with a distribution to draw from, but this one is fixed.")

    def check(self, value: Any) -> str | None:
        """Accepts the given values only, if any are given."""
        return None if self.values is None else Choice(self.values).check(value)


def hp(default: Value, distribution: Distribution, doc: str) -> Any:
    """Declares one hyper-parameter of a :class:`HyperParams` class.

    Args:
        default: value used when nothing else is said; its type is that of the hyper-parameter.
        distribution: where the search draws from; its ``check`` also validates what a user types.
        doc: one sentence on what it does, with its unit and range.
    """
    return field(default=default, metadata={"distribution": distribution, "doc": doc})


@dataclass_transform(field_specifiers=(hp,), frozen_default=True)
class HyperParams:
    """Base of hyper-parameter declarations; subclasses become frozen dataclasses by themselves.

    Raises:
        PluginError: when a subclass declares a field without :func:`hp`, or a default that its own rules refuse.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True)(cls)
        for item in fields(cls):  # type: ignore[arg-type]
            if "distribution" not in item.metadata:
                raise PluginError(
                    f"Expected every field of {cls.__qualname__} to be declared as '{item.name}: ... = hp(default, "
                    f"distribution, doc)' but '{item.name}' is not."
                )
        try:
            cls.from_dict({name: default for name, (default, _, _) in cls.declarations().items()})
        except UsageError as error:
            raise PluginError(f"The defaults of {cls.__qualname__} break its own rules: {error}") from error

    @classmethod
    def declarations(cls) -> dict[str, tuple[Value, Distribution, str]]:
        """Returns ``{name: (default, distribution, doc)}`` in the order of declaration."""
        declared: tuple[Any, ...] = () if cls is HyperParams else fields(cls)  # type: ignore[arg-type]
        return {item.name: (item.default, item.metadata["distribution"], item.metadata["doc"]) for item in declared}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Builds the hyper-parameters from plain values, the rest at their defaults.

        Raises:
            UsageError: a name is unknown or a value does not fit its declaration.
        """
        declared = cls.declarations()
        clean: dict[str, Value] = {}
        for name, value in values.items():
            if name not in declared:
                raise unknown_choice("a hyper-parameter", name, declared)
            default, distribution, doc = declared[name]
            typed = _as_type_of(default, value)
            expected = _KINDS[type(default)] if typed is None else distribution.check(typed)
            if typed is None or expected is not None:
                raise UsageError(f"Expected '{name}' ({doc}) to be {expected} but got {value!r}.")
            clean[name] = typed
        return cls(**clean)

    def as_dict(self) -> dict[str, Value]:
        """Returns the values in the order of declaration."""
        return {name: getattr(self, name) for name in self.declarations()}


def draw(name: str, distribution: Distribution, seed: int, index: int) -> Value:
    """Draws a hyper-parameter; the value depends on the name, the seed and the configuration's index only.

    Adding a hyper-parameter to a method therefore changes no other draw, and all methods share the same values of the
    parameters that they have in common.

    Args:
        name: the hyper-parameter.
        distribution: where to draw from.
        seed: seed of the whole search.
        index: number of the configuration.

    Raises:
        UsageError: the hyper-parameter is fixed.
    """
    digest = hashlib.sha256(f"{seed}|{index}|{name}".encode()).digest()
    # 53 bits are what a float in [0, 1) holds; no generator whose stream might change one day is involved.
    return distribution.draw((int.from_bytes(digest[:8], "big") >> 11) / 2**53)


_KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


def _check_range(distribution: Distribution, low: float, high: float, *, positive: bool = False) -> None:
    if not low <= high or (positive and low <= 0):
        rule = "0 < low <= high" if positive else "low <= high"
        raise UsageError(f"Expected {rule} for {type(distribution).__name__} but got {low} and {high}.")


def _as_type_of(default: Value, value: Any) -> Value | None:
    """The value in the type of the default, or None where it has another; only numbers are converted."""
    if isinstance(default, float):
        # YAML reads 1e-3 as text; nobody means text by it.
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            number = float(value)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    return value if type(value) is type(default) else None


def _readable(value: float) -> float:
    """Six significant digits: short in tables, and the same whatever the last bit of the platform's logarithm."""
    return float(f"{value:.6g}")
