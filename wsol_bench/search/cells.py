"""The state of a study, read off its attempts: what is waiting, running, finished or lost.

A *cell* is one planned trial. Optuna's trials are *attempts* at it: one for the first worker, another whenever a worker
died or a person asks again. Optuna knows one safe way for many workers to agree, which is that only one of them can
move a trial out of ``WAITING``, and only one can finish it. Everything here is built on these two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from wsol_bench.search.plan import PlannedTrial
from wsol_bench.training.config import TrialConfig


class End(StrEnum):
    """Why an attempt ended without a result, and whether another one follows."""

    DIED = "died"
    """The worker stopped giving signs of life: tried again, a limited number of times."""
    STOPPED = "stopped"
    """Somebody stopped the worker: tried again."""
    FAILED = "failed"
    """The method raised an error, which it would raise again: not tried again unless a person asks."""
    SUPERSEDED = "superseded"
    """Another attempt was made for the same purpose, earlier: this one never ran."""


class CellState(StrEnum):
    """Where a planned trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True)
class Attempt:
    """One of Optuna's trials.

    Attributes:
        key: Optuna's id of the trial, unique in the storage.
        number: Optuna's number of the trial in its study, in the order of creation.
        trial: the cell that it is for.
        turn: which attempt at the cell, from 0.
        deaths: workers that died on this cell since a person last asked for it.
        state: of Optuna.
        worker: who runs it.
        beat: counts the signs of life.
        progress: what the worker last said: ``epoch``, ``epochs``, ``loss``, ``val_top1``, ...
        end: why it ended without a result.
        message: of the error that ended it.
        value: what it reached: the best top-1 accuracy on val of any epoch, in percent; None without a result.
        diverged: the result ends early because numbers were no longer finite.
        started: local time at which a worker took it.
        ended: local time of its end.
    """

    key: int
    number: int
    trial: PlannedTrial
    turn: int
    deaths: int
    state: TrialState
    worker: str
    beat: int
    progress: Mapping[str, Any]
    end: End | None
    message: str
    value: float | None
    diverged: bool
    started: datetime | None
    ended: datetime | None

    @classmethod
    def of(cls, frozen: FrozenTrial) -> Attempt:
        """Reads one of Optuna's trials.

        Raises:
            KeyError, ValueError: it was not made by this program.
        """
        attributes = frozen.user_attrs
        config = TrialConfig.model_validate(attributes["config"])
        progress = attributes.get("progress", {})
        end = attributes.get("end")
        if frozen.state == TrialState.FAIL and end is None:
            # Somebody else, such as Optuna's own command line, gave it up.
            end = End.STOPPED
        return cls(
            key=frozen._trial_id,
            number=frozen.number,
            trial=PlannedTrial(int(attributes["index"]), config),
            turn=int(attributes["turn"]),
            deaths=int(attributes["deaths"]),
            state=frozen.state,
            worker=attributes.get("worker", ""),
            beat=int(progress.get("beat", 0)),
            progress=progress,
            end=None if end is None else End(end),
            message=attributes.get("message", ""),
            value=frozen.value if frozen.state == TrialState.COMPLETE else None,
            diverged=bool(attributes.get("diverged", False)),
            started=frozen.datetime_start,
            ended=frozen.datetime_complete,
        )


@dataclass(frozen=True)
class Cell:
    """A planned trial and its latest attempt.

    Attributes:
        attempt: the latest attempt; of several made for the same turn the first one, the only one that may run.
        max_deaths: workers that may die on it before it counts as failed.
    """

    attempt: Attempt
    max_deaths: int

    @property
    def trial(self) -> PlannedTrial:
        """The cell of the plan."""
        return self.attempt.trial

    @property
    def method(self) -> str:
        """Name of its method."""
        return self.trial.config.method

    @property
    def state(self) -> CellState:
        """Where it stands."""
        attempt = self.attempt
        if attempt.state == TrialState.COMPLETE:
            return CellState.DIVERGED if attempt.diverged else CellState.COMPLETE
        if attempt.state == TrialState.RUNNING:
            return CellState.RUNNING
        if attempt.state == TrialState.WAITING or self.to_be_renewed:
            return CellState.WAITING
        return CellState.FAILED

    @property
    def to_be_renewed(self) -> bool:
        """Whether its last attempt ended without a result and another one has to be made."""
        end = self.attempt.end
        if self.attempt.state != TrialState.FAIL:
            return False
        return end == End.STOPPED or (end == End.DIED and self.attempt.deaths < self.max_deaths)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (CellState.COMPLETE, CellState.DIVERGED, CellState.FAILED)

    def numbered(self, index: int) -> Cell:
        """Returns the cell with another number of its configuration."""
        return replace(self, attempt=replace(self.attempt, trial=replace(self.trial, index=index)))

    @property
    def message(self) -> str:
        """Why it failed."""
        if self.attempt.end == End.DIED:
            return f"{self.attempt.deaths + 1} workers died on it, the last one {self.attempt.worker or 'at its start'}"
        return self.attempt.message


def cells_of(attempts: Iterable[Attempt], max_deaths: int) -> list[Cell]:
    """Returns the cells of a study in the order of the plan.

    Two workers may renew a cell at the same time; of attempts at the same turn the lowest number is the one that
    counts. Numbers are given in the order of creation, so that nothing made later can change the answer.
    """
    latest: dict[str, Attempt] = {}
    for attempt in sorted(attempts, key=lambda one: one.number):
        known = latest.get(attempt.trial.config.trial_id)
        if attempt.end != End.SUPERSEDED and (known is None or attempt.turn > known.turn):
            # Kept at the place of the first attempt: a dictionary does not move what is overwritten.
            latest[attempt.trial.config.trial_id] = attempt
    return [Cell(attempt, max_deaths) for attempt in latest.values()]
