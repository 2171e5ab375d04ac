"""Annotations in the XML form of PASCAL VOC, as ImageNet and Stanford Dogs use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from wsol_bench.datasets.listed import Corners
from wsol_bench.errors import DataError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocImage:
    """One annotated image.

    Attributes:
        names: the class of each object, as written.
        boxes: inclusive corners of each object in original pixels.
    """

    names: tuple[str, ...]
    boxes: tuple[Corners, ...]


def read_voc(path: Path) -> VocImage:
    """Reads one annotation file.

    Raises:
        DataError: the file is missing, not XML, or an object lacks a name or a corner.
    """
    try:
        objects = ElementTree.parse(path).getroot().findall("object")
    except FileNotFoundError:
        raise DataError("Expected this annotation but it does not exist.", path) from None
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"Expected an annotation in XML but: {error}.", path) from error
    names, boxes = [], []
    for item in objects:
        fields = [item.findtext(f"bndbox/{corner}", "") for corner in _CORNERS]
        try:
            x0, y0, x1, y1 = (float(text) for text in fields)
        except ValueError:
            raise DataError(f"Expected xmin, ymin, xmax, ymax of an object but got {fields}.", path) from None
        names.append(item.findtext("name", "").strip())
        boxes.append((x0, y0, x1, y1))
    return VocImage(tuple(names), tuple(boxes))
