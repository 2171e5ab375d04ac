from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from frozen_parts import Colours, Counting, StoppedError, Teacher
from torch import Tensor

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.errors import WsolBenchError
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.training import kept_answers
from wsol_bench.training.kept_answers import KeptAnswers, Shelf, View, answering

CPU = torch.device("cpu")
COUNT, BLOCK = 20, 8
ALL = np.arange(COUNT)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "_BLOCK", BLOCK)


def _split(identity: str = "pictures-train-8-0123\nskipped", seed: int = 0) -> PackedSplit:
    pixels = np.random.default_rng(seed).integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)
    return PackedSplit(tuple(map(str, range(COUNT))), ALL % 7, pixels, identity=identity)


def _view(split: PackedSplit, name: str = "frame", key: str = "", mirrored: bool = False) -> View:
    def images(rows: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(split.images[rows].copy()).permute(0, 3, 1, 2).float() / 255 - 0.5
        return pixels.flip(3) if mirrored else pixels, torch.from_numpy(split.labels[rows])

    return View(name, key, images)


def _shelf(folder: Path | None, part: FrozenFunction, say: Any = lambda _: None, **view: Any) -> Shelf:
    """What a new process would have."""
    split = _split()
    return KeptAnswers(folder, CPU, say).of(part, split, _view(split, **view))


def _expected(part: FrozenFunction, rows: np.ndarray = ALL, **view: Any) -> Answers:
    return part(*_view(_split(), **view).images(rows))


def _assert_same(got: Answers, expected: Answers) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        assert torch.equal(got[name], value), name


def _stopped(folder: Path, limit: int) -> Path:
    """Stops before image ``limit + 1`` is computed; returns the folder that is left."""
    part = Colours()
    part.limit = limit
    with pytest.raises(StoppedError):
        _shelf(folder, part).take(ALL[:1])
    (place,) = folder.iterdir()
    return place


def _done(place: Path) -> int:
    return int(json.loads((place / "state.json").read_text())["done"])


@pytest.mark.parametrize("resident_bytes", [1 << 30, 0], ids=["resident", "mapped"])
@pytest.mark.parametrize("part_class", [Colours, Teacher])
def test_kept_answers_are_the_computed_ones_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_class: type[Counting], resident_bytes: int
) -> None:
    monkeypatch.setattr(kept_answers, "RESIDENT_BYTES", resident_bytes)
    rows = np.array([3, 19, 0, 3, 8, 7])
    expected = _expected(part_class(), rows)
    assert any(value.dtype == torch.float32 for value in expected.values())
    shelf = _shelf(tmp_path, part_class())
    _assert_same(shelf.take(rows), expected)
    assert (shelf._resident is None) == (resident_bytes == 0)
    assert all(isinstance(array, np.memmap) for array in (shelf._arrays or {}).values())
    for value in shelf.take(rows).values():
        value.zero_()  # what is handed out is the caller's own
    _assert_same(shelf.take(rows), expected)
    _assert_same(_shelf(tmp_path, part_class()).take(rows), expected)
    _assert_same(_shelf(None, part_class()).take(rows), expected)


def test_floats_take_two_bytes_on_disk_and_the_rest_keeps_its_type(tmp_path: Path) -> None:
    _shelf(tmp_path, Colours()).take(ALL)
    (place,) = tmp_path.iterdir()
    assert place.name.startswith("pictures-train-8-0123-frame-")
    kept = {path.stem: np.load(path) for path in place.glob("*.npy")}
    assert {name: str(array.dtype) for name, array in kept.items()} == {
        "patches": "float16", "peak": "int64", "bright": "bool",
    }  # fmt: skip
    assert {len(array) for array in kept.values()} == {COUNT}


def test_nothing_is_computed_before_it_is_asked_for_nor_twice(tmp_path: Path) -> None:
    first, second = Colours(), Colours()
    shelf = _shelf(tmp_path, first)
    assert first.computed == 0 and not any(tmp_path.iterdir())
    shelf.take(ALL[:2])
    shelf.take(ALL[5:])
    assert first.computed == COUNT + 1, "all images, and one that tells the shapes"
    _shelf(tmp_path, second).take(ALL)
    assert second.computed == 0


def test_one_process_holds_equal_parts_once(tmp_path: Path) -> None:
    answers, split = KeptAnswers(tmp_path, CPU), _split()
    assert answers.of(Colours(), split, _view(split)) is answers.of(Colours(), split, _view(split))


def test_a_stop_in_a_block_costs_that_block_only(tmp_path: Path) -> None:
    place = _stopped(tmp_path, limit=1 + BLOCK)
    assert _done(place) == BLOCK
    arrays = {path.stem: np.lib.format.open_memmap(path, mode="r+") for path in place.glob("*.npy")}
    arrays["peak"][:BLOCK] = 77  # kept: they are done
    arrays["peak"][BLOCK:] = 99  # as a killed process may leave them
    arrays["patches"][BLOCK:] = np.nan
    for array in arrays.values():
        array.flush()
    part = Colours()
    got, expected = _shelf(tmp_path, part).take(ALL), _expected(Colours())
    assert part.computed == 1 + COUNT - BLOCK
    assert got["peak"].tolist() == [77] * BLOCK + expected["peak"][BLOCK:].tolist()
    assert torch.equal(got["patches"], expected["patches"])
    assert _done(place) == COUNT


@pytest.mark.parametrize("limit", [0, 1, 5, 9, 17, 20])
def test_stopped_anywhere_the_next_one_completes_it(tmp_path: Path, limit: int) -> None:
    place = _stopped(tmp_path, limit)
    done = max(limit - 1, 0) // BLOCK * BLOCK
    assert not done or _done(place) == done
    part = Colours()
    _assert_same(_shelf(tmp_path, part).take(ALL), _expected(Colours()))
    assert part.computed == 1 + COUNT - done


def test_two_processes_at_once_compute_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computing, waiting = threading.Event(), threading.Event()

    class Watched(FileLock):
        def acquire(self, *args: Any, **kwargs: Any) -> Any:
            if computing.is_set():
                waiting.set()
            return super().acquire(*args, **kwargs)

    class Slow(Colours):
        def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
            computing.set()
            assert waiting.wait(60), "the other one did not ask for the lock"
            return super().compute(images, labels)

    monkeypatch.setattr(kept_answers, "FileLock", Watched)
    first, second = Slow(), Colours()
    found: list[Answers] = []
    one = threading.Thread(target=lambda: found.append(_shelf(tmp_path, first).take(ALL)))
    other = threading.Thread(target=lambda: found.append(_shelf(tmp_path, second).take(ALL)))
    one.start()
    assert computing.wait(60)
    other.start()
    one.join(60)
    other.join(60)
    assert (first.computed, second.computed) == (COUNT + 1, 0)
    for answers in found:
        _assert_same(answers, _expected(Colours()))
    assert len(found) == 2


def test_everything_that_answers_depend_on_is_in_the_key(tmp_path: Path) -> None:
    split, other, fewer = _split(), _split("pictures-train-8-4567", seed=1), _split("pictures-train-8-0123", seed=2)
    cases = [
        (Colours(), split, _view(split)),
        (Colours(weight=1.001), split, _view(split)),
        (Colours(description="colours@2"), split, _view(split)),
        (Colours(), other, _view(other)),
        (Colours(), fewer, _view(fewer)),
        (Colours(), split, _view(split, "crop-0", mirrored=True)),
        (Colours(), split, _view(split, key="another mean", mirrored=True)),
    ]
    held, never = KeptAnswers(tmp_path / "held", CPU), KeptAnswers(None, CPU)
    for _ in range(2):
        for part, images, view in cases:
            for answers in (held, KeptAnswers(tmp_path / "anew", CPU), never):
                _assert_same(answers.of(part, images, view).take(ALL), part(*view.images(ALL)))
    assert len(list((tmp_path / "held").iterdir())) == len(list((tmp_path / "anew").iterdir())) == len(cases)


def test_moving_a_network_changes_no_key() -> None:
    moved = Colours()
    moved.to(memory_format=torch.channels_last)
    assert moved.train().identity == Colours().identity != Colours(weight=2.0).identity


def test_images_without_identity_are_computed_every_time(tmp_path: Path) -> None:
    part, split = Colours(), _split(identity="")
    shelf = KeptAnswers(tmp_path, CPU).of(part, split, _view(split))
    for times in (1, 2):
        _assert_same(shelf.take(ALL), _expected(Colours()))
        assert part.computed == times * COUNT
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [True, False])
def test_two_splits_without_identity_are_two(tmp_path: Path, kept: bool) -> None:
    answers = KeptAnswers(tmp_path if kept else None, CPU)
    for split in (_split(identity=""), _split(identity="", seed=1)):
        view = _view(split)
        _assert_same(answers.of(Colours(), split, view).take(ALL), Colours()(*view.images(ALL)))


@pytest.mark.parametrize("state", [None, "", "{", "[]", '{"done": 20}', '{"done": "x", "names": []}', "\xff"])
def test_without_a_state_everything_is_made_again(tmp_path: Path, state: str | None) -> None:
    _shelf(tmp_path, Colours()).take(ALL)
    (place,) = tmp_path.iterdir()
    if state is None:
        (place / "state.json").unlink()
    else:
        (place / "state.json").write_text(state, encoding="latin-1")
    part = Colours()
    _assert_same(_shelf(tmp_path, part).take(ALL), _expected(Colours()))
    assert part.computed == COUNT + 1


def test_a_missing_array_is_made_again(tmp_path: Path) -> None:
    _shelf(tmp_path, Colours()).take(ALL)
    (place,) = tmp_path.iterdir()
    (place / "peak.npy").unlink()
    _assert_same(_shelf(tmp_path, Colours()).take(ALL), _expected(Colours()))


@pytest.mark.parametrize("limit", [1, 5])
def test_a_stop_while_it_is_made_again_leaves_nothing_to_trust(tmp_path: Path, limit: int) -> None:
    _shelf(tmp_path, Colours()).take(ALL)
    (place,) = tmp_path.iterdir()
    (place / "peak.npy").unlink()
    _stopped(tmp_path, limit)
    _assert_same(_shelf(tmp_path, Colours()).take(ALL), _expected(Colours()))


@pytest.mark.parametrize("size", [0, 50, 140])
def test_a_damaged_array_is_made_again(tmp_path: Path, size: int) -> None:
    _shelf(tmp_path, Colours()).take(ALL)
    (place,) = tmp_path.iterdir()
    (place / "peak.npy").write_bytes((place / "peak.npy").read_bytes()[:size])
    _assert_same(_shelf(tmp_path, Colours()).take(ALL), _expected(Colours()))


@pytest.mark.parametrize("size", [0, 50, 140])
def test_a_damaged_array_of_a_half_made_folder_is_not_trusted(tmp_path: Path, size: int) -> None:
    place = _stopped(tmp_path, limit=1 + BLOCK)
    (place / "peak.npy").write_bytes((place / "peak.npy").read_bytes()[:size])
    _assert_same(_shelf(tmp_path, Colours()).take(ALL), _expected(Colours()))


def test_an_array_of_another_length_is_made_again(tmp_path: Path) -> None:
    _shelf(tmp_path, Colours()).take(ALL)
    (place,) = tmp_path.iterdir()
    np.save(place / "peak.npy", np.zeros(COUNT - 1, dtype=np.int64))
    part = Colours()
    shelf = _shelf(tmp_path, part)
    _assert_same(shelf.take(ALL), _expected(Colours()))
    before = part.computed
    shelf.take(ALL)
    assert part.computed == before


def test_what_would_fill_the_disk_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = COUNT * (5 * 16 * 2 + 8 + 1)
    usage = type(shutil.disk_usage(tmp_path))
    said: list[str] = []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 2 * needed - 2))
    part = Colours()
    shelf = _shelf(tmp_path, part, said.append)
    for _ in range(3):
        _assert_same(shelf.take(ALL[4:7]), _expected(Colours(), ALL[4:7]))
    assert part.computed == 1 + 3 * 3
    assert len(said) == 1 and "features of 20 images would take" in said[0] and "not kept" in said[0]
    assert not list(tmp_path.rglob("*.npy")) and not list(tmp_path.rglob("*.json"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 2 * needed + 2))
    _shelf(tmp_path, Colours(), said.append).take(ALL)
    assert len(list(tmp_path.rglob("*.npy"))) == 3


def test_what_takes_long_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    shelf = _shelf(tmp_path, Colours(), said.append, name="crop-3")
    shelf.take(ALL)
    shelf.take(ALL)
    _shelf(tmp_path, Colours(), said.append, name="crop-3").take(ALL)
    assert said == ["running a frozen network over 20 images, once (crop-3)"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WsolBenchError, match=rf"write {tmp_path}/file/pictures.* system refused: Not a directory"):
        _shelf(tmp_path / "file", Colours()).take(ALL)

    def read_only(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(kept_answers.FileLock, "acquire", read_only)
    with pytest.raises(WsolBenchError, match=rf"write {tmp_path}/pictures.* system refused: Read-only file system"):
        _shelf(tmp_path, Colours()).take(ALL)


def test_a_limit_of_the_system_is_an_error_for_people(tmp_path: Path) -> None:
    """No patching here: NumPy really fails to make the file, and nothing is left that would be trusted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(WsolBenchError, match=r"-frame-\w+ but the system refused: File too large"):
            _shelf(tmp_path, Colours()).take(ALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    _assert_same(_shelf(tmp_path, Colours()).take(ALL), _expected(Colours()))


def test_parts_answer_for_the_batch_in_use_only() -> None:
    encoder, teacher, asked = Colours(), Teacher(), []
    images, labels = _view(_split()).images(ALL)
    kept = {"patches": torch.ones(COUNT)}

    def look_up(part: FrozenFunction) -> Answers:
        asked.append(part)
        return kept

    with answering([encoder, teacher], images, labels, look_up):
        assert not asked, "parts that nobody calls are not looked up"
        assert encoder(images) is kept and encoder(images, labels) is kept
        assert teacher(images, labels) is kept
        assert encoder(images.clone()) is not kept
        assert teacher(images, labels.clone()) is not kept, "labels may differ, such as predicted ones"
        assert asked == [encoder, encoder, teacher]
    with pytest.raises(StoppedError), answering([encoder, teacher], images, labels, look_up):
        raise StoppedError
    assert encoder(images) is not kept and teacher(images, labels) is not kept
    with answering([], images, labels, look_up):
        assert encoder(images) is not kept


def test_a_disk_that_is_full_is_an_error_and_not_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(WsolBenchError, match=r"No space left on device.*free disk space"):
            _shelf(tmp_path, Colours()).take(ALL)
    _assert_same(_shelf(tmp_path, Colours()).take(ALL), _expected(Colours()))


def test_devices_do_not_share(tmp_path: Path) -> None:
    split = _split()
    first, other = (
        KeptAnswers(tmp_path, torch.device(name)).of(Colours(), split, _view(split)) for name in ("cpu", "cuda")
    )
    assert first._place != other._place
