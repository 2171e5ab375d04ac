"""Reads a dataset once from end to end and says what is in it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.masks import FOREGROUND, MaskSet
from wsol_bench.datasets.base import SPLITS, Dataset, Split
from wsol_bench.datasets.card import Card, SplitCounts
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.errors import DataError
from wsol_bench.workflow.check_images import ImageFacts, SeenImages, read_images
from wsol_bench.workflow.progress import Screen

Row = dict[str, Any]

_SHOWN = 20


def check(dataset: Dataset, *, screen: Screen, subset: bool = False) -> list[Row]:
    """Decodes every image, reads labels and manual boxes or masks, and counts; all problems are collected.

    Ground truth is read as a judge reads it, and noted in any ledger that is open.

    Args:
        dataset: what to check.
        screen: progress.
        subset: counts other than the official ones are expected, and noted only.

    Returns:
        One row per split that is there: ``split``; ``images``; ``classes`` that occur; ``unreadable`` images;
        ``shared``, images whose pixels are in an earlier split too; ``boxes``; ``masks``, instances; ``several_boxes``,
        the number of images with more than one box or mask; ``mean_area``, the mean share of the image that a box (or
        the union of masks) covers, in percent (None without any); ``full_boxes``, boxes that cover the whole image;
        ``thin_boxes``, one pixel wide or high; ``boxes_usable``, whether the manual boxes or masks could be read (None
        where there are none to read); ``official``, whether the counts are those of the dataset's card (None without a
        card); ``problems`` and ``notes``, lists of sentences.
    """
    rows: list[Row] = []
    seen = SeenImages()
    for name in SPLITS:
        try:
            split = dataset.split(name)
        except DataError:
            continue
        rows.append(_check_split(dataset, split, seen, screen))
    if not rows:
        raise DataError(
            f"Expected at least one of the splits {', '.join(SPLITS)} of '{dataset.name}' but none is there."
        )
    for note in reversed(dataset.notes):
        owner, _, sentence = note.partition(": ")
        place, text = next(((row, sentence) for row in rows if row["split"] == owner), (rows[0], note))
        place["notes"].insert(0, text)
    card = dataset.card()
    if card is not None:
        _compare(card, dataset, rows, "notes" if subset else "problems")
    return rows


def is_sound(rows: Sequence[Row], on_bad_image: OnBadImage = "error", *, subset: bool = False) -> bool:
    """Tells whether a dataset can be used: its images can be read, and the boxes that a judge needs are there.

    Args:
        rows: what :func:`check` returned.
        on_bad_image: with ``skip``, unreadable images do no harm as long as others are left.
        subset: counts other than the official ones do no harm.
    """
    bad_images = any(row["unreadable"] > (0 if on_bad_image == "error" else row["images"] - 1) for row in rows)
    # Pictures that the authors of a dataset left in two splits are theirs; anybody else's are a mistake.
    leaking = any(row["shared"] and row["official"] is None for row in rows)
    unofficial = any(row["official"] is False for row in rows) and not subset
    needed = [row["boxes_usable"] for row in rows if row["split"] != "train"]
    return not bad_images and not leaking and not unofficial and False not in needed


def _check_split(dataset: Dataset, split: Split, seen: SeenImages, screen: Screen) -> Row:
    problems = []
    absent = sorted(set(range(dataset.num_classes)) - set(split.labels.tolist()))
    if absent:
        names = ", ".join(dataset.class_names[label] for label in absent[:3])
        problems.append(f"{len(absent)} of {dataset.num_classes} classes have no image, first {names}")
    with screen.bar(f"reading {split.name} of {dataset.name}") as progress:
        images = read_images(dataset, split, seen, progress)
    problems += [str(error) for error in images.errors[:_SHOWN]]
    if len(images.errors) > _SHOWN:
        problems.append(f"{len(images.errors) - _SHOWN} more images cannot be read")
    if images.shared:
        image_id, other, same = images.shared[0]
        problems.append(f"{len(images.shared)} images are in another split too, first '{image_id}' = {other}: '{same}'")
    facts, problem = _annotation_facts(dataset, split)
    return {
        "split": split.name,
        "images": len(split),
        "classes": len(np.unique(split.labels)),
        "unreadable": len(images.errors),
        "shared": len(images.shared),
        **facts,
        "official": None,
        "problems": problems + problem,
        "notes": _image_notes(dataset, images),
    }


def _annotation_facts(dataset: Dataset, split: Split) -> tuple[Row, list[str]]:
    """Returns the columns about boxes or masks, and what is wrong with them."""
    if not dataset.annotated:
        return _NO_BOXES | {"boxes_usable": None}, []
    if split.name == "train" and not dataset.has_ground_truth("train") and not dataset.has_masks("train"):
        return _NO_BOXES | {"boxes_usable": None}, ["no manual boxes or masks, which training does not need"]
    try:
        with firewall.judging("datasets check"):
            if dataset.has_masks(split.name):
                return _mask_facts(dataset, split, dataset.ground_truth_masks(split.name)), []
            return _box_facts(dataset.ground_truth(split.name)), []
    except DataError as error:
        return _NO_BOXES, [f"no usable manual boxes or masks: {error}"]


_NO_BOXES: Row = {
    "boxes": 0,
    "masks": 0,
    "several_boxes": 0,
    "mean_area": None,
    "full_boxes": 0,
    "thin_boxes": 0,
    "boxes_usable": False,
}


def _box_facts(truth: BoxSet) -> Row:
    counts = np.diff(truth.offsets)
    sides = truth.boxes[:, 2:].astype(np.int64) - truth.boxes[:, :2] + 1
    images = np.repeat(truth.sizes.astype(np.int64), counts, axis=0)
    areas = sides.prod(axis=1) / images.prod(axis=1)
    return {
        "boxes": len(truth.boxes),
        "masks": 0,
        "several_boxes": int((counts > 1).sum()),
        "mean_area": 100.0 * float(areas.mean()) if len(areas) else None,
        "full_boxes": int((sides == images).all(axis=1).sum()),
        "thin_boxes": int((sides == 1).any(axis=1).sum()),
        "boxes_usable": bool((counts > 0).all()),
    }


def _mask_facts(dataset: Dataset, split: Split, truth: MaskSet) -> Row:
    """Draws every mask once, in the frame in which maps are scored.

    Raises:
        DataError: a mask is missing or damaged, or an image names masks that hold no object.
    """
    areas = np.empty(len(truth))
    for index in range(len(truth)):
        areas[index] = (truth.draw(index, dataset.frame, dataset.frame) == FOREGROUND).mean()
    empty = np.flatnonzero((areas == 0) & (truth.counts > 0))
    if len(empty):
        raise DataError(
            f"Expected an object in the masks of each image but those of {len(empty)} images are empty, first "
            f"'{split.ids[int(empty[0])]}'."
        )
    return _NO_BOXES | {
        "masks": int(truth.counts.sum()),
        "several_boxes": int((truth.counts > 1).sum()),
        "mean_area": 100.0 * float(areas.mean()),
        "boxes_usable": True,
    }


def _image_notes(dataset: Dataset, images: ImageFacts) -> list[str]:
    notes = []
    other = [f"{count} {mode}" for mode, count in sorted(images.modes.items()) if mode != "RGB"]
    if other:
        notes.append(f"converted to RGB: {', '.join(other)} (L is grey, P palette)")
    if images.turned:
        done = "which is applied" if getattr(dataset, "exif", "ignore") == "apply" else "which is not applied"
        notes.append(f"{images.turned} images carry an EXIF rotation, {done}; boxes must be drawn accordingly")
    if images.repeated:
        image_id, same = images.repeated[0]
        notes.append(f"{len(images.repeated)} images repeat another of this split, first '{image_id}' = '{same}'")
    return notes


def _compare(card: Card, dataset: Dataset, rows: list[Row], place: str) -> None:
    """Compares all rows with the card, and adds what differs to ``problems`` or ``notes``."""
    by_split = {row["split"]: row for row in rows}
    for row in rows:
        labels = dataset.split(row["split"]).labels
        per_class = np.bincount(labels, minlength=dataset.num_classes)
        found = row | {"per_class": (int(per_class.min()), int(per_class.max()))}
        counts = card.splits.get(row["split"])
        differences = [] if counts is None else _differences(counts, found)
        if dataset.num_classes != card.classes:
            differences.append(f"{card.classes} classes but got {dataset.num_classes}")
        row[place] += [f"expected {difference}, by the card of {card.name}" for difference in differences]
        row["official"] = not differences
    both = card.splits.get("train+val")
    if both is not None and {"train", "val"} <= set(by_split):
        train, val = by_split["train"], by_split["val"]
        total = {key: train[key] + val[key] for key in ("images", "boxes", "masks", "several_boxes")}
        differences = _differences(both, total | {"boxes_usable": train["boxes_usable"] and val["boxes_usable"]})
        train[place] += [f"expected {one} of train and val, by the card of {card.name}" for one in differences]
        train["official"] = train["official"] and not differences


def _differences(counts: SplitCounts, found: Row) -> list[str]:
    differences = []
    if counts.images and found["images"] not in counts.images:
        differences.append(f"{' or '.join(map(str, counts.images))} images but got {found['images']}")
    if counts.per_class is not None and found.get("per_class", counts.per_class) != counts.per_class:
        differences.append(f"{_span(counts.per_class)} images of each class but got {_span(found['per_class'])}")
    # Boxes that could not be read are a problem of their own.
    for what, key, number in (
        ("boxes", "boxes", counts.boxes),
        ("masks", "masks", counts.masks),
        ("images with several of them", "several_boxes", counts.several),
    ):
        if number is not None and found["boxes_usable"] and found[key] != number:
            differences.append(f"{number} {what} but got {found[key]}")
    return differences


def _span(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
