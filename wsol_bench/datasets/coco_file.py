"""Annotation files in COCO's JSON format, read with errors that name file and annotation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.datasets.images import is_web_page
from wsol_bench.datasets.listed import Corners
from wsol_bench.errors import DataError

_ROUNDING = 1e-6
"""Tolerance of box edges in pixels: x + width of decimal fractions ends a little above or below a whole number."""


@dataclass(frozen=True)
class CocoImage:
    """One entry of ``images``; ``category`` is its class where the file labels whole images."""

    number: int
    file: str
    width: int
    height: int
    category: int | None


@dataclass(frozen=True)
class CocoObject:
    """One entry of ``annotations``.

    Attributes:
        number: its ``id``.
        category: its ``category_id``.
        box: x, y, width, height; None where there is no ``bbox``.
        segmentation: polygons or run lengths, as written.
        crowd: marks a region of many objects, ``iscrowd``.
    """

    number: int
    category: int
    box: tuple[float, float, float, float] | None
    segmentation: Any
    crowd: bool

    @property
    def area(self) -> float:
        """Area of the box in pixels, 0 without one."""
        return 0.0 if self.box is None else max(self.box[2], 0.0) * max(self.box[3], 0.0)

    @property
    def is_flat(self) -> bool:
        """Whether the box has no area."""
        return self.box is not None and self.area == 0

    def corners(self) -> Corners:
        """Returns the pixels that the box touches as inclusive corners: a box from 10 with width 5 is 10..14."""
        x, y, width, height = self.box or (0.0, 0.0, 0.0, 0.0)
        return (
            math.floor(x + _ROUNDING),
            math.floor(y + _ROUNDING),
            math.ceil(x + width - _ROUNDING) - 1,
            math.ceil(y + height - _ROUNDING) - 1,
        )


@dataclass(frozen=True)
class CocoFile:
    """One annotation file.

    Attributes:
        path: where it was read.
        categories: names by ``id``.
        images: its images, in order.
        objects: annotations by image ``id``.
    """

    path: Path
    categories: Mapping[int, str]
    images: Sequence[CocoImage]
    objects: Mapping[int, Sequence[CocoObject]]


def read_coco(path: Path) -> CocoFile:
    """Reads an annotation file.

    Raises:
        DataError: it is not JSON in COCO's format, an id occurs twice, or an annotation belongs to no image or
            category.
    """
    content = _json(path)
    categories: dict[int, str] = {}
    for entry in _list(content, "categories", path):
        number = _whole(entry, "id", "categories", path)
        if number in categories:
            raise DataError(f"Expected every category once but got id {number} again.", path)
        categories[number] = str(entry.get("name", f"class {number}"))
    images: dict[int, CocoImage] = {}
    files: set[str] = set()
    for entry in _list(content, "images", path):
        image = _image(entry, path)
        if image.number in images or image.file in files:
            raise DataError(f"Expected every image once but got id {image.number}, '{image.file}', again.", path)
        if image.category is not None and image.category not in categories:
            raise DataError(f"Expected a known category of image {image.number} but got {image.category}.", path)
        images[image.number] = image
        files.add(image.file)
    if not images:
        raise DataError("Expected at least one image but 'images' is empty.", path)
    objects: dict[int, list[CocoObject]] = {number: [] for number in images}
    for entry in _list(content, "annotations", path) if "annotations" in content else ():
        owner = _whole(entry, "image_id", "annotations", path)
        found = _object(entry, path)
        if owner not in images:
            raise DataError(f"Expected annotation {found.number} to belong to an image but got image_id {owner}.", path)
        if found.category not in categories:
            raise DataError(f"Expected annotation {found.number} of a known category but got {found.category}.", path)
        objects[owner].append(found)
    return CocoFile(path, categories, list(images.values()), objects)


def _json(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
    except OSError as error:
        raise DataError(f"Expected a JSON file but got: {error.strerror}.", path) from error
    except (ValueError, RecursionError) as error:
        what = "got a web page (a failed download?); fix: download the file again" if is_web_page(raw[:64]) else error
        raise DataError(f"Expected JSON but {what}.", path) from error
    if not isinstance(content, dict):
        raise DataError("Expected a JSON object with images, annotations and categories but got a list or value.", path)
    return content


def _list(content: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    found = content.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(
            f"Expected '{key}' to be a list of objects, as in COCO's format, but it is missing or something else; the "
            f"file holds: {', '.join(map(str, content)) or 'nothing'}.",
            path,
        )
    return found


def _whole(entry: Mapping[str, Any], key: str, where: str, path: Path) -> int:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise DataError(f"Expected a whole number for '{key}' of {where} but got {value!r} in {_short(entry)}.", path)
    return int(value)


def _image(entry: Mapping[str, Any], path: Path) -> CocoImage:
    number = _whole(entry, "id", "images", path)
    file = entry.get("file_name")
    problem = "it is not text" if not isinstance(file, str) else id_problem(file)
    if not isinstance(file, str) or problem is not None:
        raise DataError(
            f"Expected file_name of image {number} to be a path under --root but got {file!r}: {problem}.", path
        )
    width, height = (_whole(entry, key, "images", path) for key in ("width", "height"))
    if width < 1 or height < 1:
        raise DataError(f"Expected width and height of image {number} above 0 but got {width} and {height}.", path)
    category = _whole(entry, "category_id", "images", path) if "category_id" in entry else None
    return CocoImage(number, file, width, height, category)


def _object(entry: Mapping[str, Any], path: Path) -> CocoObject:
    number = _whole(entry, "id", "annotations", path)
    box = entry.get("bbox") or None
    if box is not None and not (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, int | float) and math.isfinite(value) for value in box)
    ):
        raise DataError(f"Expected bbox of annotation {number} to be [x, y, width, height] but got {box!r}.", path)
    return CocoObject(
        number=number,
        category=_whole(entry, "category_id", "annotations", path),
        box=None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        segmentation=entry.get("segmentation") or None,
        crowd=bool(entry.get("iscrowd", 0)),
    )


def _short(entry: Mapping[str, Any]) -> str:
    text = json.dumps(entry)
    return text if len(text) <= 80 else f"{text[:79]}…"
