"""What happens to maps that are not as they should be: each kind has one outcome, is counted, and is shown.

====================  ==============================================================================================
``not_finite``        NaN becomes 0, +inf 1, -inf 0.
``out_of_range``      Stretched to [0, 1] by its own minimum and maximum, after resizing.
``resized``           Another size than the frame: resized, bilinear with half-pixel centres, no antialiasing.
``constant``          Scored as it is: the whole frame where it is above zero, no box where it is zero.
``missing``           No map for an image: scored as zeros, a miss; leaving out images raises no score.
``duplicate``         Several maps for an image: the first one counts (``.npy`` before Parquet, then by name and row).
``extra``             A map whose id the metadata do not list: ignored.
``not_scored``        Images of shards that were not merged: left out of ``n``.
====================  ==============================================================================================

In strict mode each of them is an error. Maps that cannot be read at all (truncated files, other ranks than two,
integers other than uint8) are errors always.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import DataError
from wsol_bench.maps.normalise import clean, min_max, resize_map

Issue = Literal["not_finite", "out_of_range", "resized", "constant", "missing", "duplicate", "extra", "not_scored"]

MEANING: dict[Issue, str] = {
    "not_finite": "held NaN or infinity: NaN and -inf taken as 0, +inf as 1",
    "out_of_range": "left [0, 1]: stretched by their own minimum and maximum",
    "resized": "had another size: resized to the frame, bilinear",
    "constant": "had one value everywhere: scored as they are",
    "missing": "not found: scored as empty, a miss",
    "duplicate": "found more than once: the first one counts",
    "extra": "belong to no image of the metadata: ignored",
    "not_scored": "in shards that were not merged: left out",
}

_EXAMPLES = 3
_HALF_ONE = 0x3C00


@dataclass
class IssueLog:
    """Counts issues and keeps a few examples of each.

    Attributes:
        strict: the first issue raises instead of being counted.
        counts: number of images (or maps) per kind.
        examples: the first ids of each kind.
    """

    strict: bool = False
    counts: dict[Issue, int] = field(default_factory=dict)
    examples: dict[Issue, list[str]] = field(default_factory=dict)

    def note(self, issue: Issue, example: str, count: int = 1) -> None:
        """Counts an issue.

        Raises:
            DataError: strict mode is on.
        """
        if self.strict:
            more = f" (and {count - 1} more)" if count > 1 else ""
            raise DataError(
                f"Expected faultless maps because strict mode is on, but got '{issue}' for {example}{more}: such maps "
                f"{MEANING[issue]}. Fix: mend the map, or leave out --strict."
            )
        self.counts[issue] = self.counts.get(issue, 0) + count
        kept = self.examples.setdefault(issue, [])
        if len(kept) < _EXAMPLES:
            kept.append(example)

    def add(self, counts: dict[Issue, int], examples: dict[Issue, list[str]]) -> None:
        """Adds the counts of another log."""
        for issue, count in counts.items():
            self.counts[issue] = self.counts.get(issue, 0) + count
            kept = self.examples.setdefault(issue, [])
            kept.extend(examples.get(issue, [])[: _EXAMPLES - len(kept)])

    def lines(self) -> list[str]:
        """Returns one line for people per kind that occurred."""
        return [
            f"{count} map{'s' if count > 1 else ''} {MEANING[issue]} (e.g. {self.examples[issue][0]})"
            for issue, count in self.counts.items()
        ]


def prepare_map(raw: NDArray[Any], frame: int, where: str) -> tuple[NDArray[Any], list[Issue]]:
    """Turns a map as somebody stored it into one that can be scored.

    Args:
        raw: ``[H, W]``, any float type, uint8 (255 stands for 1) or bool.
        frame: side of the square in which maps are scored.
        where: what to call the map in errors.

    Returns:
        The map ``[frame, frame]``, float with values in [0, 1] or uint8, and its issues.

    Raises:
        DataError: another rank or type, or no pixel.
    """
    values = _supported(raw, where)
    issues: list[Issue] = []
    stretch = False
    low, high = _range(values)
    if not (low >= 0 and high <= _top(values)):
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            issues.append("not_finite")
            values = clean(values)
            low, high = float(values.min()), float(values.max())
        stretch = not (low >= 0 and high <= 1)
        if stretch:
            issues.append("out_of_range")
    if low == high:
        issues.append("constant")
    if values.shape != (frame, frame):
        issues.append("resized")
        values = resize_map(values / 255 if values.dtype == np.uint8 else values, (frame, frame))
        # Interpolation of values in [0, 1] may end a rounding error outside.
        values = values if stretch else np.clip(values, 0, 1)
    return (min_max(values) if stretch else values), issues


def as_scores(maps: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """Returns prepared maps as one float64 array ``[N, frame, frame]`` with values in [0, 1]."""
    return np.stack([values / 255.0 if values.dtype == np.uint8 else values.astype(np.float64) for values in maps])


def _supported(raw: NDArray[Any], where: str) -> NDArray[Any]:
    if raw.ndim != 2 or raw.size == 0:
        raise DataError(
            f"Expected {where} to hold one map of shape [height, width] but got shape {list(raw.shape)}; fix: save the "
            "map of one class without batch and channel axes."
        )
    if raw.dtype == np.bool_:
        return raw.astype(np.uint8) * np.uint8(255)
    if raw.dtype == np.uint8 or raw.dtype.kind == "f":
        native = (
            raw.astype(np.float64) if raw.dtype.itemsize > 8 else raw.astype(raw.dtype.newbyteorder("="), copy=False)
        )
        return np.ascontiguousarray(native)
    raise DataError(
        f"Expected {where} to hold floats in [0, 1] or uint8 but got {raw.dtype}; fix: save the map as float16, "
        "float32 or uint8."
    )


def _range(values: NDArray[Any]) -> tuple[float, float]:
    if values.dtype == np.float16:
        # NumPy converts half floats one by one; in [0, 1] their bits are ordered like the numbers themselves.
        bits = values.view(np.uint16)
        if bits.max() <= _HALF_ONE:
            return float(bits.min().view(np.float16)), float(bits.max().view(np.float16))
        values = values.astype(np.float32)
    return float(values.min()), float(values.max())


def _top(values: NDArray[Any]) -> float:
    return 255.0 if values.dtype == np.uint8 else 1.0
