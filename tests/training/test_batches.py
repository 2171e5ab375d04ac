from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.methods.base import Batch, Window
from wsol_bench.models.weights import IMAGENET_MEAN_STD
from wsol_bench.training.batches import Crops, TrainingData, normalise, training_side

CPU = torch.device("cpu")
IDENTITY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
FRAME, SIDE = 8, 10


def _split(images: int = 20, side: int = SIDE) -> PackedSplit:
    """Every pixel of every image has a colour of its own: image, row, column."""
    pixels = np.stack(np.broadcast_arrays(*np.ogrid[0:images, 0:side, 0:side]), axis=-1).astype(np.uint8)
    return PackedSplit(tuple(map(str, range(images))), np.arange(images) % 3, pixels)


def _epoch(data: TrainingData, epoch: int = 1, batch_size: int = 4, seed: int = 0) -> list[Batch]:
    return [data.batch(crops, IDENTITY) for crops in data.epoch(epoch, batch_size, seed)]


def _pixels(batches: list[Batch]) -> np.ndarray:
    """The images of an epoch as ``[N, S, S, 3]`` integers."""
    return torch.cat([batch.images for batch in batches]).mul(255).round().to(torch.int64).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("frame", "side"), [(224, 256), (64, 73)])
def test_training_side(frame: int, side: int) -> None:
    assert training_side(frame) == side


def test_every_image_is_seen_once_with_its_label() -> None:
    batches = _epoch(TrainingData(_split(), FRAME, CPU))
    seen = _pixels(batches)[:, 0, 0, 0]
    assert sorted(seen) == list(range(20))
    assert torch.cat([batch.labels for batch in batches]).tolist() == [image % 3 for image in seen]
    assert {batch.epoch for batch in batches} == {1}


def test_crops_are_windows_of_one_image_mirrored_or_not() -> None:
    for image in _pixels(_epoch(TrainingData(_split(), FRAME, CPU))):
        assert len(np.unique(image[..., 0])) == 1
        rows, columns = image[..., 1], image[..., 2]
        assert (np.diff(rows, axis=0) == 1).all()
        assert (np.diff(rows, axis=1) == 0).all()
        assert abs(int(columns[0, 1] - columns[0, 0])) == 1
        assert (np.diff(columns, axis=1) == columns[0, 1] - columns[0, 0]).all()


def test_every_corner_and_both_directions_occur_equally_often() -> None:
    data = TrainingData(_split(200), FRAME, CPU)
    images = np.concatenate([_pixels(_epoch(data, epoch, batch_size=50)) for epoch in range(1, 6)])
    tops, lefts = images[:, 0, 0, 1], images[..., 2].min(axis=(1, 2))
    mirrored = images[:, 0, 0, 2] > images[:, 0, 1, 2]
    slack = SIDE - FRAME + 1
    counts = np.bincount(tops * slack + lefts, minlength=slack**2)
    assert counts == pytest.approx(1000 / slack**2, abs=45)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.06)


def test_an_epoch_depends_on_seed_and_number_only() -> None:
    first = TrainingData(_split(), FRAME, CPU)
    torch.manual_seed(1)
    base = _pixels(_epoch(first))
    torch.manual_seed(2)
    assert np.array_equal(_pixels(_epoch(TrainingData(_split(), FRAME, CPU))), base)
    assert not np.array_equal(_pixels(_epoch(first, epoch=2)), base)
    assert not np.array_equal(_pixels(_epoch(first, seed=1)), base)


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [
        (9, 4, [4, 4]),  # a single image has no batch statistics
        (10, 4, [4, 4, 2]),
        (8, 4, [4, 4]),
        (3, 4, [3]),
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_sizes_of_batches(images: int, batch_size: int, sizes: list[int]) -> None:
    data = TrainingData(_split(images), FRAME, CPU)
    assert len(data) == images
    assert data.steps(batch_size) == len(sizes)
    assert [len(batch.images) for batch in _epoch(data, batch_size=batch_size)] == sizes


def test_without_slack_the_whole_image_is_used() -> None:
    images = _pixels(_epoch(TrainingData(_split(side=FRAME), FRAME, CPU)))
    assert (images[:, 0, 0, 1] == 0).all()
    assert (images[..., 2].min(axis=(1, 2)) == 0).all()


def test_images_read_batch_by_batch_are_the_same(tmp_path: Path) -> None:
    split = _split()
    np.save(tmp_path / "images.npy", split.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    streamed = TrainingData(PackedSplit(split.ids, split.labels, mapped), FRAME, CPU, resident_bytes=0)
    resident = TrainingData(split, FRAME, CPU)
    assert streamed._resident is None
    assert resident._resident is not None
    for one, other in zip(_epoch(streamed), _epoch(resident), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_windows_say_where_crops_lie() -> None:
    """What a batch shows is what its window cuts out of the whole images."""
    split = _split()
    batches = _epoch(TrainingData(split, FRAME, CPU))
    for batch in batches:
        rows = batch.images[:, 0, 0, 0].mul(255).round().long()
        for channel in (1, 2):
            whole = torch.from_numpy(split.images[rows][..., channel].copy()).float()
            cut = batch.window.crop_maps(whole, FRAME)
            assert torch.allclose(cut, batch.images[:, channel] * 255, atol=1e-3)


def test_boxes_move_with_their_window() -> None:
    window = Window(torch.tensor([[0.0, 0.5], [0.0, 0.5], [0.0, 0.0]]), 0.5, torch.tensor([False, True, False]))
    boxes = torch.tensor([[0.5, 0.25, 0.75, 1.0]]).expand(3, 1, 4)
    expected = [[0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0], [1.0, 0.5, 1.0, 1.0]]
    assert window.crop_boxes(boxes)[:, 0].tolist() == expected
    assert torch.equal(Window().crop_boxes(boxes), boxes)
    maps = torch.rand(3, 4, 4)
    assert torch.allclose(Window().crop_maps(maps, 4), maps, atol=1e-6)


def test_fixed_crops_are_the_same_for_every_trial() -> None:
    data = TrainingData(_split(200), FRAME, CPU)
    drawn = [crops for seed in (0, 1) for crops in data.epoch(1, 50, seed, views=3)]
    seen: dict[tuple[int, int], tuple[int, ...]] = {}
    for crops in drawn:
        assert crops.views is not None
        for row, view, corner, flip in zip(crops.rows, crops.views, crops.corners, crops.flips, strict=True):
            assert seen.setdefault((row, view), (*corner, flip)) == (*corner, flip)
    assert {view for _, view in seen} == {0, 1, 2} and len(set(seen.values())) == (SIDE - FRAME + 1) ** 2 * 2
    again = TrainingData(_split(200), FRAME, CPU).view(np.arange(200), np.full(200, 2))
    assert all(
        seen.get((row, 2), (*again.corners[row], again.flips[row])) == (*again.corners[row], again.flips[row])
        for row in range(200)
    )


def test_whole_images_are_squashed_to_the_frame() -> None:
    split = _split()
    images, labels = TrainingData(split, FRAME, CPU).whole(np.array([3, 5]), IDENTITY)
    assert images.shape == (2, 3, FRAME, FRAME) and labels.tolist() == [0, 2]
    assert torch.allclose(
        images[:, 0] * 255, torch.tensor([3.0, 5.0]).view(2, 1, 1).expand(-1, FRAME, FRAME), atol=1e-3
    )


def test_normalisation() -> None:
    images = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    got = normalise(images, IMAGENET_MEAN_STD)
    assert got.shape == (1, 3, 1, 1)
    expected = [(value / 255 - mean) / std for value, mean, std in zip((0, 128, 255), *IMAGENET_MEAN_STD, strict=True)]
    assert got.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_normalised_images_keep_the_channels_last_in_memory() -> None:
    images = normalise(torch.zeros(2, 4, 4, 3, dtype=torch.uint8), IMAGENET_MEAN_STD)
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("resident_bytes", [0, 1 << 30], ids=["read ahead", "held"])
def test_reading_ahead_changes_nothing(resident_bytes: int) -> None:
    data = TrainingData(_split(50), FRAME, CPU, resident_bytes)
    crops = list(data.epoch(1, 4, 0))
    found = list(data.batches(iter(crops), IDENTITY, 7))
    assert [one for one, _ in found] == crops, "in their order, each with its own batch"
    for one, batch in found:
        expected = data.batch(one, IDENTITY, 7)
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.labels, expected.labels)
        assert torch.equal(batch.window.corners, expected.window.corners)
        assert batch.epoch == 7


def test_nobody_reads_on_when_nobody_listens() -> None:
    data = TrainingData(_split(50), FRAME, CPU, 0)
    drawn: list[Crops] = []

    def crops() -> Iterator[Crops]:
        for one in data.epoch(1, 2, 0):
            drawn.append(one)
            yield one

    batches = data.batches(crops(), IDENTITY, 1)
    next(batches)
    assert 1 < len(drawn) < 10, "a few batches ahead, not all"
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_an_error_of_a_reading_thread_is_that_of_the_loop() -> None:
    data = TrainingData(_split(50), FRAME, CPU, 0)
    crops = dataclasses.replace(next(data.epoch(1, 4, 0)), rows=np.array([0, 1, 2, 99]))
    with pytest.raises(IndexError):
        list(data.batches([crops], IDENTITY, 1))


def test_a_share_of_the_crops() -> None:
    data = TrainingData(_split(50), FRAME, CPU)
    for views in (0, 3):
        crops = next(data.epoch(1, 8, 0, views))
        part = crops.part(slice(2, 5))
        assert part.rows.tolist() == crops.rows[2:5].tolist()
        assert part.corners.tolist() == crops.corners[2:5].tolist()
        assert part.flips.tolist() == crops.flips[2:5].tolist()
        assert (part.views is None) == (views == 0)
        if part.views is not None and crops.views is not None:
            assert part.views.tolist() == crops.views[2:5].tolist()
