"""Boxes, masks or nothing: what a selection scores; light, so that wrong options are found at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import UsageError
from wsol_bench.judge.scores import PX_AP

Scored = Literal["boxes", "masks", "nothing"]
"""What choices are scored against; nothing where there is no ground truth of the test images."""

MAPS: Final = "maps:"
"""How pseudo-masks are called: ``maps:<method>`` or ``maps:<id of a trial>``."""


def what_is_scored(dataset: Dataset, metric: str | None) -> Scored:
    """Tells what is scored: boxes of test, masks where there are no boxes or PxAP is asked for, or nothing.

    Args:
        dataset: the dataset.
        metric: what the user wants to see first, if anything.

    Raises:
        UsageError: PxAP of a dataset without masks, or a metric of boxes without boxes.
    """
    boxes, masks = dataset.has_ground_truth("test"), dataset.has_masks("test")
    if metric == PX_AP and not masks:
        fix = "; fix: another --metric" if boxes else ""
        raise UsageError(f"Expected masks of test for --metric {PX_AP} but '{dataset.name}' has none{fix}.")
    if metric not in (None, PX_AP) and masks and not boxes:
        raise UsageError(
            f"Expected --metric {PX_AP}, because '{dataset.name}' has masks and no boxes, but got '{metric}'; fix: "
            "leave it out."
        )
    if metric is not None and not boxes and not masks:
        raise UsageError(
            f"Expected manual boxes of the test images for --metric {metric} but '{dataset.name}' has none; fix: leave "
            "--metric out."
        )
    if metric == PX_AP or (masks and not boxes):
        return "masks"
    return "boxes" if boxes else "nothing"


def default_source(methods: Sequence[str]) -> str:
    """Returns the pseudo-masks that select unless the user says otherwise: of CAM, else of the first method."""
    return f"{MAPS}{'cam' if 'cam' in methods else methods[0]}"
