from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotators.original_pixels import to_original

FRAMES = st.sampled_from([32, 64, 224])
SIDES = st.integers(1, 3000)


@given(FRAMES, SIDES, SIDES)
@settings(max_examples=150, deadline=None)
def test_evaluators_find_the_frame_box_again(frame: int, width: int, height: int) -> None:
    corners = np.arange(frame)
    boxes = np.stack([corners, corners, np.full(frame, frame - 1), np.full(frame, frame - 1)], axis=1)
    sizes = np.tile([width, height], (frame, 1))
    stored = to_original(boxes, frame, sizes)
    assert stored.min() >= 0
    assert (stored[:, 0::2] < width).all()
    assert (stored[:, 1::2] < height).all()
    box_set = BoxSet(tuple(map(str, corners)), stored, np.arange(frame + 1), sizes.astype(np.int32))
    back = box_set.in_frame(frame, frame)
    for side, columns in ((width, [0, 2]), (height, [1, 3])):
        if side >= frame:
            np.testing.assert_array_equal(back[:, columns], boxes[:, columns])
        else:
            assert (back[:, columns] <= boxes[:, columns]).all()
            assert (boxes[:, columns] - back[:, columns] <= frame / side).all()


@given(FRAMES, SIDES)
@settings(max_examples=50, deadline=None)
def test_smallest_pixel_is_stored(frame: int, width: int) -> None:
    for k in range(frame):
        fitting = [v for v in range(width) if v * frame // width == k]
        if fitting:
            assert to_original([[k, k, k, k]], frame, [[width, width]])[0, 0] == fitting[0]


def test_sentinel_stays() -> None:
    assert to_original([[0, 0, 0, 0]], 224, [[500, 333]]).tolist() == [[0, 0, 0, 0]]


def test_nothing_changes_where_the_frame_is_the_image() -> None:
    assert to_original([[3, 4, 63, 62]], 64, [[64, 64]]).tolist() == [[3, 4, 63, 62]]
