"""What is known of a running trial: its log file, and the progress that goes with a worker's signs of life."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import torch

from wsol_bench.atomic import refused
from wsol_bench.training.loop import TrainingObserver
from wsol_bench.training.trial_folder import TrialFolder


class TrialLog:
    """``trial.log`` in the folder of a trial: one line per epoch and event, with the time.

    Args:
        folder: of the trial.
    """

    def __init__(self, folder: TrialFolder) -> None:
        self._path = folder.log

    def write(self, text: str) -> None:
        """Adds lines.

        Raises:
            WorkspaceError: the file cannot be written.
        """
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as stream:
                stream.writelines(f"{now} {line}\n" for line in text.rstrip().splitlines())
        except OSError as error:
            raise refused(self._path, error) from error


class ProgressReport:
    """Observer that keeps the log and tells the lease how far the trial is.

    Args:
        epochs: budget of the trial.
        log: of the trial.
        report: takes ``epoch``, ``epochs``, ``step``, ``steps``, ``loss``, ``val_top1``, ``seconds_per_epoch`` and
            ``gpu_mb``, and whether to pass them on at once; raises when the trial is no longer this worker's.
        device: whose memory is reported.
        others: observers that are told the same.
    """

    def __init__(
        self,
        epochs: int,
        log: TrialLog,
        report: Callable[[dict[str, Any], bool], None],
        device: torch.device,
        others: Sequence[TrainingObserver] = (),
    ) -> None:
        self._log = log
        self._report = report
        self._device = device
        self._others = others
        self._since = time.monotonic()
        report({"epoch": 0, "epochs": epochs}, False)

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Reports the step."""
        self._report({"epoch": epoch, "step": step, "steps": steps, "loss": loss}, False)
        for other in self._others:
            other.on_step(epoch, step, steps, loss)

    def on_epoch(self, summary: dict[str, Any]) -> None:
        """Reports and logs the epoch."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        progress = {"epoch": summary["epoch"], "step": 0, "val_top1": summary["val_top1"]}
        if summary["epoch"]:
            progress["seconds_per_epoch"] = round(seconds, 3)
        if self._device.type == "cuda":
            progress["gpu_mb"] = torch.cuda.max_memory_reserved(self._device) >> 20
        loss = "" if summary["loss"] is None else f"loss {summary['loss']:.4g}, "
        self._log.write(
            f"epoch {summary['epoch']}: {loss}lr {summary['lr']:.3g}, val top-1 {summary['val_top1']:.1f} %, "
            f"{seconds:.1f} s"
        )
        self._report(progress, True)
        for other in self._others:
            other.on_epoch(summary)

    def on_note(self, text: str) -> None:
        """Logs the note."""
        self._log.write(text)
        for other in self._others:
            other.on_note(text)
