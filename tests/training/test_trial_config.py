from __future__ import annotations

import pytest
from pydantic import ValidationError

from wsol_bench.errors import UsageError
from wsol_bench.training.config import OptimizerParams, TrialConfig

PLAIN = {
    "method": "cam", "dataset": "critters", "dataset_version": "1", "hparams": {"flag": True, "n": 1, "x": 1.0},
    "optimizer": {"lr": 0.1}, "epochs": 3,
}  # fmt: skip


def test_the_id_is_that_of_any_other_day() -> None:
    """A change here orphans every finished trial."""
    assert TrialConfig(**PLAIN).trial_id == "fbb57986f01f"


def test_the_default_precision_does_not_enter_the_id() -> None:
    """There was none when the first trials were run."""
    assert TrialConfig(**(PLAIN | {"precision": "fp32"})).trial_id == "fbb57986f01f"
    assert TrialConfig(**(PLAIN | {"precision": "bf16"})).trial_id == "5e6567690db4"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "x"}, {"dataset": "x"}, {"dataset_version": "2"}, {"optimizer": {"lr": 0.2}}, {"epochs": 4},
        {"batch_size": 8}, {"seed": 1}, {"hparams": {"flag": False, "n": 1, "x": 1.0}}, {"precision": "bf16"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_everything_enters_the_id(change: dict[str, object]) -> None:
    assert TrialConfig(**(PLAIN | change)).trial_id != TrialConfig(**PLAIN).trial_id


def test_the_order_of_the_hyper_parameters_does_not() -> None:
    shuffled = PLAIN | {"hparams": dict(reversed(PLAIN["hparams"].items()))}  # type: ignore[attr-defined]
    assert TrialConfig(**shuffled).trial_id == TrialConfig(**PLAIN).trial_id


def test_types_survive_a_round_trip() -> None:
    config = TrialConfig.model_validate_json(TrialConfig(**PLAIN).model_dump_json())
    assert config.canonical() == TrialConfig(**PLAIN).canonical()
    assert [type(value) for value in config.hparams.values()] == [bool, int, float]


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch_size": 0}, {"seed": -1}, {"precision": "fp16"}, {"unknown": 1}]
)
def test_impossible_trials(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrialConfig(**(PLAIN | change))


def test_summary_is_flat() -> None:
    assert TrialConfig(**PLAIN).summary() == {"lr": 0.1, "flag": True, "n": 1, "x": 1.0}


@pytest.mark.parametrize("values", [{"lr": 0.0}, {"step_size": 0}, {"step_size": -3}])
def test_optimisers_that_cannot_run(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="lr above 0 and step_size of at least 1"):
        OptimizerParams.from_dict(values)
