"""Packs the images of a dataset ahead of time: ``wsol-bench datasets pack``."""

from __future__ import annotations

from typing import Any

from wsol_bench.datasets.base import SPLITS, Dataset
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.datasets.packed import pack
from wsol_bench.errors import DataError
from wsol_bench.training.batches import training_side
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.workspace import Workspace


def pack_splits(
    dataset: Dataset, workspace: Workspace, on_bad_image: OnBadImage, *, screen: Screen
) -> list[dict[str, Any]]:
    """Packs every split that is there, at the side that training and recording will ask for.

    Args:
        dataset: where the images come from.
        workspace: where the packed images go.
        on_bad_image: ``error``, or ``skip`` to leave out images that cannot be decoded.
        screen: progress.

    Returns:
        One row per split: ``split``; ``images`` packed; ``skipped``; ``side`` in pixels; ``megabytes``.

    Raises:
        DataError: an image cannot be decoded (``error``), or none can.
    """
    rows = []
    for name in SPLITS:
        try:
            dataset.split(name)
        except DataError:
            continue
        side = training_side(dataset.frame) if name == "train" else dataset.frame
        with screen.bar(f"packing {name} of {dataset.name} at {side} px") as progress:
            packed = pack(dataset, name, side, cache_dir=workspace.packed, on_bad_image=on_bad_image, progress=progress)
        rows.append(
            {
                "split": name,
                "images": len(packed),
                "skipped": len(packed.skipped),
                "side": side,
                "megabytes": packed.images.nbytes / 1e6,
            }
        )
    return rows
