"""Rows of the tables about pseudo-boxes: thesis Tables 4.1 (quality) and 4.5 (along the funnel)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsol_bench.judge.pseudo_quality import BoxQuality, FunnelQuality


def quality_row(name: str, supervision: str, quality: BoxQuality, replaced: int) -> dict[str, Any]:
    """Returns the row of one set of boxes.

    Args:
        name: the set.
        supervision: what its source has seen.
        quality: agreement with the manual boxes.
        replaced: images whose box came from a fallback.
    """
    return {
        "boxes": name,
        "supervision": supervision,
        "n": quality.n,
        "mean_IoU": quality.mean_iou,
        "CorLoc": quality.corloc,
        "area": quality.mean_area,
        "fallbacks": replaced,
        "empty": quality.zero_boxes,
    }


def funnel_rows(sets: Sequence[tuple[str, FunnelQuality]]) -> list[dict[str, Any]]:
    """Returns one row per stage of the funnel, and a column per set with mean IoU and, in brackets, images without."""
    if not sets:
        return []
    rows: list[dict[str, Any]] = []
    for number, stage in enumerate(sets[0][1].stages):
        row: dict[str, Any] = {"stage": stage.name}
        for name, quality in sets:
            found = quality.stages[number]
            row[name] = f"{found.mean_iou:.2f}" + (f" ({found.excluded} without)" if found.excluded else "")
        rows.append(row)
    pointing = {name: f"{quality.pointing_accuracy:.2f}" for name, quality in sets}
    return [*rows, {"stage": "pointing game of the class map", **pointing}]
