from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trial import make_config

from wsol_bench.errors import DataError, RecordError, UsageError
from wsol_bench.methods.base import Stage
from wsol_bench.registry import Registry
from wsol_bench.training.config import OptimizerParams, TrialConfig
from wsol_bench.training.training_state import (
    LR_FLOOR,
    TrainingState,
    build_method,
    learning_rate_factor,
    load_method,
    stage_of,
)
from wsol_bench.training.trial_folder import DIVERGED, TrialFolder

CPU = torch.device("cpu")
NAMES = tuple("abcdefghij")


@pytest.fixture
def config(methods: Registry[Any]) -> TrialConfig:
    return make_config()


def _start(config: TrialConfig, folder: TrialFolder) -> TrainingState:
    return TrainingState.start_or_resume(config, NAMES, 64, folder, CPU)


def _step(state: TrainingState) -> None:
    state.optimizer.zero_grad()
    state.method.head(state.method.features(torch.ones(2, 3, 64, 64))).square().sum().backward()
    state.optimizer.step()


def _summary(epoch: int, top1: float) -> dict[str, Any]:
    return {"epoch": epoch, "loss": 0.5, "val_top1": top1}


@pytest.mark.parametrize(("epoch", "factor"), [(0, 1.0), (1, 1.0), (3, 1.0), (4, 0.5), (6, 0.5), (7, 0.25)])
def test_the_rate_falls_after_every_step_size_epochs(epoch: int, factor: float) -> None:
    params = OptimizerParams.from_dict({"gamma": 0.5, "step_size": 3})
    assert learning_rate_factor(params, epoch) == factor


def test_learning_rates_of_groups_fall_to_a_floor(config: TrialConfig, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    state = _start(config.model_copy(update={"optimizer": config.optimizer | {"gamma": 1e-3}}), folder)
    group = state.optimizer.param_groups[0]
    group["initial_lr"] = 0.2
    for epoch, rate in ((0, 0.2), (1, 0.2), (2, 2e-4), (4, LR_FLOOR)):
        state.begin_epoch(epoch, folder)
        assert group["lr"] == pytest.approx(rate)


def test_stages_follow_each_other() -> None:
    stages = (Stage("a", 2), Stage("b", 1), Stage("c", 3))
    found = [(stage.name, within) for stage, within in (stage_of(stages, epoch) for epoch in range(7))]
    assert found == [("a", 0), ("a", 1), ("a", 2), ("b", 1), ("c", 1), ("c", 2), ("c", 3)]


def test_adamw(config: TrialConfig, tmp_path: Path) -> None:
    state = _start(
        config.model_copy(update={"optimizer": config.optimizer | {"optimizer": "adamw"}}), TrialFolder(tmp_path)
    )
    assert isinstance(state.optimizer, torch.optim.AdamW)
    assert (state.optimizer.param_groups[0]["lr"], state.optimizer.param_groups[0]["weight_decay"]) == (0.05, 1e-4)


def test_the_optimiser_is_that_of_the_reference(config: TrialConfig, tmp_path: Path) -> None:
    (group,) = _start(config, TrialFolder(tmp_path)).optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"], group["lr"]) == (0.9, True, 1e-4, 0.05)


def test_the_same_seed_gives_the_same_weights(config: TrialConfig, tmp_path: Path) -> None:
    one, other = (_start(config, TrialFolder(tmp_path)).method.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    third = _start(config.model_copy(update={"seed": 1}), TrialFolder(tmp_path)).method.state_dict()
    assert not torch.equal(one["features.0.weight"], third["features.0.weight"])


def test_resuming_restores_weights_momentum_and_history(config: TrialConfig, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    state = _start(config, folder)
    _step(state)
    state.finish_epoch(_summary(0, 10.0), folder)
    again = _start(config, folder)
    assert again.history == folder.history() == [_summary(0, 10.0)]
    assert again.next_epoch == 1
    for one in (state, again):
        torch.manual_seed(0)
        _step(one)
    assert all(torch.equal(value, again.method.state_dict()[key]) for key, value in state.method.state_dict().items())


def test_the_first_best_epoch_is_kept(config: TrialConfig, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    state = _start(config, folder)
    kept = []
    for epoch, top1 in enumerate([10.0, 30.0, 30.0, 20.0]):
        with torch.no_grad():
            state.method.head.linear.bias.fill_(epoch)
        state.finish_epoch(_summary(epoch, top1), folder)
        kept.append(float(torch.load(folder.best_cls, weights_only=True)["head.linear.bias"][0]))
    assert kept == [0, 1, 1, 1]


def test_equal_states_are_equal_bytes(config: TrialConfig, tmp_path: Path) -> None:
    folders = TrialFolder(tmp_path / "a"), TrialFolder(tmp_path / "b")
    for folder in folders:
        state = _start(config, folder)
        _step(state)
        state.finish_epoch(_summary(0, 10.0), folder)
    assert folders[0].best_cls.read_bytes() == folders[1].best_cls.read_bytes()
    assert folders[0].checkpoint.read_bytes() == folders[1].checkpoint.read_bytes()


def test_divergence_is_noted_behind_the_last_good_epoch(config: TrialConfig, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    state = _start(config, folder)
    state.finish_epoch(_summary(0, 10.0), folder)
    state.mark_diverged(1, folder)
    assert folder.history() == [_summary(0, 10.0) | {DIVERGED: 1}]
    assert folder.status(config) == "diverged"


@pytest.mark.parametrize("damage", ["truncated", "text", "list", "other method"])
def test_damaged_checkpoint(config: TrialConfig, tmp_path: Path, damage: str) -> None:
    folder = TrialFolder(tmp_path)
    state = _start(config, folder)
    state.finish_epoch(_summary(0, 10.0), folder)
    if damage == "truncated":
        folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:-50])
    elif damage == "text":
        folder.checkpoint.write_text("nothing")
    elif damage == "list":
        torch.save([1], folder.checkpoint)
    else:
        torch.save({"method": {"x": torch.zeros(1)}, "optimizer": {}, "history": []}, folder.checkpoint)
    with pytest.raises(RecordError, match=rf"last\.pt: damaged checkpoint.*(?s:.*)delete {tmp_path} and run"):
        _start(config, folder)


def test_loading_for_prediction(config: TrialConfig, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    state = _start(config, folder)
    state.finish_epoch(_summary(0, 10.0), folder)
    method = load_method(config, NAMES, 64, folder.best_cls)
    assert not method.training
    assert torch.equal(method.head.linear.weight, state.method.head.linear.weight)
    folder.best_cls.write_bytes(b"")
    with pytest.raises(RecordError, match=r"cannot be loaded .*delete the folder of this trial"):
        load_method(config, NAMES, 64, folder.best_cls)
    with pytest.raises(RecordError, match="cannot be loaded"):
        load_method(config, NAMES, 64, tmp_path / "missing.pt")


def test_a_trained_model_needs_its_starting_weights_no_more(methods: Registry[Any], tmp_path: Path) -> None:
    plain = make_config("cam")
    weights = tmp_path / "start.pt"
    torch.save(build_method(plain, NAMES, 64).state_dict(), weights)
    config = plain.model_copy(update={"hparams": plain.hparams | {"weights": str(weights)}})
    folder = TrialFolder(tmp_path / "trial")
    _start(config, folder).finish_epoch(_summary(0, 10.0), folder)
    weights.unlink()
    assert _start(config, folder).next_epoch == 1
    load_method(config, NAMES, 64, folder.best_cls)
    with pytest.raises(DataError, match=r"start\.pt"):
        _start(config, TrialFolder(tmp_path / "new"))


def test_unknown_method(config: TrialConfig) -> None:
    with pytest.raises(UsageError, match="Did you mean 'quick'"):
        build_method(config.model_copy(update={"method": "quik"}), NAMES, 64)
