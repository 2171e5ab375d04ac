"""Masks written as polygons or run lengths in COCO's format; needs pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.masks import FOREGROUND, IGNORE, MaskSet
from wsol_bench.datasets.coco_file import CocoObject
from wsol_bench.errors import DataError


class CocoMasks(MaskSet):
    """Masks of N images. Crowd regions are ignored; a pixel that is object as well is object.

    Args:
        path: the annotation file, for errors.
        ids: N image ids.
        sizes: ``[N, 2]`` width and height in which the masks are drawn.
        objects: instances and crowd regions of each image.
    """

    def __init__(
        self, path: Path, ids: tuple[str, ...], sizes: NDArray[np.int32], objects: Sequence[Sequence[CocoObject]]
    ) -> None:
        self.ids = ids
        self.counts = np.array([sum(not one.crowd for one in of_image) for of_image in objects], dtype=np.int64)
        self.has_ignore = np.array([any(one.crowd for one in of_image) for of_image in objects], dtype=np.bool_)
        self._path = path
        self._sizes = sizes
        self._objects = objects

    def draw(self, index: int, width: int, height: int) -> NDArray[np.uint8]:
        """Returns ``[height, width]`` uint8, see :meth:`MaskSet.draw`."""
        import cv2

        own_width, own_height = self._sizes[index].tolist()
        drawn = np.zeros((own_height, own_width), dtype=np.uint8)
        for crowd, value in ((True, IGNORE), (False, FOREGROUND)):
            for one in self._objects[index]:
                if one.crowd == crowd:
                    drawn[decode(one, own_width, own_height, self._path)] = value
        if (own_width, own_height) == (width, height):
            return drawn
        return np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def decode(one: CocoObject, width: int, height: int, path: Path) -> NDArray[np.bool_]:
    """Returns the pixels of an object, ``[height, width]`` bool.

    Args:
        one: the object.
        width: of its image.
        height: of its image.
        path: the annotation file, for errors.

    Raises:
        DataError: the segmentation is missing, malformed, or of another size than the image.
    """
    from pycocotools import mask as coco

    try:
        runs = coco.merge(_runs(coco, one, width, height))
        decoded: NDArray[np.bool_] = coco.decode(runs).astype(np.bool_)
    # The library raises whatever its parser stumbles over; bare Exception is one of them.
    except Exception as error:
        raise DataError(
            f"Expected the segmentation of annotation {one.number} to be polygons or RLE but: {error}.", path
        ) from error
    if decoded.shape != (height, width):
        raise DataError(
            f"Expected the segmentation of annotation {one.number} to be {width}x{height}, as its image, but it is "
            f"{decoded.shape[1]}x{decoded.shape[0]}.",
            path,
        )
    return decoded


def _runs(coco: Any, one: CocoObject, width: int, height: int) -> list[Any]:
    """Returns the segmentation as a list of compressed run lengths."""
    form = one.segmentation
    if isinstance(form, dict):
        if isinstance(form.get("counts"), list):
            return [coco.frPyObjects(form, *form["size"])]
        return [{"size": form["size"], "counts": str(form["counts"]).encode("ascii")}]
    if isinstance(form, list):
        bad = [polygon for polygon in form if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2]
        if bad or not form:
            raise ValueError("a polygon needs at least three points, x and y each")
        polygons: list[Any] = coco.frPyObjects(form, height, width)
        return polygons
    raise ValueError("there is none")
