"""The training loop of one trial: SGD as in the reference, a record per epoch, and nothing lost when it is killed."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from filelock import FileLock, Timeout

from wsol_bench import __version__
from wsol_bench.annotations import firewall
from wsol_bench.atomic import whole_file, write_json
from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.errors import DataError, RecordError, WsolBenchError
from wsol_bench.methods.base import Method
from wsol_bench.metrics.evaluator import BOX_EVALUATOR
from wsol_bench.records.run_record import RunRecord, write_record
from wsol_bench.registry import METHODS
from wsol_bench.training.batches import TrainingData
from wsol_bench.training.config import OptimizerParams, TrialConfig
from wsol_bench.training.recorder import record_split
from wsol_bench.training.trial_folder import Status, TrialFolder

MOMENTUM = 0.9
LR_FLOOR = 1e-7
"""The step schedule of the reference never falls below this learning rate."""


@dataclass(frozen=True)
class TrialData:
    """What training may see: packed pixels and class labels of three splits.

    Attributes:
        train: squashed to the training side (the crop needs slack).
        val: squashed to the frame.
        test: squashed to the frame; recorded, never trained on.
        class_names: C names in label order.
    """

    train: PackedSplit
    val: PackedSplit
    test: PackedSplit
    class_names: tuple[str, ...]


class TrainingObserver(Protocol):
    """Receives progress; every call may be ignored."""

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Called after each optimiser step."""

    def on_epoch(self, summary: dict[str, Any]) -> None:
        """Called when an epoch is recorded."""


@dataclass
class _State:
    """What a checkpoint holds."""

    method: Method
    optimizer: torch.optim.SGD
    history: list[dict[str, Any]]

    @property
    def next_epoch(self) -> int:
        return 0 if not self.history else int(self.history[-1]["epoch"]) + 1

    def save(self, folder: TrialFolder) -> None:
        with whole_file(folder.checkpoint) as temporary:
            torch.save(
                {
                    "method": self.method.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "history": self.history,
                },
                temporary,
            )

    def restore(self, folder: TrialFolder, device: torch.device) -> None:
        if not folder.checkpoint.is_file():
            return
        try:
            saved = torch.load(folder.checkpoint, map_location=device, weights_only=True)
            self.method.load_state_dict(saved["method"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.history = saved["history"]
        # torch.load raises unrelated classes for damaged files, one of them a bare pickle error.
        except Exception as error:
            raise RecordError(
                f"{folder.checkpoint}: damaged checkpoint ({error}); fix: delete {folder.path} and run the trial again."
            ) from error


def run_trial(
    config: TrialConfig,
    data: TrialData,
    workspace: Path,
    *,
    device: torch.device,
    keep_maps: bool = False,
    observer: TrainingObserver | None = None,
) -> Status:
    """Trains a trial from where it stopped and records every epoch.

    Order within an epoch: records of val and test, then the checkpoint, then ``epochs.jsonl``. A process killed
    anywhere repeats at most the epoch in progress and writes the same files again: all randomness of an epoch depends
    on the trial's seed and the epoch's number.

    Args:
        config: what to run.
        data: packed splits.
        workspace: folder that holds ``trials/``.
        device: CPU or GPU.
        keep_maps: also record maps at native resolution.
        observer: receives progress.

    Returns:
        ``complete``, or ``diverged`` when the loss stopped being finite (the epochs before remain valid).

    Raises:
        FirewallError: the method tried to read ground truth.
        WsolBenchError: another process is training this trial, or the workspace cannot be written.
    """
    folder = TrialFolder.of(workspace, config)
    with _locked(folder), firewall.ledger() as book, firewall.training(f"the method '{config.method}'"):
        if folder.status(config) in ("complete", "diverged"):
            return folder.status(config)
        folder.write_config(config)
        state = _start(config, data, device)
        state.restore(folder, device)
        folder.write_history(state.history)
        frame = data.val.images.shape[1]
        train = TrainingData(data.train.images, data.train.labels, frame, device)
        while state.next_epoch <= config.epochs:
            epoch = state.next_epoch
            torch.manual_seed(_epoch_seed(config.seed, epoch))
            loss = _train_epoch(state, train, config, epoch, observer) if epoch else None
            if loss is not None and not math.isfinite(loss):
                state.history[-1:] = [state.history[-1] | {"diverged": True}]
                folder.write_history(state.history)
                break
            summary = _record_epoch(state, data, config, folder, epoch, device, keep_maps)
            summary = {"epoch": epoch, "loss": loss, "lr": _learning_rate(config, epoch), **summary}
            improved = summary["val_top1"] > max((line["val_top1"] for line in state.history), default=-1.0)
            state.history.append(summary)
            if improved:
                with whole_file(folder.best_cls) as temporary:
                    torch.save(state.method.state_dict(), temporary)
            state.save(folder)
            folder.write_history(state.history)
            if observer is not None:
                observer.on_epoch(summary)
        write_json(folder.path / "provenance.json", _provenance(config, data, book, device))
    return folder.status(config)


def load_method(config: TrialConfig, class_names: tuple[str, ...], frame: int, weights: Path) -> Method:
    """Builds the method of a trial and loads its weights, ready for prediction on the CPU.

    Raises:
        RecordError: the weights are missing or belong to another architecture.
    """
    method = _build(config, class_names, frame)
    try:
        method.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise RecordError(f"{weights}: cannot be loaded ({error}); fix: run trial {config.trial_id} again.") from error
    return method.eval()


def _build(config: TrialConfig, class_names: tuple[str, ...], frame: int) -> Method:
    method_class: type[Method] = METHODS.get(config.method)
    method = method_class()
    method.build(len(class_names), class_names, method_class.HParams.from_dict(config.hparams), frame)
    return method


def _start(config: TrialConfig, data: TrialData, device: torch.device) -> _State:
    _check(data)
    torch.manual_seed(config.seed)
    method = _build(config, data.class_names, data.val.images.shape[1]).to(device)
    params = OptimizerParams.from_dict(config.optimizer)
    groups = method.param_groups(params.lr)
    for group in groups:
        group["initial_lr"] = group["lr"]
    optimizer = torch.optim.SGD(
        groups, lr=params.lr, momentum=MOMENTUM, nesterov=True, weight_decay=params.weight_decay
    )
    return _State(method, optimizer, [])


def _check(data: TrialData) -> None:
    for name, split in (("train", data.train), ("val", data.val), ("test", data.test)):
        if len(split.ids) == 0:
            raise DataError(f"Expected images in the split '{name}' but it is empty.")
        if int(split.labels.max()) >= len(data.class_names):
            raise DataError(
                f"Expected labels of '{name}' below {len(data.class_names)} (the number of classes) but got "
                f"{int(split.labels.max())}."
            )


def _train_epoch(
    state: _State, train: TrainingData, config: TrialConfig, epoch: int, observer: TrainingObserver | None
) -> float:
    rate = _learning_rate(config, epoch) / float(config.optimizer["lr"])
    for group in state.optimizer.param_groups:
        group["lr"] = max(group["initial_lr"] * rate, LR_FLOOR)
    state.method.train()
    steps = train.steps(config.batch_size)
    total = 0.0
    for step, batch in enumerate(train.epoch(epoch, config.batch_size, config.seed, state.method.mean_std), start=1):
        losses = state.method.training_step(batch)
        loss = torch.stack(list(losses.values())).sum()
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            return value
        total += value
        if observer is not None:
            observer.on_step(epoch, step, steps, value)
    return total / steps


def _learning_rate(config: TrialConfig, epoch: int) -> float:
    """The rate of the trunk during ``epoch`` (from 1): one factor gamma after every ``step_size`` finished epochs."""
    params = OptimizerParams.from_dict(config.optimizer)
    return max(params.lr * params.gamma ** (max(epoch - 1, 0) // params.step_size), LR_FLOOR)


def _record_epoch(
    state: _State,
    data: TrialData,
    config: TrialConfig,
    folder: TrialFolder,
    epoch: int,
    device: torch.device,
    keep_maps: bool,
) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name, split in (("val", data.val), ("test", data.test)):
        record = record_split(state.method, split.ids, split.labels, split.images, device=device, keep_maps=keep_maps)
        context = {
            "trial": config.trial_id,
            "dataset": config.dataset,
            "dataset_version": config.dataset_version,
            "split": name,
            "epoch": str(epoch),
            "evaluator": BOX_EVALUATOR,
            "code_version": __version__,
        }
        write_record(folder.record(name, epoch), record, context)
        summary[f"{name}_top1"] = _percent(record)
    return summary


def _percent(record: RunRecord) -> float:
    return round(100.0 * float(np.mean(record.top1_hits)), 4)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _locked(folder: TrialFolder) -> Iterator[None]:
    folder.lock.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise WsolBenchError(
            f"Expected trial {folder.path.name} to be free but another process is training it; fix: wait for it."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _provenance(config: TrialConfig, data: TrialData, book: firewall.Ledger, device: torch.device) -> dict[str, Any]:
    return {
        "trial": config.trial_id,
        "supervision": book.supervision(),
        "annotations_read": book.as_dicts(),
        "images": {"train": len(data.train.ids), "val": len(data.val.ids), "test": len(data.test.ids)},
        "skipped_images": {
            "train": len(data.train.skipped),
            "val": len(data.val.skipped),
            "test": len(data.test.skipped),
        },
        "evaluator": BOX_EVALUATOR,
        "versions": {"wsol_bench": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
