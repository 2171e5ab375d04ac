"""Progress bars of the long jobs; silent where the output is not a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wsol_bench.search.plan import PlannedTrial

_QUIET_INTERVAL = 15.0


class Screen:
    """Shows what is going on, on standard error, so that standard output carries results only.

    Args:
        quiet: show nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)

    def say(self, text: str) -> None:
        """Prints one line."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """Yields a function ``(done, total)`` that moves a bar."""
        with self._progress() as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """Yields a function that replaces what is shown; where the output is no terminal nothing is."""
        if not self.console.is_terminal or self.console.quiet:
            yield lambda _: None
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as shown:
            yield lambda content: shown.update(content, refresh=True)

    @contextmanager
    def training(self, trial: PlannedTrial, title: str) -> Iterator[TrainingBar]:
        """Yields an observer of the training loop that shows epoch, step, loss and accuracy."""
        with self._progress() as progress:
            yield TrainingBar(self, progress, trial, title)

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)


class TrainingBar:
    """Observer of one trial (see :class:`wsol_bench.training.loop.TrainingObserver`)."""

    def __init__(self, screen: Screen, progress: Progress, trial: PlannedTrial, title: str) -> None:
        self._screen = screen
        self._progress = progress
        self._title = title
        self._epochs = trial.config.epochs
        self._task = progress.add_task(title, total=None)
        self._last_line = time.monotonic()

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Moves the bar."""
        text = f"{self._title} epoch {epoch}/{self._epochs} loss {loss:.3f}"
        self._progress.update(
            self._task, completed=(epoch - 1) * steps + step, total=self._epochs * steps, description=text
        )

    def on_note(self, text: str) -> None:
        """Leaves a line."""
        self._screen.say(f"{self._title}: {text}")

    def on_epoch(self, summary: dict[str, Any]) -> None:
        """Leaves a line in logs, where no bar is shown."""
        self._progress.update(self._task, description=f"{self._title} epoch {summary['epoch']}/{self._epochs}")
        last = summary["epoch"] == self._epochs
        if self._screen.console.is_terminal or not (last or time.monotonic() - self._last_line > _QUIET_INTERVAL):
            return
        self._last_line = time.monotonic()
        loss = "" if summary["loss"] is None else f"loss {summary['loss']:.3f}, "
        self._screen.say(
            f"{self._title} epoch {summary['epoch']}/{self._epochs}: {loss}val top-1 {summary['val_top1']:.1f} %"
        )
