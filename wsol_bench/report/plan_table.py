"""The plan of a sweep as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rich import box
from rich.table import Table

from wsol_bench.search.plan import PlannedTrial


class Planned(Protocol):
    """A planned trial and how far it is."""

    @property
    def trial(self) -> PlannedTrial: ...

    @property
    def status(self) -> str: ...

    @property
    def epochs(self) -> tuple[int, ...]: ...


def plan_rows(outcomes: Sequence[Planned]) -> list[dict[str, Any]]:
    """Returns one plain dictionary per trial: id, status, epochs done, and its whole configuration."""
    return [
        {
            "trial": one.trial.label,
            "id": one.trial.config.trial_id,
            "status": one.status,
            "epochs_done": max(one.epochs, default=0),
            "config": one.trial.config.model_dump(),
        }
        for one in outcomes
    ]


def plan_table(outcomes: Sequence[Planned]) -> Table:
    """One line per trial; parameters that are the same everywhere are left out."""
    configs = [one.trial.config.summary() for one in outcomes]
    names = list(dict.fromkeys(name for config in configs for name in config))
    varying = [name for name in names if len({repr(config.get(name)) for config in configs}) > 1]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("trial", "id", "status", "epochs", *varying):
        table.add_column(name, no_wrap=True)
    for one, config in zip(outcomes, configs, strict=True):
        done = f"{max(one.epochs, default=0)}/{one.trial.config.epochs}"
        values = [_short(config.get(name)) for name in varying]
        table.add_row(one.trial.label, one.trial.config.trial_id, one.status, done, *values)
    return table


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
