"""Whole trials of methods with frozen parts: what is kept saves time and changes no bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from frozen_parts import Colours, Counting, OnColours, StoppedError, Teacher
from tiny_trial import artefacts, make_config
from torch import Tensor

from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.datasets.packed import pack
from wsol_bench.errors import WsolBenchError
from wsol_bench.methods.dips import Proposals
from wsol_bench.models.clip_es import ClipEsMaps
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.models.frozen_vit import FrozenPatches, FrozenVit
from wsol_bench.registry import METHODS, Registry
from wsol_bench.training import kept_answers
from wsol_bench.training.batches import training_side
from wsol_bench.training.config import TrialConfig
from wsol_bench.training.loop import TrialData, run_trial
from wsol_bench.training.trial_folder import TrialFolder

CPU = torch.device("cpu")
TRAIN, VAL, TEST = 32, 16, 16


class Log:
    """Notes what it is told, and stops the run at one of these moments."""

    def __init__(self, stop: tuple[int, int] | int | None = None) -> None:
        self.stop = stop
        self.notes: list[str] = []

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        if self.stop == (epoch, step):
            raise StoppedError

    def on_epoch(self, summary: dict[str, Any]) -> None:
        if self.stop == summary["epoch"]:
            raise StoppedError

    def on_note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def registered(methods: Registry[Any]) -> Registry[Any]:
    methods.register("on_colours")(OnColours)
    return methods


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the images that frozen parts of any trial compute."""
    counts = {"Colours": 0, "Teacher": 0}
    inner = Counting.compute

    def counting(self: Counting, images: Tensor, labels: Tensor | None) -> Answers:
        answers = inner(self, images, labels)
        counts[type(self).__name__] += len(images)
        return answers

    monkeypatch.setattr(Counting, "compute", counting)
    return counts


def _config(method: str = "on_colours", *, epochs: int = 2, seed: int = 0, lr: float = 0.05, **hparams: Any) -> Any:
    config = make_config(method, epochs=epochs, seed=seed, lr=lr)
    return config.model_copy(update={"hparams": config.hparams | hparams})


def _run(config: TrialConfig, data: TrialData, workspace: Path, log: Log | None = None, **options: Any) -> Any:
    """Returns what must not depend on interruptions nor on what is kept."""
    assert run_trial(config, data, workspace, device=CPU, observer=log, **options) == "complete"  # type: ignore[arg-type]
    return artefacts(TrialFolder.of(workspace, config).path)


def _stop(config: TrialConfig, data: TrialData, workspace: Path, log: Log | None = None, **options: Any) -> None:
    with pytest.raises(StoppedError):
        _run(config, data, workspace, log, **options)


def _kept(workspace: Path) -> list[str]:
    """Splits and views in ``features/``, without sides and keys."""
    names = [path.name.split("-") for path in (workspace / "features").iterdir()]
    return sorted("-".join([name[1], *name[4:-1]]) for name in names)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: TrialData) -> Any:
    """Artefacts of the uninterrupted trial that keeps nothing."""
    workspace = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METHODS, "_entries", dict(METHODS._entries))
        METHODS.register("on_colours")(OnColours)
        files = _run(_config(), data, workspace, keep_answers=False)
    assert not (workspace / "features").exists()
    return files


@pytest.mark.parametrize("resident_bytes", [1 << 30, 0], ids=["resident", "mapped"])
def test_kept_answers_change_no_bit_of_a_trial(
    tmp_path: Path,
    data: TrialData,
    whole: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    resident_bytes: int,
) -> None:
    monkeypatch.setattr(kept_answers, "RESIDENT_BYTES", resident_bytes)
    assert _run(_config(), data, tmp_path) == whole
    assert _kept(tmp_path) == sorted(
        ["train-crop-0", "train-crop-1", "train-whole", "val-frame", "val-frame", "test-frame", "test-frame"]
    )


def test_an_encoder_runs_once_per_image_and_view(tmp_path: Path, data: TrialData, computed: dict[str, int]) -> None:
    _run(_config(), data, tmp_path)
    once = {"Colours": 2 * (TRAIN + 1) + VAL + 1 + TEST + 1, "Teacher": TRAIN + 1 + VAL + 1 + TEST + 1}
    assert computed == once
    _run(_config(lr=0.1, seed=3, epochs=3), data, tmp_path)
    assert computed == once, "other trials of the workspace read them"
    _run(_config(), data, tmp_path / "off", keep_answers=False)
    assert computed == {name: once[name] + 2 * TRAIN + 3 * (VAL + TEST) for name in once}


def test_with_free_crops_training_images_are_computed(
    tmp_path: Path, data: TrialData, computed: dict[str, int]
) -> None:
    files = _run(_config(views=0), data, tmp_path)
    assert _kept(tmp_path) == ["test-frame", "test-frame", "train-whole", "val-frame", "val-frame"]
    assert computed["Colours"] == 2 * TRAIN + VAL + 1 + TEST + 1
    assert files == _run(_config(views=0), data, tmp_path / "off", keep_answers=False)
    assert files != _run(_config(views=1), data, tmp_path / "fixed") | {"config.yaml": files["config.yaml"]}


@pytest.mark.parametrize("stop", [0, (1, 2), 1, (2, 4)], ids=str)
def test_going_on_equals_never_having_stopped(
    tmp_path: Path, data: TrialData, whole: dict[str, bytes], stop: tuple[int, int] | int
) -> None:
    _stop(_config(), data, tmp_path, Log(stop))
    torch.manual_seed(12345)
    assert _run(_config(), data, tmp_path) == whole


def test_what_is_kept_may_be_lost_or_left_out_in_between(
    tmp_path: Path, data: TrialData, whole: dict[str, bytes]
) -> None:
    _stop(_config(), data, tmp_path, Log(1))
    for place in (tmp_path / "features").iterdir():
        (place / "state.json").unlink()
    _stop(_config(), data, tmp_path, Log((2, 1)), keep_answers=False)
    assert _run(_config(), data, tmp_path) == whole


@pytest.mark.parametrize("part", [Colours, Teacher])
@pytest.mark.parametrize("limit", [1, 10, 26])
def test_stopped_while_answers_are_made(
    tmp_path: Path,
    data: TrialData,
    whole: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    computed: dict[str, int],
    part: type[Counting],
    limit: int,
) -> None:
    """Each process is stopped after so many images of its own, and what was finished before is not done again."""
    monkeypatch.setattr(kept_answers, "_BLOCK", 8)
    with monkeypatch.context() as limited:
        limited.setattr(part, "limit", limit)
        _stop(_config(), data, tmp_path)
    assert computed[part.__name__] <= limit
    before = dict(computed)
    assert _run(_config(), data, tmp_path) == whole
    complete = {"Colours": 2 * (TRAIN + 1) + VAL + 1 + TEST + 1, "Teacher": TRAIN + 1 + VAL + 1 + TEST + 1}
    saved = {name: complete[name] - computed[name] + before[name] for name in complete}
    # Recording comes first: 8 images of val and one for the shapes; or all of val, and 8 of test.
    assert saved[part.__name__] == {1: 0, 10: 8, 26: VAL + 1 + 8}[limit]


def test_images_without_identity_leave_nothing_on_disk(tmp_path: Path, data: TrialData) -> None:
    anonymous = _without_identity(data)
    run_trial(_config(), anonymous, tmp_path, device=CPU)
    assert not (tmp_path / "features").exists()


@pytest.mark.parametrize("keep", [True, False])
def test_images_without_identity_give_the_same_records(
    tmp_path: Path, data: TrialData, whole: dict[str, bytes], keep: bool
) -> None:
    assert _run(_config(), _without_identity(data), tmp_path, keep_answers=keep) == whole


def _without_identity(data: TrialData) -> TrialData:
    return dataclasses.replace(
        data, **{name: dataclasses.replace(split, identity="") for name, split in data.splits.items()}
    )


def test_long_preparations_are_announced(tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "_BLOCK", VAL)
    _run(_config(), data, tmp_path, log := Log())
    assert sorted(log.notes) == [
        f"running a frozen network over {TRAIN} images, once ({view})" for view in ("crop-0", "crop-1", "whole")
    ]
    _run(_config(seed=1), data, tmp_path, log := Log())
    assert log.notes == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, data: TrialData, whole: dict[str, bytes]) -> None:
    (tmp_path / "features").write_text("not a folder")
    with pytest.raises(WsolBenchError, match=rf"write {tmp_path}/features/critters-\S+ but the system refused: Not a"):
        _run(_config(), data, tmp_path)
    (tmp_path / "features").unlink()
    assert _run(_config(), data, tmp_path) == whole


def test_a_method_with_nothing_to_train_keeps_nothing(
    tmp_path: Path, data: TrialData, registered: Registry[Any]
) -> None:
    @registered.register("untrained")
    class Untrained(OnColours):
        def build(self, *args: Any) -> None:
            super().build(*args)
            self.requires_grad_(False)

    assert run_trial(_config("untrained"), data, tmp_path, device=CPU) == "complete"
    assert not (tmp_path / "features").exists()


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Built-in parts compute image by image: matrix products of another number of rows may differ in the last bit."""

    def alone(part: type[FrozenFunction]) -> None:
        inner = part.compute

        def compute(self: FrozenFunction, images: Tensor, labels: Tensor | None) -> Answers:
            found = [
                inner(self, images[i : i + 1], None if labels is None else labels[i : i + 1])
                for i in range(len(images))
            ]
            return {name: torch.cat([one[name] for one in found]) for name in found[0]}

        monkeypatch.setattr(part, "compute", compute)

    for part in (FrozenVit, FrozenPatches, ClipEsMaps, Proposals):
        alone(part)
    return iter(())


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize(
    ("method", "hparams", "stop"),
    [
        ("dino_attention", {"heads": 1}, (1, 1)),
        ("ted_loc", {"blocks": 1, "width": 8}, (1, 1)),
        ("dips", {"views": 1}, (2, 1)),
    ],
)
def test_built_in_methods(tmp_path: Path, method: str, hparams: dict[str, Any], stop: tuple[int, int]) -> None:
    critters = Critters(size=64, train=8, val=4, test=4)
    sides = {"train": training_side(critters.frame), "val": critters.frame, "test": critters.frame}
    few = TrialData(
        **{name: pack(critters, name, side) for name, side in sides.items()}, class_names=critters.class_names
    )
    config = _config(method, epochs=stop[0], **{"views": 2} | hparams).model_copy(update={"batch_size": 4})
    expected = _run(config, few, tmp_path / "off", keep_answers=False)
    _stop(config, few, tmp_path, Log(stop))
    assert _run(config, few, tmp_path) == expected
    assert set(_kept(tmp_path)) >= {"train-crop-0", "val-frame", "test-frame"}
    assert ("train-whole" in _kept(tmp_path)) == (method != "dino_attention")
