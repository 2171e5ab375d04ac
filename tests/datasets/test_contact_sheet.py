from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor

from wsol_bench.datasets.contact_sheet import COLOURS, contact_sheet, heated
from wsol_bench.errors import UsageError

GREY = np.full((10, 10, 3), 100, np.uint8)


def _positions(sheet: object, colour: str) -> tuple[list[int], list[int]]:
    rows, columns = np.nonzero((np.asarray(sheet) == ImageColor.getrgb(colour)).all(axis=2))
    return rows.tolist(), columns.tolist()


def test_grid_size_follows_the_images() -> None:
    assert contact_sheet([GREY], cell=40).size == (52, 52)
    assert contact_sheet([GREY] * 5, columns=2, cell=40).size == (98, 144)
    assert contact_sheet([GREY] * 5, labels=["x"] * 5, columns=2, cell=40).size == (98, 192)


def test_boxes_lie_on_their_pixels() -> None:
    sheet = contact_sheet([GREY], [[[2, 3, 5, 6]]], cell=100)
    rows, columns = _positions(sheet, COLOURS[0])
    # A cell starts after a gap of 6; a pixel of the image is 10 wide, and the corners are inclusive.
    assert (min(columns), max(columns)) == (6 + 20, 6 + 59) and (min(rows), max(rows)) == (6 + 30, 6 + 69)


def test_sources_have_their_own_colours_and_a_legend() -> None:
    boxes = {"gt": [[[0, 0, 9, 9]], np.zeros((0, 4))], "ss": [[[1, 1, 4, 4], [6, 6, 8, 8]], [[2, 2, 5, 5]]]}
    plain, drawn = contact_sheet([GREY] * 2, cell=80), contact_sheet([GREY] * 2, boxes, cell=80)
    assert drawn.height > plain.height
    for colour, shown in ((COLOURS[0], True), (COLOURS[1], True), (COLOURS[2], False)):
        assert bool(_positions(drawn, colour)[0]) == shown


def test_points_are_crosses_over_the_boxes() -> None:
    boxes = {"proposals": [[[0, 0, 9, 9], [4, 0, 4, 9]]] * 2}
    sheet = contact_sheet([GREY] * 2, boxes, points={"peak": [(4, 7), None]}, cell=100, columns=1)
    rows, columns = _positions(sheet.crop((0, 0, 112, 112)), COLOURS[1])
    # The centre of pixel (4, 7): 10 sheet pixels a pixel after a gap of 6; the arms reach 4 pixels and a stroke of 3.
    assert np.mean(columns) == pytest.approx(6 + 45, abs=1) and np.mean(rows) == pytest.approx(6 + 75, abs=1)
    assert max(columns) - min(columns) <= 11
    second = _positions(sheet.crop((0, 112, 112, 212)), COLOURS[1])
    assert second == ([], [])


def test_thin_sources_are_one_pixel_thick() -> None:
    boxes = {"a": [[[2, 2, 7, 7]]]}
    drawn = {thin: contact_sheet([GREY], boxes, thin=thin, cell=100) for thin in ((), ("a",))}
    thick, fine = (len(_positions(sheet.crop((0, 0, 112, 106)), COLOURS[0])[0]) for sheet in drawn.values())
    assert fine == 4 * 60 - 4 and thick == fine + 4 * 58 - 4


def test_a_map_is_laid_over_its_image() -> None:
    laid = heated(np.zeros((1, 3, 3), np.uint8), np.array([[0.0, 0.5, 1.0]]))
    assert laid.dtype == np.uint8
    cold, middle, hot = laid[0].tolist()
    assert cold[2] > cold[0] and hot[0] > hot[2] and middle[1] == max(map(max, (cold, middle, hot)))
    assert (heated(np.full((1, 3, 3), 200, np.uint8), np.zeros((1, 3))) >= 100).all()


def test_any_shape_fits() -> None:
    images = [np.zeros((5, 300, 3), np.uint8), np.zeros((300, 1, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)]
    boxes = [[[0, 0, 299, 4]], [[0, 0, 0, 299]], [[0, 0, 0, 0]]]
    sheet = contact_sheet(images, boxes, ["a caption much too long for its cell " * 3, "", "ünïcode"], cell=50)
    assert sheet.mode == "RGB" and sheet.size == (174, 78)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"images": []}, "at least one image"),
        ({"images": [GREY], "columns": 0}, "columns"),
        ({"images": [GREY], "cell": 0}, "cell"),
        ({"images": [GREY], "labels": []}, "captions for 1 images but got 0"),
        ({"images": [GREY], "points": {"peak": []}}, "points of 'peak' for 1 images but got 0"),
        ({"images": [GREY], "boxes": {"ss": []}}, "boxes of 'ss' for 1 images but got 0"),
    ],
)
def test_errors(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        contact_sheet(**arguments)  # type: ignore[arg-type]
