"""Boxes of a set of images, in original pixels and in the square frame where maps are scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import DataError


@dataclass(frozen=True, eq=False)
class BoxSet:
    """Boxes of N images, several per image allowed, stored ragged.

    Attributes:
        ids: N image ids, in order.
        boxes: ``[M, 4]`` int32, ``x0, y0, x1, y1`` with inclusive corners, in original pixels.
        offsets: ``[N + 1]`` int64; the boxes of image ``i`` are ``boxes[offsets[i]:offsets[i + 1]]``.
        sizes: ``[N, 2]`` int32, original width and height of each image.

    Raises:
        DataError: the shapes do not fit together.
    """

    ids: tuple[str, ...]
    boxes: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]

    def __post_init__(self) -> None:
        shapes = (self.boxes.shape, self.offsets.shape, self.sizes.shape)
        n, m = len(self.ids), len(self.boxes)
        ends = (int(self.offsets[0]), int(self.offsets[-1])) if self.offsets.size else ()
        if shapes != ((m, 4), (n + 1,), (n, 2)) or ends != (0, m) or (np.diff(self.offsets) < 0).any():
            raise DataError(
                f"Expected boxes [{m}, 4], offsets [{n + 1}] rising from 0 to {m} and sizes [{n}, 2] for {n} ids but "
                f"got {list(shapes[0])}, {list(shapes[1])} (from {ends}) and {list(shapes[2])}."
            )

    @classmethod
    def from_mapping(cls, boxes: Mapping[str, Sequence[Sequence[int]]], sizes: Mapping[str, tuple[int, int]]) -> BoxSet:
        """Builds a set, in the order of ``boxes``.

        Args:
            boxes: ``{id: [(x0, y0, x1, y1), ...]}``, inclusive corners in original pixels.
            sizes: ``{id: (width, height)}``.
        """
        ids = tuple(boxes)
        counts = [len(boxes[image_id]) for image_id in ids]
        flat = [tuple(box) for image_id in ids for box in boxes[image_id]]
        return cls(
            ids=ids,
            boxes=np.asarray(flat, dtype=np.int32).reshape(-1, 4),
            offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
            sizes=np.asarray([sizes[image_id] for image_id in ids], dtype=np.int32).reshape(-1, 2),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, index: int) -> NDArray[np.int32]:
        """Returns the ``[k, 4]`` boxes of the image at ``index``."""
        return self.boxes[self.offsets[index] : self.offsets[index + 1]]

    def select(self, ids: Iterable[str]) -> BoxSet:
        """Returns the boxes of ``ids``, in that order.

        Raises:
            DataError: an id has no entry in this set.
        """
        wanted = tuple(ids)
        if wanted == self.ids:
            return self
        index = {image_id: i for i, image_id in enumerate(self.ids)}
        missing = [image_id for image_id in wanted if image_id not in index]
        if missing:
            raise DataError(
                f"Expected a box for each of {len(wanted)} images but {len(missing)} have none, first '{missing[0]}'."
            )
        rows = [index[image_id] for image_id in wanted]
        parts = [self.of(row) for row in rows]
        counts = [len(part) for part in parts]
        return BoxSet(
            ids=wanted,
            boxes=np.concatenate(parts).astype(np.int32) if parts else np.zeros((0, 4), np.int32),
            offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
            sizes=self.sizes[rows],
        )

    def in_frame(self, width: int, height: int) -> NDArray[np.int32]:
        """Returns all boxes ``[M, 4]`` scaled to a ``width x height`` frame.

        Each coordinate becomes ``int(x * width / w)``: float product, then truncation, as the reference evaluator
        does (metrics spec, section 4).
        """
        counts = np.diff(self.offsets)
        scale_from = np.repeat(self.sizes.astype(np.float64), counts, axis=0)
        scaled = self.boxes.astype(np.float64)
        scaled[:, 0::2] = scaled[:, 0::2] * width / scale_from[:, :1]
        scaled[:, 1::2] = scaled[:, 1::2] * height / scale_from[:, 1:]
        return scaled.astype(np.int32)
