"""Base of datasets that are images and class labels only: nothing to score against, but enough to train and select."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.datasets.card import Card
from wsol_bench.datasets.hold_out import by_digest
from wsol_bench.datasets.listed import ListedDataset, Listing
from wsol_bench.errors import DataError, UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
"""Files with these endings are images where a folder is searched for them."""


class UnannotatedDataset(ListedDataset):
    """Images and class labels without any boxes or masks."""

    annotated = False

    def _at(self, root: Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError("Expected the folder of the images but it does not exist; fix: check --root.", self.root)

    def card(self) -> Card | None:
        """None: whatever it is called, it is somebody's own."""
        return None

    def has_ground_truth(self, split: str) -> bool:
        """Never: there are no boxes."""
        return False

    def _read_ground_truth(self, split: str) -> BoxSet:
        raise DataError(
            f"Expected manual boxes of '{split}' but this dataset is images and labels only: training, maps and "
            "pseudo-boxes need no more, but nothing can be scored. Fix: give boxes in COCO's format (-d coco) or as "
            "four files (-d folder).",
            self.root,
        )


def split_by_digest(labels: Mapping[str, int], val: float, test: float) -> dict[str, Listing]:
    """Splits ``{id: label}`` class by class: shares for val and test, the rest is train.

    The choice follows the SHA-256 of the ids: the same everywhere, without a seed.

    Args:
        labels: all images.
        val: share of each class for val, at least one image.
        test: share of each class for test, at least one image; 0 for no test.

    Raises:
        UsageError: a share is not in [0, 1), or they leave nothing to train on.
        DataError: a class has too few images.
    """
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise UsageError(f"Expected shares val and test with 0 < val, 0 <= test, val + test < 1 but got {val}, {test}.")
    by_class: dict[int, list[str]] = {}
    for image_id, label in labels.items():
        by_class.setdefault(label, []).append(image_id)
    part: dict[str, str] = {}
    least = 3 if test else 2
    for ids in by_class.values():
        if len(ids) < least:
            raise DataError(
                f"Expected at least {least} images of each class, to share them out, but the class of '{ids[0]}' has "
                f"{len(ids)}; fix: add images or state the splits yourself."
            )
        ordered = by_digest(ids)
        to_val = max(1, round(val * len(ids)))
        to_test = max(1, round(test * len(ids))) if test else 0
        part.update(dict.fromkeys(ordered, "train"))
        part.update(dict.fromkeys(ordered[to_val : to_val + to_test], "test"))
        part.update(dict.fromkeys(ordered[:to_val], "val"))
    names = ("train", "val", "test") if test else ("train", "val")
    return {name: Listing.of({i: label for i, label in labels.items() if part[i] == name}) for name in names}
