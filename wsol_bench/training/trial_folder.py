"""The folder of one trial: what lies where, and what is already done."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from wsol_bench.annotations.firewall import Access
from wsol_bench.atomic import write_text
from wsol_bench.errors import RecordError
from wsol_bench.training.config import TrialConfig

Status = Literal["missing", "partial", "complete", "diverged"]

DIVERGED = "diverged_in_epoch"
"""Key in the last line of the history when the epoch after it diverged."""

SELECTABLE = "selectable"
"""Key in lines of trials with several stages: whether the epoch belongs to the last one."""

UNTRAINED = "untrained"
"""Key in the only line of a trial whose method has nothing to train."""


_EPOCH_LINE = re.compile(r" epoch (\d+): .*, (\d+\.\d) s$")


def dataset_slug(spec: str) -> str:
    """Returns a dataset as the user names it (``critters:224``) as a file name (``critters-224``)."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", spec)


@dataclass(frozen=True)
class TrialFolder:
    """``config.yaml``, ``epochs.jsonl``, ``records/*.parquet``, ``checkpoints/`` and ``provenance.json`` of a trial."""

    path: Path

    @classmethod
    def of(cls, workspace: Path, config: TrialConfig) -> TrialFolder:
        """Returns the folder of a trial in a workspace."""
        return cls(workspace / "trials" / dataset_slug(config.dataset) / dataset_slug(config.method) / config.trial_id)

    @property
    def checkpoint(self) -> Path:
        """Weights, optimiser and history after the last finished epoch."""
        return self.path / "checkpoints" / "last.pt"

    @property
    def best_cls(self) -> Path:
        """Weights of the first epoch, of the last stage, with the best top-1 accuracy on the validation set."""
        return self.path / "checkpoints" / "best_cls.pt"

    def best_of(self, stage: str) -> Path:
        """The same of a stage before the last one."""
        return self.path / "checkpoints" / f"best_cls-{stage}.pt"

    @property
    def provenance(self) -> Path:
        """What was read, on which machine, with which versions."""
        return self.path / "provenance.json"

    @property
    def log(self) -> Path:
        """What happened when; for people, but for the times of epochs."""
        return self.path / "trial.log"

    @property
    def lock(self) -> Path:
        """Held by the process that trains."""
        return self.path / "trial.lock"

    def record(self, split: str, epoch: int) -> Path:
        """Returns the record of one epoch on one split."""
        return self.path / "records" / f"{split}-{epoch:03d}.parquet"

    def history(self) -> list[dict[str, Any]]:
        """Returns the finished epochs, one dictionary each; empty before the first.

        Raises:
            RecordError: the file is damaged.
        """
        path = self.path / "epochs.jsonl"
        if not path.is_file():
            return []
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            numbers = [line["epoch"] for line in lines]
        except (ValueError, TypeError, KeyError) as error:
            raise self._damaged(path, f"{type(error).__name__}: {error}") from error
        if numbers != list(range(len(lines))):
            raise self._damaged(path, f"epochs {numbers} instead of 0, 1, 2, ...")
        return lines

    def epoch_seconds(self) -> list[float]:
        """Returns how long the epochs of training took, recording included, from the log; empty where there is none.

        Epochs that were repeated after an interruption count each time.
        """
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found = (_EPOCH_LINE.search(line) for line in lines)
        return [float(match[2]) for match in found if match is not None and int(match[1])]

    def selectable_epochs(self) -> tuple[int, ...]:
        """Returns the finished epochs that a judge may choose from: all, or those of the last of several stages."""
        return tuple(int(line["epoch"]) for line in self.history() if line.get(SELECTABLE, True))

    def status(self, config: TrialConfig) -> Status:
        """Returns how far the trial is.

        Raises:
            RecordError: ``epochs.jsonl`` is damaged.
        """
        history = self.history()
        if not history:
            return "missing"
        if DIVERGED in history[-1]:
            return "diverged"
        return "complete" if len(history) > config.epochs or UNTRAINED in history[-1] else "partial"

    def accesses(self) -> list[Access] | None:
        """Returns the annotations that were read for this trial; None where nobody kept a ledger.

        Raises:
            RecordError: ``provenance.json`` is damaged.
        """
        if not self.provenance.is_file():
            return None
        names = [item.name for item in fields(Access)]
        try:
            written = json.loads(self.provenance.read_text(encoding="utf-8"))
            return [Access(**{name: access[name] for name in names}) for access in written["annotations_read"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(self.provenance, f"{type(error).__name__}: {error}") from error

    def write_config(self, config: TrialConfig) -> None:
        """Writes ``config.yaml``."""
        write_text(self.path / "config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """Writes ``epochs.jsonl`` whole."""
        write_text(self.path / "epochs.jsonl", "".join(json.dumps(line) + "\n" for line in history))

    def _damaged(self, path: Path, reason: str) -> RecordError:
        return RecordError(f"{path}: damaged ({reason}); fix: delete {self.path} and run the trial again.")
