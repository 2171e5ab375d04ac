"""Runs a study with workers that a launcher starts, replaces those that die, and shows how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from wsol_bench.errors import WorkspaceError
from wsol_bench.report.study_table import study_screen, summary_line
from wsol_bench.search.cells import CellState
from wsol_bench.search.launchers.base import Launcher
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.workflow.progress import Screen

_INTERVAL = 1.0
_LINE_INTERVAL = 30.0
_IDLE_ERRORS, _IDLE_DEATHS = 3, 30
"""Workers that may end before they take a trial: by errors of their own, and in all."""
_END_SECONDS = 5.0


def run_workers(
    store: TrialStore,
    launcher: Launcher,
    count: int,
    *,
    finished: Callable[[], bool],
    only: Collection[str] | None = None,
    screen: Screen,
) -> None:
    """Keeps ``count`` workers running until every trial is finished or failed.

    Args:
        store: the study.
        launcher: starts the workers; stopped when this returns.
        count: how many.
        finished: tells whether nothing is left to do.
        only: ids of the trials to wait for; all by default.
        screen: shows the study.

    Raises:
        WorkspaceError: workers end one after another before they take a trial.
    """
    idle_errors = idle_deaths = 0
    last_line, last_shown = "", -_LINE_INTERVAL
    try:
        with screen.live() as show:
            while True:
                cells = store.cells(only)
                for name, by_error in launcher.dead().items():
                    held = [cell for cell in cells if cell.state == CellState.RUNNING and cell.attempt.worker == name]
                    store.bury(name)
                    at = f" while it ran {held[0].trial.label}" if held else ""
                    screen.say(f"worker {name} ended{at}; a new one is started. See {launcher.command.log(name)}")
                    idle_errors = 0 if held else idle_errors + by_error
                    idle_deaths = 0 if held else idle_deaths + 1
                    if idle_errors >= _IDLE_ERRORS or idle_deaths >= _IDLE_DEATHS:
                        raise _nothing_works(idle_deaths, launcher.command.log(name))
                cells = store.cells(only)
                show(study_screen(cells))
                line = summary_line(cells)
                if line != last_line and time.monotonic() - last_shown > _LINE_INTERVAL:
                    last_line, last_shown = line, time.monotonic()
                    if not screen.console.is_terminal:
                        screen.say(line)
                if finished():
                    _wait_for_the_end(launcher)
                    return
                waiting = sum(not cell.finished for cell in cells) if only is not None else count
                missing = min(count, waiting) - launcher.alive()
                if missing > 0:
                    launcher.start(missing)
                time.sleep(_INTERVAL)
    finally:
        launcher.stop()


def _wait_for_the_end(launcher: Launcher) -> None:
    """Workers see by themselves that nothing is left; only those that do not are stopped."""
    until = time.monotonic() + _END_SECONDS
    while launcher.alive() and time.monotonic() < until:
        time.sleep(0.1)


def _nothing_works(count: int, log: Path) -> WorkspaceError:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    reason = lines[-1].removeprefix("error: ") if lines else "the last one said nothing."
    return WorkspaceError(
        f"Expected workers to take trials but {count} ended before they did: {reason} All they said is in "
        f"{log.parent}; the study is unchanged, and the same command goes on."
    )
