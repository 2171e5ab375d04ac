from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsol_bench.annotators.box_views import blurred, view_painter
from wsol_bench.errors import UsageError

BOX = np.array([10, 20, 30, 50], dtype=np.int32)


def view(image: NDArray[np.uint8], outside: Any, box: NDArray[np.int32] = BOX) -> NDArray[np.uint8]:
    canvas = np.full_like(image, 7)
    view_painter(image, outside)(box, canvas)
    return canvas


@pytest.mark.parametrize("outside", ["blur", "zero"])
def test_inside_stays_and_outside_is_replaced(photos: NDArray[np.uint8], outside: str) -> None:
    shown = view(photos[0], outside)
    inside = np.zeros((64, 64), dtype=bool)
    inside[20:51, 10:31] = True
    np.testing.assert_array_equal(shown[inside], photos[0][inside])
    background = blurred(photos[0], 115, 100.5) if outside == "blur" else np.zeros_like(photos[0])
    np.testing.assert_array_equal(shown[~inside], background[~inside])


def test_crop_fills_the_frame_with_the_box(photos: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(view(photos[0], "crop", np.array([0, 0, 63, 63], dtype=np.int32)), photos[0])
    one_colour = np.zeros((64, 64, 3), dtype=np.uint8)
    one_colour[20:51, 10:31] = (200, 10, 90)
    assert (view(one_colour, "crop") == (200, 10, 90)).all()


def test_blur_keeps_a_constant_image_and_flattens_others(photos: NDArray[np.uint8]) -> None:
    constant = np.full((64, 64, 3), 99, dtype=np.uint8)
    np.testing.assert_array_equal(blurred(constant, 115, 100.5), constant)
    assert blurred(photos[0], 115, 100.5).std() < 0.6 * photos[0].std()


def test_blur_is_the_reference_kernel_at_224() -> None:
    image = np.random.default_rng(0).integers(0, 255, (224, 224, 3)).astype(np.uint8)
    weights = np.exp(-0.5 * (np.arange(-57, 58) / 100.5) ** 2)
    weights /= weights.sum()
    padded = np.pad(image.astype(np.float64), ((57, 57), (57, 57), (0, 0)), mode="reflect")
    rows = sum(weights[k] * padded[k : k + 224] for k in range(115))
    expected = sum(weights[k] * rows[:, k : k + 224] for k in range(115))
    assert np.abs(blurred(image, 115, 100.5) - expected).max() < 1.5


def test_blur_scales_with_the_frame() -> None:
    """An image blurred at 224 and shrunk looks like the shrunk image blurred."""
    large = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (224, 224, 3)).astype(np.uint8), (0, 0), 12)
    small = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
    shrunk = cv2.resize(blurred(large, 115, 100.5), (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(blurred(small, 115, 100.5).astype(int) - shrunk).mean() < 1.0


def test_a_kernel_of_one_pixel_does_nothing(photos: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(blurred(photos[0], 1, 100.5), photos[0])


def test_an_unknown_outside_is_refused(photos: NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match="blur, crop, zero"):
        view_painter(photos[0], "grey")  # type: ignore[arg-type]
