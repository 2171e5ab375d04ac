"""What a launcher is: it starts workers, and says which of them died. The rest is between workers and the study."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.worker import worker_name

STUDY_VARIABLE = "WSOL_BENCH_STUDY"
"""The address of the study reaches workers in the environment: other users can read command lines, and passwords."""

PARENT_VARIABLE = "WSOL_BENCH_PARENT"
"""Process that a worker goes down with: a launcher that was killed leaves nobody behind."""


@dataclass(frozen=True)
class WorkerCommand:
    """How to start a worker.

    Attributes:
        study: what it works on.
        arguments: of ``wsol-bench worker``, without name and study.
        logs: folder for what workers print.
    """

    study: StudyAddress
    arguments: Sequence[str]
    logs: Path

    def line(self, name: str) -> list[str]:
        """Returns the command of one worker."""
        return [sys.executable, "-m", "wsol_bench", "worker", "--name", name, *self.arguments]

    def log(self, name: str) -> Path:
        """Returns the file for what one worker prints."""
        return self.logs / f"{name}.log"


class Launcher(ABC):
    """Starts workers and keeps their number.

    Attributes:
        OPTIONS: what ``--launch-option NAME=VALUE`` takes, each with a sentence.
    """

    OPTIONS: ClassVar[Mapping[str, str]] = {}

    def __init__(self, command: WorkerCommand, options: Mapping[str, str]) -> None:
        for name in options:
            if name not in self.OPTIONS:
                raise unknown_choice("--launch-option", name, self.OPTIONS)
        self.command = command
        self.options = dict(options)

    @abstractmethod
    def start(self, count: int) -> None:
        """Starts ``count`` workers more."""

    @abstractmethod
    def dead(self) -> dict[str, bool]:
        """Returns the workers that ended otherwise than by finishing their work, each of them once.

        Returns:
            Their names, and whether it was an error of theirs: not so when they were killed.
        """

    @abstractmethod
    def alive(self) -> int:
        """Returns the number of workers that are running, or that wait for a place to run."""

    @abstractmethod
    def stop(self) -> None:
        """Asks all workers to give back what they have, and waits for them."""


def run_to_its_end(line: Sequence[str], log: str, environment: Mapping[str, str] | None = None) -> None:
    """Runs a worker as a process of its own and waits for it; what launchers on clusters send there.

    Args:
        line: the command.
        log: file for what it prints.
        environment: variables beside those of this process.

    Raises:
        CalledProcessError: it ended with an error, or was killed.
    """
    variables = {**os.environ, **(environment or {}), PARENT_VARIABLE: str(os.getpid())}
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with Path(log).open("ab") as stream:
        # The interpreter of this machine, which may lie elsewhere than that of the launcher.
        subprocess.run([sys.executable, *line[1:]], env=variables, stdout=stream, stderr=subprocess.STDOUT, check=True)


def worker_name_of(slot: int) -> str:
    """Returns a new name for the worker at a place of a launcher."""
    return f"w{slot}-{worker_name()}"


def whole(name: str, text: str) -> int:
    """Reads an option that counts something.

    Raises:
        UsageError: not a whole number of at least 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"Expected --launch-option {name} to be a whole number of at least 1 but got '{text}'.")
    return int(text)


def number(name: str, text: str) -> float:
    """Reads an option that is an amount.

    Raises:
        UsageError: not a number, or negative.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise UsageError(f"Expected --launch-option {name} to be a number that is not negative but got '{text}'.")
    return value
