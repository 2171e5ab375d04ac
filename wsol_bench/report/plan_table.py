"""The plan of a sweep as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rich import box
from rich.table import Table

from wsol_bench.report.method_page import value_text
from wsol_bench.search.plan import PlannedTrial


class Planned(Protocol):
    """A planned trial and how far it is."""

    @property
    def trial(self) -> PlannedTrial:
        """The cell of the plan."""

    @property
    def status(self) -> str:
        """``missing``, ``partial``, ``complete``, ``diverged`` or ``failed``."""

    @property
    def epochs(self) -> tuple[int, ...]:
        """Finished epochs; 0 is the network before any step."""


def plan_rows(outcomes: Sequence[Planned]) -> list[dict[str, Any]]:
    """Returns one plain dictionary per trial: id, status, epochs done, and its whole configuration."""
    return [
        {
            "trial": outcome.trial.label,
            "id": outcome.trial.config.trial_id,
            "status": outcome.status,
            "epochs_done": max(outcome.epochs, default=0),
            "config": outcome.trial.config.model_dump(),
        }
        for outcome in outcomes
    ]


def plan_table(outcomes: Sequence[Planned]) -> Table:
    """One line per trial; parameters that are the same everywhere are left out."""
    configs = [outcome.trial.config.summary() for outcome in outcomes]
    names = dict.fromkeys(name for config in configs for name in config)
    varying = [name for name in names if len({repr(config.get(name)) for config in configs}) > 1]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("trial", "id", "status", "epochs", *varying):
        table.add_column(name, overflow="fold")
    for outcome, config in zip(outcomes, configs, strict=True):
        trial = outcome.trial
        done = f"{max(outcome.epochs, default=0)}/{trial.config.epochs}"
        values = [value_text(config[name]) if name in config else "-" for name in varying]
        table.add_row(trial.label, trial.config.trial_id, outcome.status, done, *values)
    return table
