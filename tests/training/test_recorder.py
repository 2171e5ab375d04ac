from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_trial import Quick
from torch import Tensor, nn

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.errors import PluginError
from wsol_bench.maps.oracle import oracle_largest
from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.methods.cam import CAM
from wsol_bench.records.run_record import NO_CLASS, RunRecord
from wsol_bench.training import recorder
from wsol_bench.training.batches import normalise
from wsol_bench.training.loop import TrialData
from wsol_bench.training.recorder import record_split

CPU = torch.device("cpu")


class Given(Method):
    """Predicts what it was told; the first pixel of an image is its number."""

    def __init__(self, maps: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
        super().__init__()
        self.maps, self.logits = torch.from_numpy(maps), torch.from_numpy(logits)

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None: ...

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        numbers = (images[:, 0, 0, 0] * 255).round().long()
        return Localization(self.maps[numbers], self.logits[numbers])

    @property
    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return (0.0,) * 3, (1.0,) * 3


def _numbered(images: int, side: int = 16) -> PackedSplit:
    pixels = np.zeros((images, side, side, 3), np.uint8)
    pixels += np.arange(images, dtype=np.uint8)[:, None, None, None]
    return PackedSplit(tuple(f"{i}.png" for i in range(images)), np.zeros(images, np.int64), pixels)


def _record_of(maps: NDArray[np.float32], logits: NDArray[np.float32] | None = None, **options: Any) -> RunRecord:
    if logits is None:
        logits = np.zeros((len(maps), 6), np.float32)
    return record_split(Given(maps, logits), _numbered(len(maps)), logits.shape[1], device=CPU, **options)


def _slow_levels(native: NDArray[np.float32], frame: int) -> NDArray[np.uint8]:
    """One map at a time, in the words of the metrics spec."""
    finite = np.nan_to_num(native.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    large = cv2.resize(finite, (frame, frame), interpolation=cv2.INTER_LINEAR)
    if finite.min() == finite.max():
        return np.zeros((frame, frame), np.uint8)
    return np.floor((large - large.min()) / (large.max() - large.min()) * 255).astype(np.uint8)


def _assert_as_slow(record: RunRecord, maps: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
    curves = record.curves.boxes_at(range(255))
    for i, (native, scores) in enumerate(zip(maps, logits, strict=True)):
        levels = _slow_levels(native, record.frame)
        assert np.array_equal(curves[i], oracle_largest(levels))
        assert record.curves.max_levels[i] == levels.max()
        ranking = sorted(range(len(scores)), key=lambda c: (-scores[c], c))[:5]
        assert record.top5[i].tolist() == ranking
        exponentials = np.exp(scores.astype(np.float64) - scores.max())
        expected = exponentials[ranking] / exponentials.sum()
        np.testing.assert_allclose(record.top5_scores[i], expected, rtol=1e-5)
        x, y = record.peaks[i]
        assert levels[y, x] == 255
        threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
        if threshold == np.clip(threshold, 1, 254):
            candidates = {tuple(curves[i][cut]) for cut in range(max(int(threshold) - 1, 0), int(threshold) + 2)}
            assert tuple(record.otsu_boxes[i]) in candidates


def test_a_record_equals_the_slow_recomputation(data: TrialData) -> None:
    torch.manual_seed(0)
    cam = CAM()
    cam.build(10, data.class_names, CAM.HParams.from_dict({"backbone": "resnet_tiny"}), data.frame)
    record = record_split(cam, data.val, 10, device=CPU)
    with torch.no_grad():
        images = normalise(torch.from_numpy(data.val.images), cam.mean_std)
        prediction = cam.eval().localize(images, torch.from_numpy(data.val.labels))
    assert record.ids == data.val.ids
    assert record.labels.tolist() == data.val.labels.tolist()
    assert record.frame == 64
    assert record.maps is None
    _assert_as_slow(record, prediction.maps.numpy(), prediction.logits.numpy())


def test_random_maps_of_any_scale() -> None:
    rng = np.random.default_rng(0)
    maps = np.cumsum(rng.normal(size=(30, 5, 7)), axis=2).astype(np.float32) * 10.0 ** rng.integers(-6, 6, (30, 1, 1))
    logits = rng.normal(size=(30, 9)).astype(np.float32)
    _assert_as_slow(_record_of(maps.astype(np.float32), logits), maps.astype(np.float32), logits)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6, 1 / 3, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [1, 3, 4, 8])
def test_constant_maps_are_empty(value: float, side: int) -> None:
    record = _record_of(np.full((2, side, side), value, np.float32), keep_maps=True)
    assert record.curves.max_levels.tolist() == [0, 0]
    assert (record.curves.boxes_at(range(255)) == 0).all()
    assert (record.otsu_boxes == 0).all()
    assert (record.peaks == -1).all()
    assert record.maps is not None
    assert (record.maps == 0).all()


def test_pixels_that_are_not_finite() -> None:
    maps = np.full((1, 4, 4), 0.25, np.float32)
    maps[0, 0, 0], maps[0, 3, 3], maps[0, 0, 3] = np.nan, np.inf, -np.inf
    record = _record_of(maps)
    _assert_as_slow(record, maps, np.zeros((1, 6), np.float32))
    assert record.peaks[0].tolist() == [14, 14], "infinity is the peak"


def test_the_first_of_equal_peaks() -> None:
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 2, 5] = maps[0, 5, 2] = 1.0
    x, y = _record_of(maps).peaks[0]
    assert (x, y) == (10, 4)


def test_fewer_than_five_classes() -> None:
    logits = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]], np.float32)
    record = _record_of(np.random.default_rng(0).random((2, 4, 4)).astype(np.float32), logits)
    assert record.top5.tolist() == [[1, 2, 0, NO_CLASS, NO_CLASS], [0, 1, 2, NO_CLASS, NO_CLASS]]
    assert record.top5_scores[:, 3:].tolist() == [[0, 0], [0, 0]]
    np.testing.assert_allclose(record.top5_scores.sum(axis=1), 1.0, rtol=1e-6)


def test_equal_logits_keep_the_order_of_the_classes() -> None:
    logits = np.zeros((1, 600), np.float32)
    logits[0, 500:] = 1.0
    record = _record_of(np.random.default_rng(0).random((1, 4, 4)).astype(np.float32), logits)
    assert record.top5[0].tolist() == [500, 501, 502, 503, 504]


def test_kept_maps_are_those_of_the_method_stretched() -> None:
    maps = np.array([[[1e9, 3e9], [2e9, 1e9]]], np.float32)
    kept = _record_of(maps, keep_maps=True).maps
    assert kept is not None
    assert kept.dtype == np.float16
    assert kept.tolist() == [[[0.0, 1.0], [0.5, 0.0]]], "their own scale would leave the range of half floats"


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_size_of_the_batches_does_not_matter(batch_size: int) -> None:
    rng = np.random.default_rng(0)
    maps, logits = rng.random((20, 4, 4)).astype(np.float32), rng.random((20, 6)).astype(np.float32)
    base = _record_of(maps, logits, keep_maps=True)
    other = _record_of(maps, logits, keep_maps=True, batch_size=batch_size)
    for item in dataclasses.fields(base):
        if item.name != "curves":
            assert np.array_equal(getattr(other, item.name), getattr(base, item.name)), item.name
    for item in dataclasses.fields(base.curves):
        assert np.array_equal(getattr(other.curves, item.name), getattr(base.curves, item.name)), item.name


def test_training_modes_are_restored_module_by_module(data: TrialData) -> None:
    quick = Quick()
    quick.build(10, data.class_names, Quick.HParams(), 64)
    quick.train()
    quick.features.eval()
    before = {name: value.clone() for name, value in quick.state_dict().items()}
    record_split(quick, data.val, 10, device=CPU)
    assert quick.training
    assert quick.dropout.training
    assert not any(module.training for module in quick.features.modules())
    assert all(torch.equal(value, before[name]) for name, value in quick.state_dict().items()), "statistics untouched"


def test_training_modes_are_restored_after_an_error(data: TrialData) -> None:
    broken = Given(np.zeros((1, 4, 4), np.float32), np.zeros((1, 6), np.float32)).train()
    with pytest.raises(IndexError):
        record_split(broken, _numbered(3), 6, device=CPU)
    assert broken.training


def test_a_method_may_switch_gradients_on() -> None:
    class Gradients(Given):
        def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
            with torch.enable_grad():
                inputs = images.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(nn.functional.avg_pool2d(inputs, 4).square().sum(), inputs)
            return Localization(gradient.mean(dim=1), self.logits[: len(images)])

    logits = np.zeros((3, 6), np.float32)
    record = record_split(Gradients(logits[:, None], logits), _numbered(3), 6, device=CPU)
    assert len(record) == 3


def test_wrong_shapes_name_the_method() -> None:
    with pytest.raises(PluginError, match=r"localize of the method Given to return float maps of shape \[2, h, w\]"):
        _record_of(np.zeros((2, 1, 4, 4), np.float32))
    with pytest.raises(PluginError, match=r"float logits of shape \[2, 7\] but got float32 of shape \[2, 6\]"):
        record_split(Given(np.zeros((2, 4, 4), np.float32), np.zeros((2, 6), np.float32)), _numbered(2), 7, device=CPU)


@pytest.mark.parametrize("keep_maps", [False, True])
def test_overlapping_with_a_device_changes_nothing(
    data: TrialData, monkeypatch: pytest.MonkeyPatch, keep_maps: bool
) -> None:
    cam = CAM()
    cam.build(10, data.class_names, CAM.HParams(backbone="resnet_tiny"), 64)
    one = record_split(cam, data.val, 10, device=CPU, batch_size=3, keep_maps=keep_maps)
    monkeypatch.setattr(recorder, "_overlaps", lambda device: True)
    other = record_split(cam, data.val, 10, device=CPU, batch_size=3, keep_maps=keep_maps)
    for name in ("ids", "labels", "top5", "top5_scores", "peaks", "otsu_boxes"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    for item in dataclasses.fields(one.curves):
        assert np.array_equal(getattr(one.curves, item.name), getattr(other.curves, item.name)), item.name
    assert (one.maps is None) == (not keep_maps)
    if one.maps is not None and other.maps is not None:
        assert np.array_equal(one.maps, other.maps)


def test_an_error_behind_the_device_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unfit(Given):
        def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
            return Localization(torch.full((len(images), 4, 4), torch.nan), torch.zeros(len(images), 6))

    def fails(*_: object) -> None:
        raise OSError("the sweep")

    monkeypatch.setattr(recorder, "_overlaps", lambda device: True)
    monkeypatch.setattr(recorder, "score_maps", fails)
    logits = np.zeros((3, 6), np.float32)
    with pytest.raises(OSError, match="the sweep"):
        record_split(Unfit(logits[:, None], logits), _numbered(3), 6, device=CPU)
