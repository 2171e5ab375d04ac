from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.errors import DataError

SIZES = {"a": (10, 20), "b": (30, 40), "c": (448, 224)}
BOXES = {"a": [(1, 2, 4, 3)], "b": [], "c": [(0, 0, 447, 223), (5, 6, 7, 8)]}


def test_from_mapping_is_ragged() -> None:
    boxes = BoxSet.from_mapping(BOXES, SIZES)
    assert len(boxes) == 3 and boxes.offsets.tolist() == [0, 1, 1, 3]
    assert boxes.boxes.dtype == np.int32 and boxes.offsets.dtype == np.int64 and boxes.sizes.dtype == np.int32
    assert boxes.of(1).shape == (0, 4) and boxes.of(2).tolist() == [[0, 0, 447, 223], [5, 6, 7, 8]]


def test_from_an_empty_mapping() -> None:
    boxes = BoxSet.from_mapping({}, {})
    assert len(boxes) == 0 and boxes.in_frame(224, 224).shape == (0, 4)
    assert len(BoxSet.from_mapping(BOXES, SIZES).select([])) == 0


def test_select_in_another_order() -> None:
    boxes = BoxSet.from_mapping(BOXES, SIZES)
    chosen = boxes.select(["c", "a"])
    assert chosen.ids == ("c", "a") and chosen.offsets.tolist() == [0, 2, 3]
    assert chosen.boxes.tolist() == [[0, 0, 447, 223], [5, 6, 7, 8], [1, 2, 4, 3]]
    assert chosen.sizes.tolist() == [[448, 224], [10, 20]]
    assert boxes.select(boxes.ids) is boxes


def test_select_names_what_is_missing() -> None:
    with pytest.raises(DataError, match=r"each of 2 images but 1 have none, first 'z'"):
        BoxSet.from_mapping(BOXES, SIZES).select(["a", "z"])


def test_frame_of_the_reference_example() -> None:
    boxes = BoxSet.from_mapping({"a": [(1, 2, 4, 3)]}, {"a": (10, 20)})
    assert boxes.in_frame(35, 10).tolist() == [[3, 1, 14, 1]]


def test_last_pixel_stays_the_last_pixel_in_a_smaller_frame() -> None:
    boxes = BoxSet.from_mapping({"a": [(0, 0, 499, 374)]}, {"a": (500, 375)})
    assert boxes.in_frame(224, 224).tolist() == [[0, 0, 223, 223]]


@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.integers(1, 5000), st.lists(st.integers(0, 4999), min_size=4, max_size=4)),
        max_size=6,
    ),
    st.integers(1, 300),
    st.integers(1, 300),
)
def test_in_frame_equals_the_scalar_rule(images: list[tuple[int, int, list[int]]], width: int, height: int) -> None:
    boxes = BoxSet.from_mapping(
        {str(i): [corners] for i, (_, _, corners) in enumerate(images)},
        {str(i): (w, h) for i, (w, h, _) in enumerate(images)},
    )
    slow = [
        [
            int(float(x0) * float(width) / float(w)),
            int(float(y0) * float(height) / float(h)),
            int(float(x1) * float(width) / float(w)),
            int(float(y1) * float(height) / float(h)),
        ]
        for w, h, (x0, y0, x1, y1) in images
    ]
    assert boxes.in_frame(width, height).tolist() == slow


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": np.zeros((1, 5), np.int32)},
        {"offsets": np.array([0, 2])},
        {"offsets": np.array([0])},
        {"sizes": np.zeros((2, 2), np.int32)},
        {"ids": ("a", "b")},
    ],
)
def test_parts_must_fit_together(change: dict[str, object]) -> None:
    parts: dict[str, object] = {
        "ids": ("a",),
        "boxes": np.zeros((1, 4), np.int32),
        "offsets": np.array([0, 1]),
        "sizes": np.array([[5, 5]], np.int32),
    }
    BoxSet(**parts)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="Expected boxes"):
        BoxSet(**{**parts, **change})  # type: ignore[arg-type]
