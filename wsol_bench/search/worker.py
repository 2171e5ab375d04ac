"""The worker: takes trials from a study until nothing is left to do."""

from __future__ import annotations

import os
import socket
import time
import traceback
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from wsol_bench.errors import BusyError, UnreachableError, WorkspaceError, WsolBenchError
from wsol_bench.search.cells import Attempt, End
from wsol_bench.search.lease import Lease, LeaseLostError
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.search.samplers import extend
from wsol_bench.search.study_setting import StudySetting
from wsol_bench.search.trial_store import TrialStore

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds for which a database may be down before a worker stops."""


@dataclass(frozen=True)
class Result:
    """What came of a trial.

    Attributes:
        values: ``{epoch: top-1 accuracy on val, percent}`` of the epochs that can be selected.
        diverged: whether the numbers stopped being finite.
    """

    values: Mapping[int, float]
    diverged: bool = False


RunTrial = Callable[[PlannedTrial, Lease], Result]
"""Runs a trial from where it stopped, reporting to the lease; returns at once when it is finished already."""


@dataclass
class Worker:
    """One process that works on a study.

    Attributes:
        store: the study.
        run: runs one trial.
        name: unique among the workers of the study.
        only: ids of the trials to work on; all by default.
        say: told what a person may want to know.
        errors: what was raised by trials that failed here, by trial id.
    """

    store: TrialStore
    run: RunTrial
    name: str = ""
    only: Collection[str] | None = None
    say: Callable[[str], None] = lambda _: None
    errors: dict[str, Exception] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.name = self.name or worker_name()

    def work(self) -> int:
        """Works until every trial is finished or failed, waiting for those of other workers.

        Returns:
            The number of trials that this worker completed.

        Raises:
            WorkspaceError: nothing can be written; the trial in progress is given back.
            KeyboardInterrupt: passed on, after the trial in progress is given back.
        """
        setting = self._patiently(self.store.setting)
        completed = 0
        waiting = False
        while True:
            attempt = self._patiently(lambda: self.store.claim(self.name, self.only))
            if attempt is None and setting.search is not None and self._patiently(lambda: extend(self.store)):
                continue
            if attempt is not None:
                waiting = False
                completed += self._run(attempt, setting)
                continue
            unfinished = [cell for cell in self._patiently(lambda: self.store.cells(self.only)) if not cell.finished]
            if not unfinished:
                return completed
            if not waiting:
                waiting = True
                self.say(f"waiting for {len(unfinished)} trials of other workers; should one die, this one goes on.")
            time.sleep(min(1.0, setting.heartbeat / 2))

    def _run(self, attempt: Attempt, setting: StudySetting) -> bool:
        trial = attempt.trial
        try:
            with Lease(self.store, attempt, setting.heartbeat) as lease:
                result = self.run(trial, lease)
        except LeaseLostError:
            self.say(f"{trial.label}: another worker has it now, because this one was silent for too long.")
            return False
        except BusyError as error:
            # Whoever had the trial before is not dead, only silent; it may still finish it.
            self.say(str(error))
            self._end(attempt, End.STOPPED, str(error))
            time.sleep(setting.heartbeat)
            return False
        except (WorkspaceError, KeyboardInterrupt) as error:
            # The place is at fault, not the trial. If the study cannot be written either, silence says the same.
            self._end(attempt, End.STOPPED, str(error))
            raise
        except Exception as error:  # noqa: BLE001 - a trial that fails must not end the sweep
            self.errors[trial.config.trial_id] = error
            message = str(error) if isinstance(error, WsolBenchError) else _last_line(error)
            self.say(f"{trial.label} failed: {message}")
            self._end(attempt, End.FAILED, message)
            return False
        accepted = self._patiently(lambda: self.store.complete(attempt, result.values, diverged=result.diverged))
        if result.diverged:
            self.say(f"{trial.label}: the loss is no longer finite; epochs before that remain valid.")
        return accepted

    def _end(self, attempt: Attempt, end: End, message: str) -> None:
        try:
            self.store.give_up(attempt, end, message)
        except WorkspaceError as error:
            self.say(str(error))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Asks a database again while it is down."""
        pause, until = 0.5, time.monotonic() + PATIENCE
        while True:
            try:
                return ask()
            except UnreachableError as error:
                if time.monotonic() + pause > until:
                    raise
                self.say(f"{error} Asking again in {pause:.0f} s.")
                time.sleep(pause)
                pause = min(2 * pause, 30.0)


def worker_name() -> str:
    """Returns a name that no other worker has: host, process, and six random digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


def _last_line(error: Exception) -> str:
    return traceback.format_exception_only(error)[-1].strip()
