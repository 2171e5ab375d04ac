"""The `critters` dataset: images, labels and captions for everybody, boxes, masks and parts for the judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.masks import MaskArrays, MaskSet
from wsol_bench.datasets.base import SPLITS, Dataset, Split
from wsol_bench.datasets.critters.anatomy import PART_NAMES
from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.marks import SPECIES
from wsol_bench.datasets.critters.scene import Picture, Scene
from wsol_bench.errors import UsageError, unknown_choice

Box = tuple[int, int, int, int]

REVISION = 1
"""Part of the dataset's version: goes up whenever a pixel, a label, a caption or a box changes."""

MIN_SIZE, MAX_SIZE = 64, 224
_COUNTS = {"train": 1200, "val": 200, "test": 400}
_CACHE_BYTES = 256 * 2**20
# Labels are drawn by streams that no picture uses: pictures have four numbers in their keys.
_LABELS = 101


class Critters(Dataset):
    """Pictures of one critter each, among things that resemble its parts, on ten kinds of ground.

    The class is decided by a small mark on the head (its kind and its colour together); build, size, coat and place
    are independent of it. A classifier needs the mark only, so its map under-covers the critter: the problem of weakly
    supervised localization. Everything follows from the seed by exact arithmetic: the same pixels on every machine.
    An image depends on ``(seed, split, index)`` and ``size`` only, and shows the same scene at every size.

    Pictures are made when first asked for and kept in memory, up to a quarter of a GiB.

    Args:
        size: side of the pictures in pixels, 64 to 224; also the frame in which maps are scored.
        seed: non-negative; another seed makes another dataset.
        train: number of training pictures.
        val: number of validation pictures.
        test: number of test pictures.

    Raises:
        UsageError: an argument is out of range.
    """

    name = "critters"

    def __init__(
        self,
        size: int = 64,
        seed: int = 0,
        train: int = _COUNTS["train"],
        val: int = _COUNTS["val"],
        test: int = _COUNTS["test"],
    ) -> None:
        self.frame = _checked("size", size, MIN_SIZE, MAX_SIZE)
        self.seed = _checked("seed", seed, 0, 2**32 - 1)
        self.class_names = tuple(f"{species.adjective} critter" for species in SPECIES)
        counts = {"train": train, "val": val, "test": test}
        self._counts = {name: _checked(name, count, 1, 10**7) for name, count in counts.items()}
        given = {"seed": seed} if seed else {}
        given |= {name: count for name, count in counts.items() if count != _COUNTS[name]}
        self.version = "+".join([f"critters-{size}@{REVISION}", *(f"{key}={value}" for key, value in given.items())])
        self._splits: dict[str, Split] = {}
        self._pictures: dict[tuple[str, int], Picture] = {}
        self._cached_bytes = 0

    @classmethod
    def from_spec(cls, options: Mapping[str, Any]) -> Critters:
        """Builds the dataset from options as the command line gives them (``{"size": "224", "seed": "3"}``).

        Raises:
            UsageError: an option is unknown, not a whole number, or out of range.
        """
        known = ("size", "seed", *SPLITS)
        numbers: dict[str, int] = {}
        for option, value in options.items():
            if option not in known:
                raise unknown_choice("an option of the dataset 'critters'", option, known)
            try:
                numbers[option] = int(str(value))
            except ValueError:
                raise UsageError(
                    f"Expected critters option '{option}' to be a whole number but got '{value}'; "
                    "fix: give digits, for instance size=128."
                ) from None
        return cls(**numbers)

    def split(self, name: str) -> Split:
        """Returns ids (``val/00012.png``) and labels, balanced over the classes within every ten pictures.

        Raises:
            UsageError: the split is not ``train``, ``val`` or ``test``.
        """
        if name not in SPLITS:
            raise unknown_choice("a split of 'critters'", name, SPLITS)
        if name not in self._splits:
            count = self._counts[name]
            labels: list[int] = []
            while len(labels) < count:
                block = len(labels) // self.num_classes
                labels += Draws(self.seed, SPLITS.index(name), block, 0, _LABELS).shuffled(range(self.num_classes))
            ids = tuple(f"{name}/{index:05d}.png" for index in range(count))
            self._splits[name] = Split(name, ids, np.asarray(labels[:count], np.int64))
        return self._splits[name]

    def load_image(self, split: str, index: int) -> NDArray[np.uint8]:
        """Returns one picture as ``[size, size, 3]`` RGB uint8, made on the spot; the caller may write into it.

        Raises:
            UsageError: there is no such split or index.
        """
        return self._picture(split, index).image.copy()

    def captions(self, split: str) -> Mapping[str, str]:
        """Returns a true sentence per image id: class, coat, build and ground; nothing about place or size."""
        part = self.split(split)
        return {image_id: self._scene(split, index).caption() for index, image_id in enumerate(part.ids)}

    def has_masks(self, split: str) -> bool:
        """There are: a pixel is object where the critter covers at least half of it and can be seen."""
        return True

    def _read_masks(self, split: str) -> MaskSet:
        masks = np.stack([(owner > 0).astype(np.uint8) for owner in self._owners(split)])
        return MaskArrays(self.split(split).ids, masks)

    def part_boxes(self, split: str) -> Mapping[str, Mapping[str, Box]]:
        """Returns the box ``x0, y0, x1, y1`` (inclusive) of every visible part, by image id and part name.

        Names are those of ``anatomy.PART_NAMES``; a part that cannot be seen is missing. ``mark`` is the small part
        that decides the class.

        Raises:
            FirewallError: called outside :func:`wsol_bench.annotations.firewall.judging`.
        """
        firewall.read("gt", split)
        boxes: dict[str, Mapping[str, Box]] = {}
        for image_id, owner in zip(self.split(split).ids, self._owners(split), strict=True):
            seen = np.flatnonzero(np.bincount(owner.ravel(), minlength=len(PART_NAMES) + 1)[1:])
            boxes[image_id] = {PART_NAMES[part]: _tight(owner == part + 1) for part in seen}
        return boxes

    def _read_ground_truth(self, split: str) -> BoxSet:
        ids = self.split(split).ids
        boxes = {image_id: [_tight(owner > 0)] for image_id, owner in zip(ids, self._owners(split), strict=True)}
        return BoxSet.from_mapping(boxes, dict.fromkeys(ids, (self.frame, self.frame)))

    def __getstate__(self) -> dict[str, Any]:
        # A worker process makes its own pictures faster than it would receive these.
        return vars(self) | {"_pictures": {}, "_cached_bytes": 0}

    def _owners(self, split: str) -> list[NDArray[np.uint8]]:
        return [self._picture(split, index).owner for index in range(len(self.split(split)))]

    def _scene(self, split: str, index: int) -> Scene:
        label = int(self.split(split).labels[index])
        return Scene.compose((self.seed, SPLITS.index(split), index), label)

    def _picture(self, split: str, index: int) -> Picture:
        picture = self._pictures.get((split, index))
        if picture is None:
            count = len(self.split(split))
            if not 0 <= index < count:
                raise UsageError(f"Expected an index of '{split}' between 0 and {count - 1} but got {index}.")
            picture = self._scene(split, index).render(self.frame)
            size = picture.image.nbytes + picture.owner.nbytes
            if self._cached_bytes + size <= _CACHE_BYTES:
                self._pictures[split, index] = picture
                self._cached_bytes += size
        return picture


def _checked(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(
            f"Expected critters option '{name}' to be a whole number from {low} to {high} but got {value!r}."
        )
    return value


def _tight(mask: NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
