"""Methods that train in stages, and methods with nothing to train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trial import Quick, artefacts, make_config
from torch import Tensor, nn

from wsol_bench.errors import PluginError
from wsol_bench.methods.base import Batch, Stage
from wsol_bench.registry import Registry
from wsol_bench.training import training_state
from wsol_bench.training.config import TrialConfig
from wsol_bench.training.loop import TrialData, run_trial
from wsol_bench.training.trial_folder import SELECTABLE, UNTRAINED, TrialFolder

CPU = torch.device("cpu")


class Staged(Quick):
    """Two epochs of Quick, then its head alone, with a parameter that notes the stages it lived through."""

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.extra = nn.Linear(8, num_classes)

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return (Stage("first", 2), Stage("second", epochs - 2))

    def enter_stage(self, name: str) -> None:
        self.second = name == "second"
        self.requires_grad_(not self.second)
        self.extra.requires_grad_(self.second)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        if not self.second:
            return super().training_step(batch)
        features = self.features(batch.images).mean(dim=(2, 3))
        return {"extra": nn.functional.cross_entropy(self.extra(features), batch.labels)}

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": lr / 2 if self.second else lr}]


class Frozen(Quick):
    """Nothing to train."""

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.requires_grad_(False)


class StoppedError(Exception):
    pass


@pytest.fixture(autouse=True)
def registered(methods: Registry[Any]) -> None:
    methods.register("staged")(Staged)
    methods.register("frozen")(Frozen)


def _run(config: TrialConfig, data: TrialData, workspace: Path) -> TrialFolder:
    assert run_trial(config, data, workspace, device=CPU) == "complete"
    return TrialFolder.of(workspace, config)


def test_stages_are_recorded_and_only_the_last_can_be_selected(tmp_path: Path, data: TrialData) -> None:
    folder = _run(make_config("staged", epochs=4, gamma=0.5), data, tmp_path)
    lines = folder.history()
    assert [line["stage"] for line in lines] == ["first"] * 3 + ["second"] * 2
    assert [line[SELECTABLE] for line in lines] == [False] * 3 + [True] * 2
    assert folder.selectable_epochs() == (3, 4)
    # Every stage starts its schedule anew.
    assert [line["lr"] for line in lines] == [0.05, 0.05, 0.025, 0.05, 0.025]
    assert all(folder.record(split, epoch).is_file() for split in ("val", "test") for epoch in range(5))


def test_a_stage_starts_from_the_best_weights_of_the_one_before(tmp_path: Path, data: TrialData) -> None:
    folder = _run(make_config("staged", epochs=3), data, tmp_path)
    best = torch.load(folder.best_of("first"))
    last = torch.load(folder.best_cls)
    frozen = [name for name in best if not name.startswith(("extra", "features.1"))]
    assert frozen and all(torch.equal(best[name], last[name]) for name in frozen)
    assert not torch.equal(best["extra.weight"], last["extra.weight"])


@pytest.mark.parametrize("epoch", range(5))
@pytest.mark.parametrize("written", ["best", "checkpoint"])
def test_an_interruption_in_any_epoch_changes_nothing(
    tmp_path: Path, data: TrialData, monkeypatch: pytest.MonkeyPatch, epoch: int, written: str
) -> None:
    """Stops while an epoch is saved, when its best weights, or also its checkpoint, are there already."""
    config = make_config("staged", epochs=4)
    whole = _run(config, data, tmp_path / "whole")
    save, write_history = training_state._save, TrialFolder.write_history
    stopped: list[int] = []

    def counting_save(path: Path, content: Any) -> None:
        if path.name == "last.pt" and len(content["history"]) - 1 == epoch and written == "best":
            raise StoppedError
        save(path, content)

    def counting_history(self: TrialFolder, history: list[dict[str, Any]]) -> None:
        if written == "checkpoint" and history and history[-1]["epoch"] == epoch and not stopped:
            stopped.append(epoch)
            raise StoppedError
        write_history(self, history)

    with monkeypatch.context() as patched:
        patched.setattr(training_state, "_save", counting_save)
        patched.setattr(TrialFolder, "write_history", counting_history)
        with pytest.raises(StoppedError):
            run_trial(config, data, tmp_path / "cut", device=CPU)
    again = _run(config, data, tmp_path / "cut")
    assert artefacts(again.path) == artefacts(whole.path)


def test_stages_that_do_not_add_up_are_an_error(tmp_path: Path, data: TrialData) -> None:
    with pytest.raises(PluginError, match="into stages of at least one but got first 2, second 0"):
        run_trial(make_config("staged", epochs=2), data, tmp_path, device=CPU)


def test_a_method_with_nothing_to_train_is_recorded_once(tmp_path: Path, data: TrialData) -> None:
    config = make_config("frozen", epochs=7)
    folder = _run(config, data, tmp_path)
    (line,) = folder.history()
    assert line[UNTRAINED] is True and line["loss"] is None and folder.selectable_epochs() == (0,)
    assert folder.best_cls.is_file() and folder.status(config) == "complete"
    before = artefacts(folder.path)
    _run(config, data, tmp_path)
    assert artefacts(folder.path) == before


def test_a_trained_method_is_loaded_in_its_last_stage(tmp_path: Path, data: TrialData) -> None:
    config = make_config("staged", epochs=3)
    folder = _run(config, data, tmp_path)
    method = training_state.load_method(config, data.class_names, data.frame, folder.best_cls)
    assert isinstance(method, Staged) and method.second
