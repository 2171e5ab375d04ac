"""Where crops lie in their images, what batches carry by default, and how epochs are divided."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.errors import UsageError
from wsol_bench.methods.base import Batch, Stage, Window, two_stages
from wsol_bench.methods.dips import box_masks

SIDE, FRAME, COUNT = 12, 8, 40


def _random(count: int = COUNT, seed: int = 0) -> tuple[Window, np.ndarray, np.ndarray]:
    """Returns windows on pixels of whole images, their corners in pixels, and which are mirrored."""
    rng = np.random.default_rng(seed)
    corners, flips = rng.integers(0, SIDE - FRAME + 1, (count, 2)), rng.random(count) < 0.5
    return Window(torch.from_numpy(corners).float() / SIDE, FRAME / SIDE, torch.from_numpy(flips)), corners, flips


def _cut(whole: np.ndarray, corners: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """Crops ``[B, SIDE, SIDE]`` image by image, the obvious way."""
    crops = [one[row : row + FRAME, column : column + FRAME] for one, (row, column) in zip(whole, corners, strict=True)]
    return np.stack([crop[:, ::-1] if flip else crop for crop, flip in zip(crops, flips, strict=True)])


def _boxes(count: int = COUNT, boxes: int = 5, seed: int = 1) -> Tensor:
    """Boxes ``[B, K, 4]`` on pixels of whole images, as shares."""
    ends = np.sort(np.random.default_rng(seed).integers(0, SIDE + 1, (count, boxes, 2, 2)), axis=2)
    return torch.from_numpy(ends.reshape(count, boxes, 4)).float() / SIDE


def _window(row: float, column: float, side: float, flip: bool = False) -> Window:
    return Window(torch.tensor([[row, column]]), side, torch.tensor([flip]))


def test_a_batch_shows_whole_images_unless_it_says_otherwise() -> None:
    batch = Batch(torch.zeros(3, 3, 4, 4), torch.zeros(3, dtype=torch.long), 1)
    boxes, maps = _boxes(3), torch.rand(3, 4, 4)
    assert torch.equal(batch.window.crop_boxes(boxes), boxes)
    torch.testing.assert_close(batch.window.crop_maps(maps, 4), maps)
    assert batch.harvest == {}


@pytest.mark.parametrize("size", [1, 3, 8, 11, 30])
def test_maps_of_whole_images_are_resized_as_pytorch_does(size: int) -> None:
    maps = torch.rand(2, 7, 7)
    expected = F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(Window().crop_maps(maps, size), expected, atol=1e-5, rtol=1e-5)


def test_maps_need_not_be_square_nor_floats() -> None:
    maps = torch.arange(8).view(1, 2, 4)
    got = _window(0.0, 0.5, 0.5).crop_maps(maps, 2)
    assert got.dtype == torch.float32
    # Centres of the crop: rows 1/8 and 3/8 of two rows, columns 5/8 and 7/8 of four.
    assert got.tolist() == [[[2.0, 3.0], [3.0, 4.0]]]
    assert torch.equal(_window(0.0, 0.5, 0.5).crop_maps(maps.half(), 2), got)


def test_a_crop_by_hand() -> None:
    maps = torch.arange(16.0).view(1, 4, 4)
    crop = torch.tensor([[[6.0, 7.0], [10.0, 11.0]]])  # rows 1 and 2, columns 2 and 3
    torch.testing.assert_close(_window(0.25, 0.5, 0.5).crop_maps(maps, 2), crop)
    torch.testing.assert_close(_window(0.25, 0.5, 0.5, flip=True).crop_maps(maps, 2), crop.flip(2))
    torch.testing.assert_close(_window(0.25, 0.5, 0.5).crop_maps(maps, 1), torch.tensor([[[8.5]]]))
    # Between the cells: an eighth further down is half a cell.
    torch.testing.assert_close(_window(0.375, 0.5, 0.5).crop_maps(maps, 2), crop + 2)


def test_boxes_by_hand() -> None:
    boxes = torch.tensor([[[0.5, 0.25, 0.75, 0.5], [0.25, 0.0, 0.875, 1.0], [0.0, 0.0, 0.25, 0.125]]])
    got = _window(0.25, 0.5, 0.5).crop_boxes(boxes)
    assert got.tolist() == [[[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.75, 1.0], [0.0, 0.0, 0.0, 0.0]]]
    mirrored = _window(0.25, 0.5, 0.5, flip=True).crop_boxes(boxes)
    assert mirrored.tolist() == [[[0.5, 0.0, 1.0, 0.5], [0.25, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]]]


def test_every_image_has_its_own_window() -> None:
    window, corners, flips = _random()
    assert 0 < flips.sum() < COUNT and len(np.unique(corners, axis=0)) > 10
    maps = torch.rand(COUNT, SIDE, SIDE)
    expected = torch.from_numpy(_cut(maps.numpy(), corners, flips).copy())
    torch.testing.assert_close(window.crop_maps(maps, FRAME), expected, atol=1e-5, rtol=1e-5)
    for index in range(0, COUNT, 7):
        alone = Window(window.corners[index : index + 1], window.side, window.flips[index : index + 1])
        assert torch.equal(alone.crop_maps(maps[index : index + 1], 5)[0], window.crop_maps(maps, 5)[index])
        boxes = _boxes()
        assert torch.equal(alone.crop_boxes(boxes[index : index + 1])[0], window.crop_boxes(boxes)[index])


def test_boxes_and_their_masks_move_alike() -> None:
    """Masks cut as maps, masks cut pixel by pixel, and masks of the moved boxes are one and the same."""
    window, corners, flips = _random()
    boxes = _boxes()
    moved = box_masks(window.crop_boxes(boxes), FRAME)
    assert 0.1 < float(moved.float().mean()) < 0.9
    for index in range(boxes.shape[1]):
        whole = box_masks(boxes, SIDE)[:, index]
        assert np.array_equal(moved[:, index].numpy(), _cut(whole.numpy(), corners, flips))
        cut = window.crop_maps(whole, FRAME)
        torch.testing.assert_close(cut, moved[:, index].float(), atol=1e-5, rtol=0)


def test_moved_boxes_stay_in_the_crop_and_keep_their_order() -> None:
    window, corners, flips = _random(seed=2)
    boxes = _boxes(seed=3)
    moved = window.crop_boxes(boxes)
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1
    assert (moved[..., 2:] >= moved[..., :2]).all()
    pixels = (boxes * SIDE).round().long().numpy()
    for image, (row, column) in enumerate(corners):
        for box, got in zip(pixels[image], moved[image], strict=True):
            x = np.clip(box[[0, 2]] - column, 0, FRAME)
            y = np.clip(box[[1, 3]] - row, 0, FRAME)
            x = FRAME - x[::-1] if flips[image] else x
            assert got.tolist() == pytest.approx(np.array([x[0], y[0], x[1], y[1]]) / FRAME, abs=1e-5)


def test_a_flip_undoes_itself() -> None:
    boxes = _boxes()
    mirrored = Window(flips=torch.tensor([True]))
    torch.testing.assert_close(mirrored.crop_boxes(mirrored.crop_boxes(boxes)), boxes)
    maps = torch.rand(3, 6, 6)
    torch.testing.assert_close(mirrored.crop_maps(maps, 6), maps.flip(2))


@pytest.mark.parametrize(
    ("share", "epochs", "expected"),
    [
        (0.4, 10, (4, 6)),
        (0.5, 5, (2, 3)),
        (0.9, 3, (2, 1)),
        (0.01, 10, (1, 9)),
        (0.0, 2, (1, 1)),
        (1.0, 2, (1, 1)),
        (1.0, 10, (9, 1)),
        (2.0, 10, (9, 1)),
        (-1.0, 10, (1, 9)),
    ],
)
def test_epochs_are_divided_with_at_least_one_each(share: float, epochs: int, expected: tuple[int, int]) -> None:
    assert two_stages("look", "draw", share, epochs) == (Stage("look", expected[0]), Stage("draw", expected[1]))


@pytest.mark.parametrize("share", np.linspace(0, 1, 11))
def test_no_epoch_is_lost(share: float) -> None:
    for epochs in range(2, 40):
        first, second = two_stages("a", "b", share, epochs)
        assert first.epochs + second.epochs == epochs and min(first.epochs, second.epochs) >= 1
        assert abs(first.epochs - share * epochs) <= 1


@pytest.mark.parametrize("epochs", [1, 0])
def test_one_epoch_is_too_few(epochs: int) -> None:
    with pytest.raises(UsageError, match=f"2 epochs, one for the look and one for the draw, but got {epochs}"):
        two_stages("look", "draw", 0.5, epochs)
