"""The state of a training run: a method, its optimiser and its history, saved after every epoch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wsol_bench.atomic import whole_file
from wsol_bench.errors import DataError, PluginError, RecordError
from wsol_bench.methods.base import Method, Stage
from wsol_bench.models.weights import read_torch_file, without_pretrained
from wsol_bench.registry import METHODS
from wsol_bench.training.config import OptimizerParams, TrialConfig
from wsol_bench.training.parallel import ALONE, World
from wsol_bench.training.trial_folder import DIVERGED, SELECTABLE, UNTRAINED, TrialFolder

MOMENTUM = 0.9
LR_FLOOR = 1e-7
"""The step schedule of the reference never falls below this learning rate."""


@dataclass
class TrainingState:
    """A run between two epochs.

    Attributes:
        method: the model.
        params: what the optimiser was asked for.
        stages: of the method, in order.
        optimizer: over the parameter groups of the stage in progress; None for a method that needs no training.
        history: one dictionary per finished epoch.
        writes: whether this process is the one that writes files.
    """

    method: Method
    params: OptimizerParams
    stages: tuple[Stage, ...]
    optimizer: torch.optim.Optimizer | None
    history: list[dict[str, Any]] = field(default_factory=list)
    writes: bool = True

    @classmethod
    def start_or_resume(
        cls,
        config: TrialConfig,
        class_names: tuple[str, ...],
        frame: int,
        folder: TrialFolder,
        device: torch.device,
        world: World = ALONE,
    ) -> TrainingState:
        """Returns the state after the last finished epoch; a new one where there is none.

        Raises:
            RecordError: the checkpoint is damaged, or belongs to another version of the method.
        """
        torch.manual_seed(config.seed)
        if not folder.checkpoint.is_file():
            return cls._new(config, class_names, frame, device, world)
        with without_pretrained():
            state = cls._new(config, class_names, frame, device, world)
        try:
            saved = read_torch_file(folder.checkpoint, device)
            state.history = saved["history"]
            state.method.load_state_dict(saved["method"])
            state._prepare(stage_of(state.stages, state.history[-1]["epoch"])[0])
            if state.optimizer is not None:
                state.optimizer.load_state_dict(saved["optimizer"])
        except (DataError, RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
            raise RecordError(
                f"{folder.checkpoint}: damaged checkpoint, or one of another version of the method ({error}); fix: "
                f"delete {folder.path} and run the trial again."
            ) from error
        return state

    @property
    def next_epoch(self) -> int:
        """The first epoch that is not finished; 0 is the network before any step."""
        return len(self.history)

    def begin_epoch(self, epoch: int, folder: TrialFolder) -> float:
        """Enters a stage where one begins, sets the learning rate, and returns its factor.

        Raises:
            RecordError: the weights that the stage starts from are missing or damaged.
        """
        stage, within = stage_of(self.stages, epoch)
        if epoch and within == 1 and stage != self.stages[0]:
            before = self.stages[self.stages.index(stage) - 1]
            load_weights(self.method, folder.best_of(before.name))
            self._prepare(stage)
        factor = learning_rate_factor(self.params, within)
        for group in self.optimizer.param_groups if self.optimizer is not None else ():
            group["lr"] = max(group["initial_lr"] * factor, LR_FLOOR)
        return factor

    def finish_epoch(self, summary: dict[str, Any], folder: TrialFolder) -> None:
        """Adds an epoch and writes checkpoints and history, in the order that an interruption can do no harm."""
        stage = stage_of(self.stages, summary["epoch"])[0]
        last = stage == self.stages[-1]
        if len(self.stages) > 1:
            summary = {**summary, "stage": stage.name, SELECTABLE: last}
        if not self.method.needs_training:
            summary = {**summary, UNTRAINED: True}
        earlier = [line["val_top1"] for line in self.history if line.get("stage") == summary.get("stage")]
        self.history.append(summary)
        if not self.writes:
            return
        if summary["val_top1"] > max(earlier, default=-1.0):
            _save(folder.best_cls if last else folder.best_of(stage.name), self.method.state_dict())
        saved = {
            "method": self.method.state_dict(),
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "history": self.history,
        }
        _save(folder.checkpoint, saved)
        folder.write_history(self.history)

    def mark_diverged(self, epoch: int, folder: TrialFolder) -> None:
        """Notes that ``epoch`` ended in numbers that are not finite; the epochs before it remain valid."""
        self.history[-1] = {**self.history[-1], DIVERGED: epoch}
        if self.writes:
            folder.write_history(self.history)

    @classmethod
    def _new(
        cls, config: TrialConfig, class_names: tuple[str, ...], frame: int, device: torch.device, world: World
    ) -> TrainingState:
        # Convolutions are fastest with the channels last; other networks are not changed by it.
        method = build_method(config, class_names, frame).to(device).to(memory_format=torch.channels_last)
        if world.size > 1 and device.type == "cuda":
            method = nn.SyncBatchNorm.convert_sync_batchnorm(method)  # type: ignore[no-untyped-call]
        stages = method.stages(config.epochs)
        if sum(stage.epochs for stage in stages) != config.epochs or any(stage.epochs < 1 for stage in stages):
            raise PluginError(
                f"Expected the method '{config.method}' to divide {config.epochs} epochs into stages of at least one "
                f"but got {', '.join(f'{stage.name} {stage.epochs}' for stage in stages)}; fix: mend its stages()."
            )
        state = cls(method, OptimizerParams.from_dict(config.optimizer), stages, None, writes=world.is_main)
        state._prepare(stages[0])
        return state

    def _prepare(self, stage: Stage) -> None:
        """Lets the method enter a stage and makes the optimiser of what it then wants to train."""
        self.method.enter_stage(stage.name)
        if not self.method.needs_training:
            return
        groups = self.method.param_groups(self.params.lr)
        for group in groups:
            group["initial_lr"] = group["lr"]
        lr, decay = self.params.lr, self.params.weight_decay
        if self.params.optimizer == "adamw":
            self.optimizer = torch.optim.AdamW(groups, lr, weight_decay=decay)
        else:
            self.optimizer = torch.optim.SGD(groups, lr, momentum=MOMENTUM, nesterov=True, weight_decay=decay)


def stage_of(stages: Sequence[Stage], epoch: int) -> tuple[Stage, int]:
    """Returns the stage of an epoch and the epoch's number within it, from 1; epoch 0 is in the first stage."""
    within = epoch
    for stage in stages[:-1]:
        if within <= stage.epochs:
            return stage, within
        within -= stage.epochs
    return stages[-1], within


def build_method(config: TrialConfig, class_names: tuple[str, ...], frame: int) -> Method:
    """Builds the method of a trial with its initial weights, on the CPU.

    Args:
        config: the trial.
        class_names: C names in label order.
        frame: side of the square input.
    """
    method_class: type[Method] = METHODS.get(config.method)
    method = method_class()
    method.build(len(class_names), class_names, method_class.HParams.from_dict(config.hparams), frame)
    return method


def load_method(config: TrialConfig, class_names: tuple[str, ...], frame: int, weights: Path) -> Method:
    """Builds the method of a trial and loads its trained weights, ready for prediction on the CPU in its last stage.

    Raises:
        RecordError: the weights are missing, damaged, or belong to another architecture.
    """
    with without_pretrained():
        method = build_method(config, class_names, frame)
    for stage in method.stages(config.epochs):
        method.enter_stage(stage.name)
    load_weights(method, weights)
    return method.eval()


def load_weights(method: Method, path: Path) -> None:
    """Fills a built method with the weights of a trial.

    Raises:
        RecordError: the weights are missing, damaged, or belong to another architecture.
    """
    try:
        method.load_state_dict(read_torch_file(path))
    except (DataError, RuntimeError, TypeError) as error:
        raise RecordError(
            f"{path}: cannot be loaded ({error}); fix: delete the folder of this trial and run it again."
        ) from error


def learning_rate_factor(params: OptimizerParams, epoch: int) -> float:
    """The step schedule: one factor ``gamma`` after every ``step_size`` finished epochs.

    As in the code of the realistic protocol, which steps at the end of an epoch; Choe et al. step one epoch earlier.

    Args:
        params: with ``gamma`` and ``step_size``.
        epoch: from 1; epoch 0, before any step, has the factor of the first.
    """
    return params.gamma ** (max(epoch - 1, 0) // params.step_size)


def _save(path: Path, content: Any) -> None:
    # Through memory, for two reasons: torch hides the error of a full disk behind its own, and it writes the name of
    # the file into the file, so that equal weights would not be equal bytes.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with whole_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
