"""Judges the pseudo-boxes of a workspace against the dataset's manual boxes: thesis Tables 4.1 and 4.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import LOCALIZATION
from wsol_bench.annotations.sources import load_source, named_sources
from wsol_bench.annotators.card import CARD, Card, add_quality, read_card
from wsol_bench.annotators.store import has_trace, read_annotated
from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import DataError, unknown_choice
from wsol_bench.judge.pseudo_quality import BoxQuality, FunnelQuality, box_quality, funnel_quality


@dataclass(frozen=True)
class SetQuality:
    """What the judge says of one set of pseudo-boxes.

    Attributes:
        name: the set.
        folder: where it is.
        card: how it was made; None for a folder without a card.
        boxes: agreement of the boxes with ground truth.
        funnel: agreement along the funnel, where the steps are kept.
    """

    name: str
    folder: Path
    card: Card | None
    boxes: BoxQuality
    funnel: FunnelQuality | None

    @property
    def supervision(self) -> str:
        """What the source of the boxes has seen, as far as the card knows."""
        return "unknown" if self.card is None else self.card.recipe.supervision

    @property
    def replaced(self) -> int:
        """Images whose box came from a fallback."""
        return 0 if self.card is None else self.card.recipe.images - self.card.fallbacks["none"]

    def as_dict(self) -> dict[str, Any]:
        """Returns the values, percentages with two decimals."""
        return {
            **self.boxes.as_dict(),
            **({} if self.funnel is None else {"funnel": self.funnel.as_dict()}),
            "read": "gt",
        }


def judge_boxes(
    dataset: Dataset, split: str, pseudo_root: Path, names: Sequence[str] | None = None
) -> tuple[SetQuality, ...]:
    """Judges sets of pseudo-boxes of one split, and writes what was found into their cards.

    Ground truth is read as a judge reads it, after the boxes were made.

    Args:
        dataset: whose boxes.
        split: ``train``, ``val`` or ``test``.
        pseudo_root: holds ``<dataset>/<name>/<split>``.
        names: sets to judge; all that have this split when None.

    Raises:
        UsageError: a set is unknown.
        DataError: there is no set at all, a file is malformed, or boxes belong to images of other sizes.
    """
    known = {
        name: folder / split
        for name, folder in named_sources(dataset.name, [pseudo_root]).items()
        if (folder / split / LOCALIZATION).exists()
    }
    if not known:
        raise DataError(
            f"Expected pseudo-boxes for '{split}' of {dataset.name} but there are none; fix: 'wsol-bench annotate'.",
            pseudo_root / dataset.name,
        )
    for name in names or ():
        if name not in known:
            raise unknown_choice("pseudo-boxes", name, known)
    with firewall.judging("annotate report"):
        truth = dataset.ground_truth(split)
        return tuple(_judge(dataset, split, name, known[name], truth) for name in names or known)


def _judge(dataset: Dataset, split: str, name: str, folder: Path, truth: BoxSet) -> SetQuality:
    boxes = load_source(dataset, split, name, pseudo_roots=[folder.parents[2]], ids=_covered(folder, truth)).boxes
    if not np.array_equal(boxes.sizes, truth.select(boxes.ids).sizes):
        raise DataError(
            f"Expected boxes in the pixels of {dataset.name} as it was opened but they belong to images of other "
            "sizes; fix: open the dataset with the options with which the boxes were made.",
            folder,
        )
    found = SetQuality(
        name=name,
        folder=folder,
        card=read_card(folder) if (folder / CARD).is_file() else None,
        boxes=box_quality(boxes, truth, dataset.frame),
        funnel=_funnel(folder, truth),
    )
    if found.card is not None:
        add_quality(folder, found.as_dict())
    return found


def _covered(folder: Path, truth: BoxSet) -> tuple[str, ...]:
    """The images with boxes, in the order of ground truth; unreadable ones may have been skipped."""
    listed = set((folder / "image_ids.txt").read_text(encoding="utf-8").splitlines())
    return tuple(image_id for image_id in truth.ids if image_id in listed)


def _funnel(folder: Path, truth: BoxSet) -> FunnelQuality | None:
    if not has_trace(folder):
        return None
    if next(read_annotated(folder)).funnel is None:
        return None
    return funnel_quality(read_annotated(folder), truth)
