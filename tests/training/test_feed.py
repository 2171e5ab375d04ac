from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frozen_parts import Colours, OnColours, Teacher
from torch import Tensor

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.methods.base import Batch
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.training.batches import TrainingData, normalise
from wsol_bench.training.feed import RecordingFeed, TrainingFeed
from wsol_bench.training.kept_answers import KeptAnswers

CPU = torch.device("cpu")
COUNT, FRAME, SIDE, SIZE = 19, 8, 12, 6
ALL = np.arange(COUNT)


class WithoutTeacher(OnColours):
    """Harvests nothing."""

    def harvest(self) -> dict[str, FrozenFunction]:
        return {}


def _split(side: int = SIDE, identity: str = "noise-train") -> PackedSplit:
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, side, side, 3), dtype=np.uint8)
    return PackedSplit(tuple(map(str, range(COUNT))), ALL % 3, pixels, identity=identity)


def _method(method_class: type[OnColours] = OnColours, **hparams: Any) -> OnColours:
    torch.manual_seed(0)
    method = method_class()
    method.build(3, "abc", method_class.HParams.from_dict(hparams), FRAME)
    return method


def _batches(method: OnColours, folder: Path | None, epoch: int = 1, seed: int = 0) -> Any:
    feed = TrainingFeed(_split(), FRAME, KeptAnswers(folder, CPU))
    assert feed.steps(SIZE) == 3
    return feed.epoch(method, epoch, SIZE, seed, within=epoch + 10)


def _kept(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("noise-train-").partition("-")[0] for path in folder.iterdir())


def _assert_same(got: Answers, expected: Answers) -> None:
    assert list(got) == list(expected)
    assert all(torch.equal(got[name], value) for name, value in expected.items())


def test_while_a_batch_of_fixed_crops_is_in_use_the_encoder_does_not_run(tmp_path: Path) -> None:
    method, fresh = _method(WithoutTeacher, views=3), Colours()
    seen = 0
    for epoch in (1, 2, 3):
        for batch in _batches(method, tmp_path, epoch):
            _assert_same(method.encoder(batch.images), fresh(batch.images))
            seen += len(batch.images)
    assert seen == 3 * (COUNT - 1)
    assert method.encoder.computed == 3 * (COUNT + 1), "once per view, and one image that tells the shapes"
    assert [path.name.split("-")[2:4] for path in sorted(tmp_path.iterdir())] == [["crop", str(view)] for view in "012"]


def test_labels_go_with_their_crops(tmp_path: Path) -> None:
    """A part by label may be asked for crops too; views are mixed in a batch, and their order is that of the images."""
    method, fresh = _method(views=4), Teacher()
    for batch in _batches(method, tmp_path):
        _assert_same(method.teacher(batch.images, batch.labels), fresh(batch.images, batch.labels))
        other = (batch.labels + 1) % 3
        _assert_same(method.teacher(batch.images, other), fresh(batch.images, other))
    assert _kept(tmp_path) == ["crop"] * 4 + ["whole"]
    assert method.teacher.computed == 5 * (COUNT + 1) + COUNT - 1, "labels other than the true ones are computed"


def test_crops_that_a_method_changes_are_computed(tmp_path: Path) -> None:
    method, fresh = _method(views=2), Colours()
    for batch in _batches(method, tmp_path):
        hidden = batch.images * (torch.arange(FRAME) < 4)
        _assert_same(method.encoder(hidden), fresh(hidden))
        assert not torch.equal(method.encoder(hidden)["patches"], method.encoder(batch.images)["patches"])


def test_a_batch_that_is_over_is_computed_as_ever(tmp_path: Path) -> None:
    method = _method(WithoutTeacher)
    batches = _batches(method, tmp_path)
    first = next(batches)
    method.encoder(first.images)
    second = next(batches)
    before = method.encoder.computed
    assert method.encoder(first.images)["patches"].shape == (SIZE, 5, 4, 4)
    assert method.encoder.computed == before + SIZE
    batches.close()
    method.encoder(second.images)
    assert method.encoder.computed == before + 2 * SIZE


def test_free_crops_are_not_kept(tmp_path: Path) -> None:
    method = _method(WithoutTeacher, views=0)
    for batch in _batches(method, tmp_path):
        method.encoder(batch.images)
    assert method.encoder.computed == COUNT - 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("kept", [True, False])
def test_the_harvest_is_of_whole_images(tmp_path: Path, views: int, kept: bool) -> None:
    method, split = _method(views=views), _split()
    seen = []
    for batch in _batches(method, tmp_path if kept else None):
        rows = [_row_of(image, split, method.mean_std) for image in batch.images]
        whole, labels = TrainingData(split, FRAME, CPU).whole(np.array(rows), method.mean_std)
        assert torch.equal(labels, batch.labels)
        assert list(batch.harvest) == ["teacher"]
        _assert_same(dict(batch.harvest["teacher"]), Teacher()(whole, labels))
        assert batch.epoch == 11
        seen += rows
    assert len(set(seen)) == COUNT - 1
    assert method.teacher.computed == (COUNT + 1 if kept else COUNT - 1)
    assert (_kept(tmp_path) if kept else ["whole"]) == ["whole"]


def _row_of(image: Tensor, split: PackedSplit, mean_std: Any) -> int:
    """Finds the image that a crop was cut from, mirrored or not."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in mean_std)
    crop = ((image * std + mean) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(split.images, (FRAME, FRAME), axis=(1, 2))
    found = [
        (windows == one.transpose(2, 0, 1)[None, None, None]).all(axis=(3, 4, 5)).any(axis=(1, 2))
        for one in (crop, crop[:, ::-1])
    ]
    (row,) = np.flatnonzero(found[0] | found[1])
    return int(row)


def test_crops_do_not_depend_on_what_is_kept(tmp_path: Path) -> None:
    for views in (0, 2):
        for on, off in zip(_batches(_method(views=views), tmp_path), _batches(_method(views=views), None), strict=True):
            assert torch.equal(on.images, off.images) and torch.equal(on.labels, off.labels)
            assert torch.equal(on.window.corners, off.window.corners)
            _assert_same(dict(on.harvest["teacher"]), dict(off.harvest["teacher"]))


def test_trials_share_fixed_crops_and_draw_among_them_differently(tmp_path: Path) -> None:
    first, second = _method(), _method()

    def crops(method: OnColours, seed: int) -> list[Tensor]:
        batches: Sequence[Batch] = list(_batches(method, tmp_path, seed=seed))
        return [image for batch in batches for image in batch.images]

    def used(method: OnColours, seed: int) -> int:
        for batch in _batches(method, tmp_path, seed=seed):
            method.encoder(batch.images)
        return method.encoder.computed

    assert used(first, 0) == 2 * (COUNT + 1)
    assert used(second, 1) == 0
    one, other = crops(first, 0), crops(second, 1)
    shared = [sum(torch.equal(image, theirs) for theirs in other) for image in one]
    assert 0 < sum(shared) < len(one), "some images show another of their two crops"


def test_maps_of_whole_images_fit_crops_after_the_window() -> None:
    """A picture that rises evenly, squashed, cut by the window, is the crop: no shift by half a pixel anywhere."""
    side, frame = 96, 48
    ramp = np.stack(np.broadcast_arrays(*np.ogrid[0:side, 0:side], 0), axis=-1).astype(np.uint8)[None].repeat(COUNT, 0)
    data = TrainingData(PackedSplit(tuple(map(str, ALL)), ALL % 3, ramp), frame, CPU)
    mean_std = ((0.0,) * 3, (1 / 255,) * 3)
    whole, _ = data.whole(ALL, mean_std)
    batch = data.batch(data.view(ALL, ALL % 3), mean_std)
    assert batch.window.flips.any() and not batch.window.flips.all()
    assert len(batch.window.corners.unique(dim=0)) > 5
    inner = slice(4, -4)  # squashing bends the ramp at the border
    for channel in (0, 1):
        cut = batch.window.crop_maps(whole[:, channel], frame)
        expected = batch.images[:, channel]
        torch.testing.assert_close(cut[:, inner, inner], expected[:, inner, inner], atol=0.01, rtol=0)


def test_recordings_are_answered_in_order(tmp_path: Path) -> None:
    method, split = _method(), _split(FRAME, "noise-val")
    answers = KeptAnswers(tmp_path, CPU)
    for _ in range(2):
        feed = RecordingFeed(split, method, CPU, answers)
        for rows in (ALL[:8], ALL[8:16], ALL[16:]):
            images, labels = feed.images(rows)
            assert torch.equal(images, normalise(torch.from_numpy(split.images[rows]), method.mean_std))
            assert labels.tolist() == split.labels[rows].tolist()
            with feed.answering(images, labels, rows):
                _assert_same(method.encoder(images), Colours()(images))
                _assert_same(method.teacher(images, labels), Teacher()(images, labels))
    assert method.encoder.computed == method.teacher.computed == COUNT + 1


def test_recordings_without_answers_compute(tmp_path: Path) -> None:
    method = _method()
    feed = RecordingFeed(_split(FRAME), method, CPU)
    for times in (1, 2):
        images, labels = feed.images(ALL)
        with feed.answering(images, labels, ALL):
            method.encoder(images)
        assert method.encoder.computed == times * COUNT
