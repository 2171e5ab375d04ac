"""What a dataset is to the rest of the code: images and class labels; ground truth only through the firewall."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.masks import MaskSet
from wsol_bench.datasets.card import Card, read_card
from wsol_bench.errors import DataError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Ids and labels of one split.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        ids: N image ids, unique, in a fixed order.
        labels: ``[N]`` int64 class indices, ``0..C-1``.
    """

    name: str
    ids: tuple[str, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


class Dataset(ABC):
    """Images and class labels of one benchmark dataset.

    Training code receives :class:`~wsol_bench.datasets.packed.PackedSplit` objects made from this class, never boxes.
    Subclasses read their files lazily and raise :class:`~wsol_bench.errors.DataError` with file and line.

    Attributes:
        name: the registered name.
        version: changes whenever a pixel, a label, a split or a box changes.
        class_names: C names, in label order.
        frame: side in pixels of the square to which images are squashed and in which maps are scored.
        root: folder of the files, or None for a generated dataset.
        annotated: whether val and test are expected to have manual boxes or masks. Without any, nothing can be scored,
            but pseudo-boxes still select and methods still draw maps.
        background_classes: labels of classes whose images show no object by definition, as normal tissue shows no
            tumour; pseudo-masks of such images are empty.
        notes: what the reader noticed and mended, one sentence each; of one split, ``<split>: `` comes first.
    """

    name: ClassVar[str]
    version: str
    class_names: tuple[str, ...]
    frame: int
    root: Path | None = None
    annotated: bool = True
    background_classes: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @abstractmethod
    def split(self, name: str) -> Split:
        """Returns ids and labels of ``train``, ``val`` or ``test``."""

    @abstractmethod
    def load_image(self, split: str, index: int) -> NDArray[np.uint8]:
        """Returns one image as ``[H, W, 3]`` RGB uint8 in its original size.

        Raises:
            DataError: the file is missing, truncated or not an image.
        """

    @abstractmethod
    def _read_ground_truth(self, split: str) -> BoxSet:
        """Returns the manual boxes; called only after the firewall agreed."""

    def ground_truth(self, split: str) -> BoxSet:
        """Returns the manual boxes of a split, for the judge only.

        Raises:
            FirewallError: called outside :func:`wsol_bench.annotations.firewall.judging`.
        """
        firewall.read("gt", split)
        return self._read_ground_truth(split)

    def has_ground_truth(self, split: str) -> bool:
        """Whether there are manual boxes of a split at all; asking reads none."""
        return True

    def ground_truth_masks(self, split: str) -> MaskSet:
        """Returns the manual masks of a split, for the judge only.

        Raises:
            FirewallError: called outside :func:`wsol_bench.annotations.firewall.judging`.
            DataError: the dataset has no masks of this split.
        """
        firewall.read("gt", split)
        return self._read_masks(split)

    def has_masks(self, split: str) -> bool:
        """Whether there are manual masks of a split; asking reads none."""
        return False

    def _read_masks(self, split: str) -> MaskSet:
        """Returns the manual masks; called only after the firewall agreed."""
        raise DataError(f"Expected masks of '{split}' but {self.name} has none; fix: score boxes.", self.root)

    def card(self) -> Card | None:
        """Returns what is known of the dataset from its authors; None without a card of its name."""
        return read_card(self.name)

    def image_path(self, split: str, index: int) -> Path | None:
        """Returns the file of an image, or None where images are generated."""
        return None

    def image_sizes(self, split: str, indices: Sequence[int] | None = None) -> NDArray[np.int32]:
        """Returns original widths and heights ``[N, 2]``, of all images of a split or of those at ``indices``.

        The default decodes the images; datasets that know the sizes say so without.

        Raises:
            DataError: an image cannot be decoded.
        """
        chosen = range(len(self.split(split))) if indices is None else indices
        shapes = [self.load_image(split, index).shape for index in chosen]
        return np.asarray([(width, height) for height, width, _ in shapes], dtype=np.int32).reshape(-1, 2)

    def fingerprint(self, split: str) -> str:
        """Returns a hash that changes whenever an id, a label or an image of the split changes.

        Caches of decoded images are keyed by it. The default covers version, ids and labels, which is enough for
        generated images; datasets made of files add what tells whether a file was replaced.
        """
        ids_and_labels = self.split(split)
        digest = hashlib.sha256(f"{self.version}\n".encode())
        digest.update("\n".join(ids_and_labels.ids).encode())
        digest.update(ids_and_labels.labels.tobytes())
        return digest.hexdigest()

    def captions(self, split: str) -> Mapping[str, str]:
        """Returns one sentence per image id, where the dataset has any (empty otherwise)."""
        return {}

    @property
    def num_classes(self) -> int:
        """The number of classes C."""
        return len(self.class_names)
