"""The training loop of one trial: SGD as in the reference, a record per epoch, and nothing lost when it is killed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from filelock import FileLock, Timeout

from wsol_bench import __version__
from wsol_bench.annotations import firewall
from wsol_bench.atomic import refused, remove_unfinished
from wsol_bench.errors import BusyError, PluginError
from wsol_bench.metrics.evaluator import BOX_EVALUATOR
from wsol_bench.records.run_record import RunRecord, write_record
from wsol_bench.training.config import TrialConfig
from wsol_bench.training.epoch import LossOf, loss_of, train_epoch
from wsol_bench.training.feed import TrainingFeed
from wsol_bench.training.kept_answers import KeptAnswers
from wsol_bench.training.parallel import World, current_world
from wsol_bench.training.precision import check_precision
from wsol_bench.training.provenance import earlier_accesses, write_provenance
from wsol_bench.training.recorder import record_together
from wsol_bench.training.training_state import LR_FLOOR, TrainingState, stage_of
from wsol_bench.training.trial_data import TrialData
from wsol_bench.training.trial_folder import Status, TrialFolder


class TrainingObserver(Protocol):
    """Receives progress; every call may be ignored."""

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Called after optimiser steps: each one on a CPU, every tenth one where asking for the loss costs time."""

    def on_epoch(self, summary: dict[str, Any]) -> None:
        """Called when an epoch is recorded."""

    def on_note(self, text: str) -> None:
        """Called with what a person may want to know, such as a long preparation."""


def run_trial(
    config: TrialConfig,
    data: TrialData,
    workspace: Path,
    *,
    device: torch.device,
    keep_maps: bool = False,
    keep_answers: bool = True,
    compiled: bool = False,
    observer: TrainingObserver | None = None,
) -> Status:
    """Trains a trial from where it stopped and records every epoch.

    Started in several processes (by ``torchrun``, or with a process group of the caller's), they train it together:
    each takes its share of every batch and of every recording, and the first one writes. Batches and crops are those of
    a process alone, and so are the results but for rounding, for random numbers drawn within a step, and for losses and
    batch statistics that look at a whole batch (statistics are synchronised on GPUs).

    Order within an epoch: records of val and test, then provenance, then the checkpoint, then ``epochs.jsonl``. A
    process killed anywhere repeats at most the epoch in progress and writes the same files again: all randomness of an
    epoch depends on the trial's seed and the epoch's number.

    Args:
        config: what to run.
        data: packed splits.
        workspace: folder that holds ``trials/``.
        device: CPU or GPU.
        keep_maps: also record maps at their own resolution.
        keep_answers: keep what frozen parts of the method say, in ``features/``, for later epochs and trials; without,
            everything is computed again every time.
        compiled: let torch.compile make faster kernels of training steps; results differ by rounding.
        observer: receives progress, in the first process.

    Returns:
        ``complete``, or ``diverged`` when loss or scores stopped being finite (the epochs before remain valid).

    Raises:
        FirewallError: the method tried to read ground truth.
        PluginError: the method does not keep to its contract.
        RecordError: files of an earlier run are damaged.
        BusyError: another process is training this trial.
        UsageError: the device does not have the precision.
        WorkspaceError: the workspace cannot be written.
    """
    check_precision(config.precision, device)
    world = current_world()
    folder = TrialFolder.of(workspace, config)
    status = world.from_main(folder.status(config))
    if status in ("complete", "diverged"):
        return status
    with (
        _locked(folder) if world.is_main else nullcontext(),
        firewall.ledger() as book,
        firewall.training(f"the method '{config.method}'"),
    ):
        status = world.from_main(folder.status(config))
        if status in ("complete", "diverged"):
            return status
        run = _Run(config, data, folder, device, keep_maps, compiled, observer if world.is_main else None, book, world)
        run.go(workspace / "features" if keep_answers else None)
        return world.from_main(folder.status(config))


@dataclass
class _Run:
    """One call of :func:`run_trial` that has something to do."""

    config: TrialConfig
    data: TrialData
    folder: TrialFolder
    device: torch.device
    keep_maps: bool
    compiled: bool
    observer: TrainingObserver | None
    book: firewall.Ledger
    world: World
    answers: KeptAnswers = field(init=False)
    step: tuple[str, LossOf] | None = field(default=None, init=False)

    def go(self, features: Path | None) -> None:
        self.answers = KeptAnswers(features, self.device, self._say, self.config.precision)
        if self.world.is_main:
            remove_unfinished(self.folder.path)
            self.folder.write_config(self.config)
        self.book.accesses[:0] = earlier_accesses(self.folder)
        state = TrainingState.start_or_resume(
            self.config, self.data.class_names, self.data.frame, self.folder, self.device, self.world
        )
        train = TrainingFeed(self.data.train, self.data.frame, self.answers, self.world)
        # No file that another process is still reading may change.
        self.world.wait()
        # Otherwise an interruption between checkpoint and history would leave the history one epoch behind.
        if self.world.is_main:
            self.folder.write_history(state.history)
        while self.world.from_main(self.folder.status(self.config)) in ("missing", "partial"):
            if not self._epoch(state, train, state.next_epoch):
                break

    def _epoch(self, state: TrainingState, train: TrainingFeed, epoch: int) -> bool:
        """Trains (but for epoch 0) and records one epoch; returns whether its numbers are finite."""
        torch.manual_seed(_epoch_seed(self.config.seed, epoch, self.world.rank))
        factor = state.begin_epoch(epoch, self.folder)
        loss = self._train(state, train, epoch) if epoch else None
        records = self._record(state) if loss is None or math.isfinite(loss) else {}
        finite = bool(records) and all(np.isfinite(record.top5_scores).all() for record in records.values())
        finite, accuracy = self.world.from_main((finite, {name: _top1_percent(one) for name, one in records.items()}))
        if not finite and not epoch:
            raise PluginError(
                f"Expected finite logits from the method '{self.config.method}' before any training but got NaN or "
                "infinity; fix: its initial weights."
            )
        for name, record in records.items() if finite else ():
            write_record(self.folder.record(name, epoch), record, self._context(name, epoch))
        if self.world.is_main:
            write_provenance(
                self.folder, self.config.trial_id, self.data.splits, self.book, self.device, self.world.size
            )
        if not finite:
            state.mark_diverged(epoch, self.folder)
            return False
        summary = {
            "epoch": epoch,
            "loss": loss,
            "lr": max(state.params.lr * factor, LR_FLOOR),
            **{f"{name}_top1": value for name, value in accuracy.items()},
        }
        state.finish_epoch(summary, self.folder)
        # The next stage starts from weights that have just been written.
        self.world.wait()
        if self.observer is not None:
            self.observer.on_epoch(summary)
        return True

    def _train(self, state: TrainingState, train: TrainingFeed, epoch: int) -> float:
        """Returns the mean loss, or what is not finite as soon as it is seen."""
        method, optimizer = state.method.train(), state.optimizer
        if optimizer is None:
            raise PluginError(f"Expected something to train in the method '{self.config.method}'; fix: its stages.")
        stage, within = stage_of(state.stages, epoch)
        if self.step is None or self.step[0] != stage.name:
            self.step = None  # The hooks of one must be gone before the other sets its own.
            self.step = stage.name, loss_of(method, self.world, compiled=self.compiled, say=self._say)
        sizes = train.sizes(self.config.batch_size)
        observer = self.observer
        return train_epoch(
            self.step[1],
            optimizer,
            train.epoch(method, epoch, self.config.batch_size, self.config.seed, within),
            sizes,
            device=self.device,
            precision=self.config.precision,
            world=self.world,
            read_every=_steps_per_sync(self.device),
            on_step=lambda step, loss: None if observer is None else observer.on_step(epoch, step, len(sizes), loss),
        )

    def _record(self, state: TrainingState) -> dict[str, RunRecord]:
        """Returns the records of val and test in the first process, nothing in others."""
        classes = len(self.data.class_names)
        # A method without training is recorded once; keeping answers would cost more than it saves.
        answers = self.answers if state.method.needs_training else None
        records = {
            name: record_together(
                self.world,
                state.method,
                split,
                classes,
                device=self.device,
                keep_maps=self.keep_maps,
                answers=answers,
                precision=self.config.precision,
            )
            for name, split in (("val", self.data.val), ("test", self.data.test))
        }
        return {name: record for name, record in records.items() if record is not None}

    def _say(self, text: str) -> None:
        if self.observer is not None:
            self.observer.on_note(text)

    def _context(self, split: str, epoch: int) -> dict[str, str]:
        return {
            "trial": self.config.trial_id,
            "dataset": self.config.dataset,
            "dataset_version": self.config.dataset_version,
            "split": split,
            "epoch": str(epoch),
            "evaluator": BOX_EVALUATOR,
            "code_version": __version__,
        }


def _steps_per_sync(device: torch.device) -> int:
    """How often to read the loss, which waits for the device to finish; a CPU has finished anyway."""
    return 1 if device.type == "cpu" else 10


def _top1_percent(record: RunRecord) -> float:
    return round(100.0 * float(np.mean(record.top1_hits)), 4)


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    words = [seed, epoch, 1, rank] if rank else [seed, epoch, 1]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _locked(folder: TrialFolder) -> Iterator[None]:
    lock = FileLock(folder.lock)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError(
            f"Expected trial {folder.path} to be free but another process is training it; fix: wait until it has "
            "finished, or stop it; the same command then goes on from there."
        ) from error
    except OSError as error:
        raise refused(folder.lock, error) from error
    try:
        yield
    finally:
        lock.release()
