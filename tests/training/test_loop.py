from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from tiny_trial import Quick, artefacts, make_config
from torch import Tensor

from wsol_bench.annotations import firewall
from wsol_bench.errors import DataError, PluginError, RecordError, WsolBenchError
from wsol_bench.methods.base import Batch, Localization
from wsol_bench.records.run_record import read_record
from wsol_bench.registry import Registry
from wsol_bench.training import loop, training_state
from wsol_bench.training.config import TrialConfig
from wsol_bench.training.loop import TrialData, run_trial
from wsol_bench.training.trial_folder import DIVERGED, Status, TrialFolder

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("methods")


class StoppedError(Exception):
    pass


class Log:
    """Notes what it is told, and stops the run at one of these moments."""

    def __init__(self, stop: tuple[int, int] | int | None = None) -> None:
        self.stop = stop
        self.steps: list[tuple[int, int, int]] = []
        self.epochs: list[int] = []

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self.steps.append((epoch, step, steps))
        if self.stop == (epoch, step):
            raise StoppedError

    def on_epoch(self, summary: dict[str, Any]) -> None:
        self.epochs.append(summary["epoch"])
        if self.stop == summary["epoch"]:
            raise StoppedError


def _run(config: TrialConfig, data: TrialData, workspace: Path, log: Log | None = None, **options: Any) -> Status:
    return run_trial(config, data, workspace, device=CPU, observer=log, **options)


def _folder(workspace: Path, config: TrialConfig) -> TrialFolder:
    return TrialFolder.of(workspace, config)


@pytest.fixture
def whole(tmp_path: Path, data: TrialData) -> dict[str, bytes]:
    """Artefacts of the uninterrupted run of ``make_config()``."""
    assert _run(make_config(), data, tmp_path / "whole") == "complete"
    return artefacts(_folder(tmp_path / "whole", make_config()).path)


def test_what_a_finished_trial_holds(tmp_path: Path, data: TrialData) -> None:
    config = make_config(gamma=0.5)
    log = Log()
    assert _run(config, data, tmp_path, log) == "complete"
    assert log.epochs == [0, 1, 2]
    assert log.steps == [(epoch, step, 4) for epoch in (1, 2) for step in (1, 2, 3, 4)]
    folder = _folder(tmp_path, config)
    lines = folder.history()
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert [line["lr"] for line in lines] == [0.05, 0.05, 0.025]
    assert lines[0]["loss"] is None
    assert all(0 < line["loss"] < 10 for line in lines[1:])
    for line in lines:
        for split, packed in (("val", data.val), ("test", data.test)):
            record = read_record(folder.record(split, line["epoch"]))
            assert record.ids == packed.ids
            assert record.maps is None
            assert line[f"{split}_top1"] == 100 * record.top1_hits.mean()
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "checkpoints", "config.yaml", "epochs.jsonl", "provenance.json", "records", "trial.lock",
    ]  # fmt: skip


def test_provenance_says_that_no_box_was_read(tmp_path: Path, data: TrialData) -> None:
    _run(make_config(), data, tmp_path)
    provenance = json.loads(_folder(tmp_path, make_config()).provenance.read_text())
    assert provenance["trial"] == make_config().trial_id
    assert provenance["supervision"] == "none"
    assert provenance["annotations_read"] == []
    assert provenance["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("stop", [0, 1, (1, 2), (2, 1), (2, 4)], ids=str)
def test_going_on_equals_never_having_stopped(
    tmp_path: Path, data: TrialData, whole: dict[str, bytes], stop: tuple[int, int] | int
) -> None:
    config = make_config()
    folder = _folder(tmp_path, config)
    with pytest.raises(StoppedError):
        _run(config, data, tmp_path, Log(stop))
    finished = stop if isinstance(stop, int) else stop[0] - 1
    assert folder.status(config) == "partial"
    assert [line["epoch"] for line in folder.history()] == list(range(finished + 1))
    old = {path: path.stat().st_mtime_ns for path in (folder.path / "records").iterdir()}
    torch.manual_seed(12345)
    log = Log()
    assert _run(config, data, tmp_path, log) == "complete"
    assert log.epochs == list(range(finished + 1, 3)), "finished epochs are not repeated"
    assert {path: path.stat().st_mtime_ns for path in old} == old
    assert artefacts(folder.path) == whole


def test_a_complete_trial_is_left_alone(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    monkeypatch.setattr(training_state, "build_method", None)
    monkeypatch.setattr(loop, "_locked", None)
    assert _run(make_config(), data, tmp_path / "whole", log := Log()) == "complete"
    assert log.epochs == []


def test_losing_the_history_alone_is_no_loss(tmp_path: Path, data: TrialData, whole: dict[str, bytes]) -> None:
    """The history is written last: a process killed right before leaves it one epoch behind the checkpoint."""
    config = make_config()
    folder = _folder(tmp_path, config)
    with pytest.raises(StoppedError):
        _run(config, data, tmp_path, Log(1))
    folder.write_history(folder.history()[:1])
    _run(config, data, tmp_path, log := Log())
    assert log.epochs == [2]
    assert artefacts(folder.path) == whole


def test_losing_the_checkpoint_starts_over(tmp_path: Path, data: TrialData, whole: dict[str, bytes]) -> None:
    config = make_config()
    folder = _folder(tmp_path, config)
    with pytest.raises(StoppedError):
        _run(config, data, tmp_path, Log(1))
    folder.checkpoint.unlink()
    _run(config, data, tmp_path, log := Log())
    assert log.epochs == [0, 1, 2]
    assert artefacts(folder.path) == whole


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path, data: TrialData) -> None:
    leftover = _folder(tmp_path, make_config()).path / "records" / ".val-000.parquet.0.part"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half")
    _run(make_config(), data, tmp_path)
    assert not leftover.exists()


def test_the_seed_decides(tmp_path: Path, data: TrialData, whole: dict[str, bytes]) -> None:
    torch.manual_seed(99)
    _run(make_config(), data, tmp_path)
    assert artefacts(_folder(tmp_path, make_config()).path) == whole
    other = make_config(seed=1)
    _run(other, data, tmp_path)
    for epoch in (0, 2):
        mine, theirs = (
            read_record(_folder(tmp_path, config).record("val", epoch)) for config in (make_config(), other)
        )
        assert not np.array_equal(mine.top5_scores, theirs.top5_scores)


def test_reading_the_loss_less_often_changes_nothing(
    tmp_path: Path, data: TrialData, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_steps_per_sync", lambda device: 3)
    _run(make_config(), data, tmp_path, log := Log())
    assert log.steps == [(epoch, step, 4) for epoch in (1, 2) for step in (3, 4)]
    assert artefacts(_folder(tmp_path, make_config()).path) == whole


def test_maps_are_kept_on_demand(tmp_path: Path, data: TrialData) -> None:
    config = make_config(epochs=1)
    _run(config, data, tmp_path, keep_maps=True)
    maps = read_record(_folder(tmp_path, config).record("test", 1), with_maps=True).maps
    assert maps is not None
    assert maps.shape == (16, 8, 8)


def test_somebody_else_trains_it(tmp_path: Path, data: TrialData) -> None:
    config = make_config()
    folder = _folder(tmp_path, config)
    folder.path.mkdir(parents=True)
    with FileLock(folder.lock), pytest.raises(WsolBenchError, match=f"{config.trial_id} to be free but another"):
        _run(config, data, tmp_path)
    assert _run(config, data, tmp_path) == "complete"


def test_an_error_frees_the_trial_and_the_firewall(tmp_path: Path, data: TrialData) -> None:
    with pytest.raises(StoppedError):
        _run(make_config(), data, tmp_path, Log(0))
    with FileLock(_folder(tmp_path, make_config()).lock).acquire(timeout=0), firewall.judging("a test"):
        firewall.read("gt", "val")


@contextmanager
def _full_disk_at(monkeypatch: pytest.MonkeyPatch, write: int) -> Iterator[list[int]]:
    """The given write of the process, and all after it, meet a full disk."""
    done: list[int] = []
    fsync = os.fsync

    def full(descriptor: int) -> None:
        done.append(descriptor)
        if len(done) > write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        yield done


def test_a_disk_that_fills_up_at_any_write_corrupts_nothing(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(epochs=1)
    with _full_disk_at(monkeypatch, 1000) as writes:
        _run(config, data, tmp_path / "whole")
    expected = artefacts(_folder(tmp_path / "whole", config).path)
    assert len(writes) > 10
    for write in range(len(writes)):
        workspace = tmp_path / str(write)
        folder = _folder(workspace, config)
        with _full_disk_at(monkeypatch, write), pytest.raises(WsolBenchError, match=r"No space left.*Fix: free disk"):
            _run(config, data, workspace)
        assert not list(folder.path.rglob("*.part"))
        for line in folder.history():
            for split in ("val", "test"):
                read_record(folder.record(split, line["epoch"]))
        assert _run(config, data, workspace) == "complete"
        assert artefacts(folder.path) == expected


def test_a_limit_of_the_system_is_reported_like_a_full_disk(tmp_path: Path, data: TrialData) -> None:
    """No patching here: torch and Arrow really fail to write."""
    config = make_config(epochs=1)
    _run(config, data, tmp_path / "whole")
    sizes = {path.name: path.stat().st_size for path in _folder(tmp_path / "whole", config).path.rglob("*.*")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in ("val-000.parquet", "last.pt"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[name] - 1, hard))
        try:
            with pytest.raises(WsolBenchError, match=f"{name} but the system refused: .*File too large"):
                _run(config, data, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        (tmp_path / "trials").rename(tmp_path / name)
    assert _run(config, data, tmp_path) == "complete"


def test_a_workspace_that_cannot_be_written(tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WsolBenchError, match=r"trial\.lock but the system refused.*choose a writable --workspace"):
        _run(make_config(), data, tmp_path / "file")

    def read_only(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(WsolBenchError, match="Read-only file system"):
        _run(make_config(), data, tmp_path / "new")


def test_damaged_files_say_what_to_delete(tmp_path: Path, data: TrialData) -> None:
    config = make_config()
    folder = _folder(tmp_path, config)
    with pytest.raises(StoppedError):
        _run(config, data, tmp_path, Log(1))
    for path in (folder.checkpoint, folder.provenance, folder.path / "epochs.jsonl"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(RecordError, match=rf"{path.name}: damaged(?s:.*)delete {folder.path} and run"):
            _run(config, data, tmp_path)
        path.write_bytes(content)
    assert _run(config, data, tmp_path) == "complete"


def _assert_diverged(config: TrialConfig, data: TrialData, workspace: Path, last_good: int) -> None:
    assert _run(config, data, workspace) == "diverged"
    folder = _folder(workspace, config)
    lines = folder.history()
    assert [line["epoch"] for line in lines] == list(range(last_good + 1))
    assert lines[-1][DIVERGED] == last_good + 1
    assert np.isfinite(read_record(folder.record("test", last_good)).top5_scores).all()
    assert not folder.record("val", last_good + 1).exists()
    assert json.loads(folder.provenance.read_text())["supervision"] == "none"
    assert _run(config, data, workspace, log := Log()) == "diverged"
    assert (log.steps, log.epochs) == ([], [])


def test_a_learning_rate_that_is_too_high(tmp_path: Path, data: TrialData) -> None:
    _assert_diverged(make_config(lr=1e25), data, tmp_path, last_good=0)


def test_a_loss_that_stops_being_finite(tmp_path: Path, data: TrialData, methods: Registry[Any]) -> None:
    @methods.register("nan_loss")
    class NanLoss(Quick):
        def training_step(self, batch: Batch) -> dict[str, Tensor]:
            losses = super().training_step(batch)
            return losses | {"bad": losses["cross_entropy"] * (torch.nan if batch.epoch == 2 else 0.0)}

    _assert_diverged(make_config("nan_loss", epochs=3), data, tmp_path, last_good=1)


def test_scores_that_stop_being_finite_after_the_last_step(
    tmp_path: Path, data: TrialData, methods: Registry[Any]
) -> None:
    @methods.register("nan_scores")
    class NanScores(Quick):
        def training_step(self, batch: Batch) -> dict[str, Tensor]:
            self.epoch = batch.epoch
            return super().training_step(batch)

        def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
            prediction = super().localize(images, labels)
            broken = getattr(self, "epoch", 0) == 2
            return Localization(prediction.maps, prediction.logits * (torch.inf if broken else 1.0))

    _assert_diverged(make_config("nan_scores"), data, tmp_path, last_good=1)


def test_scores_that_are_not_finite_from_the_start(tmp_path: Path, data: TrialData, methods: Registry[Any]) -> None:
    @methods.register("never_finite")
    class NeverFinite(Quick):
        def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
            prediction = super().localize(images, labels)
            return Localization(prediction.maps, prediction.logits * torch.nan)

    with pytest.raises(PluginError, match="'never_finite' before any training but got NaN"):
        _run(make_config("never_finite"), data, tmp_path)


def test_a_method_that_breaks_its_contract_is_named(tmp_path: Path, data: TrialData, methods: Registry[Any]) -> None:
    @methods.register("detached")
    class Detached(Quick):
        def training_step(self, batch: Batch) -> dict[str, Tensor]:
            return {name: loss.detach() for name, loss in super().training_step(batch).items()}

    @methods.register("per_image")
    class PerImage(Quick):
        def training_step(self, batch: Batch) -> dict[str, Tensor]:
            return {"ce": self.head(self.features(batch.images)).sum(dim=1)}

    @methods.register("all_classes")
    class AllClasses(Quick):
        def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
            prediction = super().localize(images, labels)
            return Localization(prediction.maps[:, None].expand(-1, 10, -1, -1), prediction.logits)

    for method, message in [
        ("detached", "method Detached to return losses that depend on a trainable parameter"),
        ("per_image", r"method PerImage to return a scalar tensor as the loss 'ce' but got float32 of shape \[8\]"),
        ("all_classes", r"AllClasses to return float maps of shape \[16, h, w\] but got float32 of shape \[16, 10,"),
    ]:
        with pytest.raises(PluginError, match=message):
            _run(make_config(method), data, tmp_path)


def test_data_that_do_not_fit_together(data: TrialData) -> None:
    def changed(name: str, **parts: Any) -> TrialData:
        return dataclasses.replace(data, **{name: dataclasses.replace(getattr(data, name), **parts)})

    empty = {"ids": (), "labels": data.val.labels[:0], "images": data.val.images[:0]}
    for build, message in [
        (lambda: changed("val", **empty), "images in the split 'val' but it is empty"),
        (lambda: changed("test", labels=data.test.labels + 1), "labels of 'test' from 0 to 9.* but got 1 to 10"),
        (lambda: changed("train", labels=data.train.labels - 1), "but got -1 to 8"),
        (lambda: changed("test", images=data.test.images[:, 1:, 1:]), "val and test images of one side"),
        (lambda: changed("train", images=data.train.images[:, :60, :60]), "train images not below it"),
    ]:
        with pytest.raises(DataError, match=message):
            build()
