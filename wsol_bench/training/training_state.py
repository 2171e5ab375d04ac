"""The state of a training run: a method, its optimiser and its history, saved after every epoch."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from wsol_bench.atomic import whole_file
from wsol_bench.errors import DataError, RecordError
from wsol_bench.methods.base import Method
from wsol_bench.models.weights import read_torch_file, without_pretrained
from wsol_bench.registry import METHODS
from wsol_bench.training.config import OptimizerParams, TrialConfig
from wsol_bench.training.trial_folder import DIVERGED, TrialFolder

MOMENTUM = 0.9
LR_FLOOR = 1e-7
"""The step schedule of the reference never falls below this learning rate."""


@dataclass
class TrainingState:
    """A run between two epochs.

    Attributes:
        method: the model.
        optimizer: SGD with Nesterov momentum over the method's parameter groups.
        history: one dictionary per finished epoch.
    """

    method: Method
    optimizer: torch.optim.SGD
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start_or_resume(
        cls, config: TrialConfig, class_names: tuple[str, ...], frame: int, folder: TrialFolder, device: torch.device
    ) -> TrainingState:
        """Returns the state after the last finished epoch; a new one where there is none.

        Raises:
            RecordError: the checkpoint is damaged, or belongs to another version of the method.
        """
        torch.manual_seed(config.seed)
        if not folder.checkpoint.is_file():
            return cls._new(config, class_names, frame, device)
        with without_pretrained():
            state = cls._new(config, class_names, frame, device)
        try:
            saved = read_torch_file(folder.checkpoint, device)
            state.method.load_state_dict(saved["method"])
            state.optimizer.load_state_dict(saved["optimizer"])
            state.history = saved["history"]
        except (DataError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"{folder.checkpoint}: damaged checkpoint, or one of another version of the method ({error}); fix: "
                f"delete {folder.path} and run the trial again."
            ) from error
        return state

    @property
    def next_epoch(self) -> int:
        """The first epoch that is not finished; 0 is the network before any step."""
        return len(self.history)

    def set_learning_rate(self, factor: float) -> None:
        """Sets every group to ``factor`` times its initial rate, but not below :data:`LR_FLOOR`."""
        for group in self.optimizer.param_groups:
            group["lr"] = max(group["initial_lr"] * factor, LR_FLOOR)

    def finish_epoch(self, summary: dict[str, Any], folder: TrialFolder) -> None:
        """Adds an epoch and writes checkpoints and history, in the order that an interruption can do no harm."""
        best = max((line["val_top1"] for line in self.history), default=-1.0)
        self.history.append(summary)
        if summary["val_top1"] > best:
            _save(folder.best_cls, self.method.state_dict())
        saved = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }
        _save(folder.checkpoint, saved)
        folder.write_history(self.history)

    def mark_diverged(self, epoch: int, folder: TrialFolder) -> None:
        """Notes that ``epoch`` ended in numbers that are not finite; the epochs before it remain valid."""
        self.history[-1] = {**self.history[-1], DIVERGED: epoch}
        folder.write_history(self.history)

    @classmethod
    def _new(cls, config: TrialConfig, class_names: tuple[str, ...], frame: int, device: torch.device) -> TrainingState:
        method = build_method(config, class_names, frame).to(device).to(memory_format=torch.channels_last)
        params = OptimizerParams.from_dict(config.optimizer)
        groups = method.param_groups(params.lr)
        for group in groups:
            group["initial_lr"] = group["lr"]
        optimizer = torch.optim.SGD(
            groups, lr=params.lr, momentum=MOMENTUM, nesterov=True, weight_decay=params.weight_decay
        )
        return cls(method, optimizer)


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
    """Builds the method of a trial and loads its trained weights, ready for prediction on the CPU.

    Raises:
        RecordError: the weights are missing, damaged, or belong to another architecture.
    """
    with without_pretrained():
        method = build_method(config, class_names, frame)
    try:
        method.load_state_dict(read_torch_file(weights))
    except (DataError, RuntimeError, TypeError) as error:
        raise RecordError(
            f"{weights}: cannot be loaded ({error}); fix: delete the folder of trial {config.trial_id} and run it "
            "again."
        ) from error
    return method.eval()


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
