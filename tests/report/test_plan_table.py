from __future__ import annotations

import json
from dataclasses import dataclass

from rich.console import Console

from wsol_bench.report.plan_table import plan_rows, plan_table
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.training.config import TrialConfig


@dataclass(frozen=True)
class Outcome:
    trial: PlannedTrial
    status: str = "missing"
    epochs: tuple[int, ...] = ()


def _trial(index: int, method: str = "cam", seed: int = 0, lr: float = 0.05, **own: float | str | bool) -> PlannedTrial:
    config = TrialConfig(
        method=method,
        dataset="critters",
        dataset_version="1",
        hparams={"backbone": "resnet_tiny", **own},
        optimizer={"lr": lr, "gamma": 0.1},
        epochs=8,
        seed=seed,
    )
    return PlannedTrial(index, config)


def _rendered(*outcomes: Outcome) -> list[list[str]]:
    console = Console(width=110, record=True)
    console.print(plan_table(outcomes))
    lines = [line.split() for line in console.export_text().splitlines()]
    return [line for line in lines if line and not line[0].startswith("─")]


def test_only_what_varies_is_shown() -> None:
    outcomes = [Outcome(_trial(0)), Outcome(_trial(1, lr=0.000123456), "partial", (0, 1, 2))]
    assert _rendered(*outcomes) == [
        ["trial", "id", "status", "epochs", "lr"],
        ["cam/0", outcomes[0].trial.config.trial_id, "missing", "0/8", "0.05"],
        ["cam/1", outcomes[1].trial.config.trial_id, "partial", "2/8", "0.0001235"],
    ]


def test_methods_with_other_parameters_share_a_table() -> None:
    outcomes = [Outcome(_trial(0)), Outcome(_trial(0, method="has", drop=0.5, flip=True))]
    header, cam, has = _rendered(*outcomes)
    assert header[4:] == ["drop", "flip"] and cam[4:] == ["-", "-"] and has[4:] == ["0.5", "true"]


def test_a_single_trial_shows_no_parameters() -> None:
    (header, row) = _rendered(Outcome(_trial(0, seed=1), "complete", tuple(range(9))))
    assert header == ["trial", "id", "status", "epochs"]
    assert row[0] == "cam/0/seed1" and row[2:] == ["complete", "8/8"]


def test_rows_are_plain_and_complete() -> None:
    outcome = Outcome(_trial(0), "partial", (0, 1))
    (row,) = plan_rows([outcome])
    assert json.loads(json.dumps(row)) == {
        "trial": "cam/0",
        "id": outcome.trial.config.trial_id,
        "status": "partial",
        "epochs_done": 1,
        "config": outcome.trial.config.model_dump(),
    }
    assert plan_rows([]) == []
