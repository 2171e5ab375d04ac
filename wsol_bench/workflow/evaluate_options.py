"""Options of the evaluation as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.maps.dialects import get_dialect
from wsol_bench.maps.thresholds import level_taus, tau_grid
from wsol_bench.metrics.box_acc import Contours

ContourChoice = Literal["largest", "all", "both"]

DEFAULT_TAU_STEP = 0.001

_CONTOURS: dict[str, tuple[Contours, ...]] = {
    "largest": ("largest",),
    "all": ("all",),
    "both": ("largest", "all"),
}


def parse_taus(tau_step: float | str | None, dialect: str = "choe2020") -> tuple[float, ...]:
    """Returns the thresholds of a step (a number, or text of one), of ``levels``, or None: the dialect's own.

    Raises:
        UsageError: none of these, or an unknown dialect.
    """
    published = get_dialect(dialect).taus
    if tau_step is None and published:
        return published
    tau_step = DEFAULT_TAU_STEP if tau_step is None else tau_step
    if tau_step == "levels":
        return tuple(level_taus().tolist())
    try:
        step = float(tau_step)
    except ValueError as error:
        raise UsageError(f"Expected --tau-step to be a number or 'levels' but got '{tau_step}'.") from error
    return tuple(tau_grid(step).tolist())


def parse_iou_thresholds(iou: Sequence[float]) -> tuple[float, ...]:
    """Returns IoU thresholds as shares; values above 1 are percentages.

    Raises:
        UsageError: none, or one outside (0, 100], or one twice.
    """
    shares = tuple(value / 100 if value > 1 else float(value) for value in iou)
    if not shares or not all(0 < share <= 1 for share in shares) or len(set(shares)) < len(shares):
        raise UsageError(f"Expected different IoU thresholds like 0.3 0.5 0.7 (or 30 50 70) but got {list(iou)}.")
    return shares


def parse_shard(shard: str | None, count: int) -> range:
    """Returns the positions of shard ``k/n``: the k-th of n contiguous parts of ``count`` images.

    Raises:
        UsageError: not of that form, or more shards than images.
    """
    if shard is None:
        return range(count)
    k, _, n = shard.partition("/")
    if not (k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise UsageError(f"Expected --shard to be like 2/4 (the second of four) but got '{shard}'.")
    if int(n) > count:
        raise UsageError(f"Expected at most {count} shards, one per image, but got {n}.")
    return range((int(k) - 1) * count // int(n), int(k) * count // int(n))


def parse_contours(contours: str) -> tuple[Contours, ...]:
    """Returns the contour modes of ``largest``, ``all`` or ``both``.

    Raises:
        UsageError: another word.
    """
    if contours not in _CONTOURS:
        raise unknown_choice("--contours", contours, _CONTOURS)
    return _CONTOURS[contours]
