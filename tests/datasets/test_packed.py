from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.datasets.base import Dataset, Split
from wsol_bench.datasets.images import squash
from wsol_bench.datasets.packed import PackedSplit, is_packed, pack, packed_bytes
from wsol_bench.errors import DataError, UsageError, WsolBenchError


class _Noise(Dataset):
    """Images of several sizes; those in ``bad`` cannot be decoded."""

    name = "noise"

    def __init__(self, count: int = 150, version: str = "1", bad: tuple[int, ...] = ()) -> None:
        self.version = version
        self.class_names = ("a", "b")
        self.frame = 16
        self.bad = bad
        self.decoded = 0
        self._split = Split("val", tuple(f"{i}.png" for i in range(count)), np.arange(count) % 2)

    def split(self, name: str) -> Split:
        return self._split

    def load_image(self, split: str, index: int) -> NDArray[np.uint8]:
        self.decoded += 1
        if index in self.bad:
            raise DataError("damaged", Path(f"{index}.png"))
        shape = (8, 8, 3) if index % 3 == 0 else (10 + index % 7, 13, 3)
        return np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8)

    def _read_ground_truth(self, split: str) -> BoxSet:
        raise NotImplementedError


def _expected(dataset: _Noise, side: int) -> NDArray[np.uint8]:
    rows = [row for row in range(len(dataset.split("val"))) if row not in dataset.bad]
    return np.stack([squash(dataset.load_image("val", row), side) for row in rows])


def _entry(cache: Path) -> Path:
    (entry,) = cache.iterdir()
    return entry


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_packs_in_order(tmp_path: Path, cached: bool, workers: int) -> None:
    dataset = _Noise()
    packed = pack(dataset, "val", 8, cache_dir=tmp_path / "cache" if cached else None, workers=workers)
    assert packed.images.dtype == np.uint8 and np.array_equal(packed.images, _expected(dataset, 8))
    assert packed.ids == dataset.split("val").ids and packed.skipped == () and len(packed) == 150
    assert packed.labels.dtype == np.int64 and np.array_equal(packed.labels, dataset.split("val").labels)


def test_training_sees_pixels_and_labels_only() -> None:
    assert {field.name for field in fields(PackedSplit)} == {"ids", "labels", "images", "skipped", "identity"}


def test_the_cache_answers_the_second_time(tmp_path: Path) -> None:
    dataset = _Noise()
    first = pack(dataset, "val", 8, cache_dir=tmp_path)
    decoded, calls = dataset.decoded, []
    again = pack(dataset, "val", 8, cache_dir=tmp_path, progress=lambda *done: calls.append(done))
    assert dataset.decoded == decoded and calls == []
    assert isinstance(again.images, np.memmap) and not again.images.flags.writeable
    assert np.array_equal(again.images, first.images) and again.ids == first.ids


def test_side_version_and_content_have_their_own_entries(tmp_path: Path) -> None:
    for dataset, side in ((_Noise(), 8), (_Noise(), 9), (_Noise(version="2"), 8), (_Noise(count=149), 8)):
        pack(dataset, "val", side, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def _flip_a_byte(entry: Path) -> None:
    content = bytearray((entry / "images.npy").read_bytes())
    content[len(content) // 2] ^= 1
    (entry / "images.npy").write_bytes(content)


def _truncate(entry: Path) -> None:
    content = (entry / "images.npy").read_bytes()
    (entry / "images.npy").write_bytes(content[: len(content) // 2])


def _of_other_length(entry: Path) -> None:
    np.save(entry / "images.npy", np.zeros((3, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    "damage",
    [
        _flip_a_byte,
        _truncate,
        _of_other_length,
        lambda entry: (entry / "images.npy").write_bytes(b""),
        lambda entry: (entry / "images.npy").unlink(),
        lambda entry: (entry / "checksums.npy").unlink(),
        lambda entry: np.save(entry / "checksums.npy", np.zeros(2, np.uint32)),
        lambda entry: (entry / "manifest.json").unlink(),
        lambda entry: (entry / "manifest.json").write_text('{"format": 1, "ski'),
        lambda entry: (entry / "manifest.json").write_text("[]"),
        lambda entry: (entry / "manifest.json").write_text('{"skipped": [{"image": 1}]}'),
    ],
)
def test_damaged_entries_are_made_again(tmp_path: Path, damage: object) -> None:
    dataset = _Noise(count=20)
    pack(dataset, "val", 8, cache_dir=tmp_path)
    damage(_entry(tmp_path))  # type: ignore[operator]
    decoded = dataset.decoded
    packed = pack(dataset, "val", 8, cache_dir=tmp_path)
    assert dataset.decoded == decoded + 20
    assert np.array_equal(packed.images, _expected(dataset, 8))
    pack(dataset, "val", 8, cache_dir=tmp_path)
    assert dataset.decoded == decoded + 40  # 20 of packing, 20 of _expected, none of the last call


def test_bad_images_stop_the_packing(tmp_path: Path) -> None:
    dataset = _Noise(bad=(140, 70))
    for cache in (None, tmp_path):
        with pytest.raises(DataError, match=r"^70.png: damaged"):
            pack(dataset, "val", 8, cache_dir=cache, workers=4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cached", [False, True])
def test_bad_images_are_skipped_and_counted(tmp_path: Path, cached: bool) -> None:
    dataset = _Noise(bad=(0, 70, 149))
    cache = tmp_path if cached else None
    for _ in range(2):
        packed = pack(dataset, "val", 8, cache_dir=cache, on_bad_image="skip")
        assert [skipped.image_id for skipped in packed.skipped] == ["0.png", "70.png", "149.png"]
        assert packed.skipped[1].reason == "70.png: damaged"
        assert len(packed) == len(packed.labels) == len(packed.images) == 147
        assert packed.ids[:2] == ("1.png", "2.png") and packed.labels[:2].tolist() == [1, 0]
        assert np.array_equal(packed.images, _expected(dataset, 8))
    if cached:
        assert {path.name for path in _entry(tmp_path).iterdir()} == {"images.npy", "checksums.npy", "manifest.json"}
        assert json.loads((_entry(tmp_path) / "manifest.json").read_text())["kept"] == 147
        with pytest.raises(DataError, match="damaged"):
            pack(dataset, "val", 8, cache_dir=cache)


def test_nothing_left() -> None:
    with pytest.raises(DataError, match=r"none of 3 can be decoded; the first: 0.png: damaged"):
        pack(_Noise(count=3, bad=(0, 1, 2)), "val", 8, on_bad_image="skip")
    with pytest.raises(DataError, match="the split is empty"):
        pack(_Noise(count=0), "val", 8)


def test_progress_rises_to_the_total() -> None:
    calls: list[tuple[int, int]] = []
    pack(_Noise(), "val", 8, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (150, 150) and calls == sorted(calls) and len(calls) > 1


def test_an_interrupted_packing_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(_Noise(), "val", 8, cache_dir=tmp_path, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_two_at_the_same_time_both_succeed(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        packs = list(pool.map(lambda _: pack(_Noise(count=40), "val", 8, cache_dir=tmp_path), range(4)))
    assert all(np.array_equal(packed.images, packs[0].images) for packed in packs)
    assert len(list(tmp_path.iterdir())) == 1


def test_unusable_arguments() -> None:
    with pytest.raises(UsageError, match="side of at least 1"):
        pack(_Noise(), "val", 0)
    with pytest.raises(UsageError, match="at least 1 decoding thread"):
        pack(_Noise(), "val", 8, workers=0)
    with pytest.raises(UsageError, match="--on-bad-image"):
        pack(_Noise(), "val", 8, on_bad_image="ignore")  # type: ignore[arg-type]


def test_room_is_set_aside_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing into a map on a full disk would kill the process."""

    def full(descriptor: int, offset: int, length: int) -> None:
        assert length > 150 * 12 * 12 * 3
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(WsolBenchError, match=r"No space left on device.*free disk space"):
        pack(_Noise(), "val", 12, cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_cache_has_and_needs(tmp_path: Path) -> None:
    noise = _Noise()
    assert packed_bytes(noise, "val", 12) == 150 * 12 * 12 * 3
    assert not is_packed(noise, "val", 12, tmp_path)
    packed = pack(noise, "val", 12, cache_dir=tmp_path)
    assert packed.images.nbytes == packed_bytes(noise, "val", 12)
    assert is_packed(noise, "val", 12, tmp_path)
    assert not is_packed(noise, "val", 13, tmp_path)
    assert not is_packed(_Noise(version="2"), "val", 12, tmp_path)
