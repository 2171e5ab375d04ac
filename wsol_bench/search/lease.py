"""A worker's hold on a trial: signs of life while it runs, and the news that somebody else has it now."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from wsol_bench.errors import WorkspaceError
from wsol_bench.search.cells import Attempt
from wsol_bench.search.trial_store import TrialStore


class LeaseLostError(Exception):
    """The trial was given to another worker, because this one was silent for too long."""


class Lease:
    """Gives signs of life from a thread, for as long as the block lasts.

    Args:
        store: where the attempt is kept.
        attempt: what this worker claimed.
        heartbeat: seconds between two signs.
    """

    def __init__(self, store: TrialStore, attempt: Attempt, heartbeat: float) -> None:
        self.attempt = attempt
        self._store = store
        self._heartbeat = heartbeat
        self._progress: dict[str, Any] = {}
        self._stop = threading.Event()
        self._due = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._due.set()
        self._thread.join()

    def report(self, progress: Mapping[str, Any], *, at_once: bool = False) -> None:
        """Goes with the next sign of life.

        Args:
            progress: plain values; those reported earlier under other names are kept.
            at_once: give a sign now.

        Raises:
            LeaseLostError: somebody else has the trial.
        """
        if self._lost.is_set():
            raise LeaseLostError(self.attempt.trial.label)
        self._progress.update(progress)
        if at_once:
            self._due.set()

    def _beat(self) -> None:
        number = 0
        while True:
            number += 1
            try:
                if not self._store.beat(self.attempt, number, dict(self._progress)):
                    self._lost.set()
                    return
            except WorkspaceError:
                # The disk may be full or the database down for a while; if that lasts, the others say so by taking
                # the trial, and the end of the training says so too.
                pass
            self._due.wait(self._heartbeat)
            self._due.clear()
            if self._stop.is_set():
                return
