"""The card of a set of pseudo-boxes: what made it, from what, with what supervision, and how good it is."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

import wsol_bench
from wsol_bench.annotations.four_file import LOCALIZATION, SIZES
from wsol_bench.annotators.base import AnnotatedImage, Annotator, Fallback
from wsol_bench.atomic import write_text
from wsol_bench.errors import DataError

CARD = "card.yaml"


class Recipe(BaseModel):
    """Everything that determines the boxes; equal recipes give equal boxes.

    Attributes:
        annotator: registered name.
        annotator_version: version of the annotator's code.
        supervision: what the box source has seen beyond class labels.
        options: the annotator's options.
        weights: sha256 by name of weights that the annotator loaded.
        classifier: identity of the classifier that scored boxes, or None.
        dataset: name of the dataset.
        dataset_version: version of its content.
        split: annotated split.
        images: number of images.
        ids_sha256: hash of ids and class labels, in order.
        frame: side in pixels of the square in which boxes were made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    annotator: str
    annotator_version: str
    supervision: str
    options: dict[str, Any]
    weights: dict[str, str]
    classifier: str | None
    dataset: str
    dataset_version: str
    split: str
    images: int
    ids_sha256: str
    frame: int

    @classmethod
    def of(
        cls,
        annotator: Annotator,
        *,
        dataset: str,
        dataset_version: str,
        split: str,
        ids: tuple[str, ...],
        labels: NDArray[np.int64],
        frame: int,
    ) -> Recipe:
        """Builds the recipe of an annotator at work on the images ``ids`` with class ``labels`` ``[N]``."""
        classifier = annotator.context.classifier
        return cls(
            annotator=annotator.name,
            annotator_version=annotator.version,
            supervision=annotator.supervised_by(),
            options=annotator.options.model_dump(mode="json"),
            weights=annotator.weights(),
            classifier=None if classifier is None else classifier.identity,
            dataset=dataset,
            dataset_version=dataset_version,
            split=split,
            images=len(ids),
            ids_sha256=ids_sha256(ids, labels),
            frame=frame,
        )


class Card(BaseModel):
    """What ``card.yaml`` holds.

    Attributes:
        recipe: what determines the boxes.
        boxes_per_image: mean number of boxes proposed, cleaned, in the pool, in the best share, and left after the
            pointing game; empty for annotators without a funnel.
        keep_rates: share of boxes kept by each of those steps.
        fallbacks: images per fallback, those that needed none included.
        no_peak: images whose class map had no maximum.
        localization_sha256: hash of ``localization.txt`` and ``image_sizes.txt``.
        made_with: version of wsol-bench.
        quality: comparison with ground truth, once the judge made one.
        notes: what a reader of boxes that were not made here must know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    boxes_per_image: dict[str, float]
    keep_rates: dict[str, float]
    fallbacks: dict[str, int]
    no_peak: int
    localization_sha256: str
    made_with: str
    quality: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        localization_sha256: str,
        *,
        fallbacks: dict[str, int],
        boxes_per_image: dict[str, float] | None = None,
        keep_rates: dict[str, float] | None = None,
        no_peak: int = 0,
        notes: tuple[str, ...] = (),
    ) -> Card:
        """Returns a card of this version of wsol-bench."""
        return cls(
            recipe=recipe,
            boxes_per_image=boxes_per_image or {},
            keep_rates=keep_rates or {},
            fallbacks=fallbacks,
            no_peak=no_peak,
            localization_sha256=localization_sha256,
            made_with=f"wsol-bench {wsol_bench.__version__}",
            notes=notes,
        )

    def as_yaml(self) -> str:
        """Returns the text of the file; equal cards give equal text."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def read_card(folder: Path) -> Card:
    """Reads the card of a folder of pseudo-boxes.

    Raises:
        DataError: there is no card, or it is malformed.
    """
    path = folder / CARD
    try:
        return Card(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError("Expected a card beside the pseudo-boxes but there is none.", path) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"Expected the card of an annotator but got something else: {reason}", path) from error


def problem_with(folder: Path, expected: Mapping[str, Any] | None = None) -> str | None:
    """Says why a folder cannot stand for the pseudo-boxes that are wanted, or returns None when it can.

    Args:
        folder: ``<pseudo_root>/<dataset>/<annotator>/<split>``.
        expected: fields of :class:`Recipe` that must have these values (``{"dataset_version": "2"}``, or the whole
            ``recipe.model_dump()``); others are free.
    """
    try:
        card = read_card(folder)
        found = card.recipe.model_dump()
        for name, value in (expected or {}).items():
            if found[name] != value:
                return f"made with {name} {found[name]!r}, not {value!r}"
        if card.localization_sha256 != boxes_sha256(folder):
            return f"{LOCALIZATION} was changed after it was made"
    except DataError as error:
        return str(error)
    return None


def add_quality(folder: Path, quality: Mapping[str, Any]) -> Card:
    """Writes a comparison with ground truth (made by the judge) into the card, and returns the new card.

    Raises:
        DataError: there is no card, or it is malformed.
    """
    card = read_card(folder).model_copy(update={"quality": dict(quality)})
    write_text(folder / CARD, card.as_yaml())
    return card


def ids_sha256(ids: Sequence[str], labels: NDArray[np.int64]) -> str:
    """Returns the hash of image ids and class labels ``[N]``, in order."""
    lines = "".join(f"{image_id},{label}\n" for image_id, label in zip(ids, labels.tolist(), strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def boxes_sha256(folder: Path) -> str:
    """Returns the hash of ``localization.txt`` and ``image_sizes.txt``.

    Raises:
        DataError: one of the files cannot be read.
    """
    try:
        return hashlib.sha256(b"\n".join((folder / name).read_bytes() for name in (LOCALIZATION, SIZES))).hexdigest()
    except OSError as error:
        raise DataError(f"Expected the files of the four-file format but got: {error.strerror}.", folder) from error


@dataclass
class Statistics:
    """Accumulates what the card says about the steps of the funnel, image by image."""

    images: int = 0
    no_peak: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)

    def update(self, annotated: Iterable[AnnotatedImage]) -> None:
        """Adds images."""
        for image in annotated:
            self.images += 1
            self.fallbacks[image.fallback.value] += 1
            if image.funnel is not None:
                self.no_peak += image.funnel.peak is None
                self.boxes["proposed"] += image.funnel.proposed
                self.boxes["cleaned"] += image.funnel.cleaned
                self.boxes["pool"] += len(image.funnel.boxes)
                self.boxes["top"] += int(image.funnel.top.sum())
                self.boxes["survivors"] += int(image.funnel.survivors.sum())

    def card(self, recipe: Recipe, localization_sha256: str) -> Card:
        """Returns the card of the images added so far."""
        steps = list(self.boxes)
        return Card.of(
            recipe,
            localization_sha256,
            boxes_per_image={step: round(self.boxes[step] / self.images, 3) for step in steps},
            keep_rates={
                after: round(self.boxes[after] / max(self.boxes[before], 1), 4)
                for before, after in itertools.pairwise(steps)
            },
            fallbacks={kind.value: self.fallbacks[kind.value] for kind in Fallback},
            no_peak=self.no_peak,
        )
