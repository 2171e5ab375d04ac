from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from wsol_bench.errors import UsageError
from wsol_bench.methods.hparams import Fixed, HyperParams, LogUniform, Uniform, draw, hp
from wsol_bench.registry import METHODS
from wsol_bench.search import plan as plan_module
from wsol_bench.search.baseline import Baseline, Range, Recipe
from wsol_bench.search.plan import MethodOnDataset, PlannedTrial, PlanRequest, enumerate_trials
from wsol_bench.training.config import TrialConfig


def _method(hparams: type[HyperParams]) -> type:
    from wsol_bench.methods.base import Method

    return type("Toy", (Method,), {"HParams": hparams})


class First(HyperParams):
    drop_rate: float = hp(0.5, Uniform(0.0, 1.0), "how much is dropped")
    backbone: str = hp("small", Fixed(("small", "large")), "network")
    flip: bool = hp(True, Fixed((True, False)), "whether to flip")
    note: str = hp("none", Fixed(), "anything")


class Second(HyperParams):
    threshold: float = hp(0.1, Uniform(0.0, 1.0), "where to cut")
    drop_rate: float = hp(0.5, Uniform(0.0, 1.0), "how much is dropped")


class Nothing(HyperParams):
    pass


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    METHODS.register("first")(_method(First))
    METHODS.register("second")(type("Toy2", (_method(Second),), {}))
    yield


def _plan(*methods: str, **given: Any) -> list[PlannedTrial]:
    return enumerate_trials(PlanRequest(methods=methods or ("first",), **given), "critters", "v1")


def _values(trial: PlannedTrial) -> dict[str, Any]:
    return trial.config.summary()


def test_the_recipe_comes_first_then_draws() -> None:
    trials = _plan(configs=3)
    assert [trial.label for trial in trials] == ["first/0", "first/1", "first/2"]
    assert _values(trials[0])["drop_rate"] == 0.5
    for index in (1, 2):
        assert _values(trials[index])["drop_rate"] == draw("drop_rate", Uniform(0.0, 1.0), 0, index)
        assert _values(trials[index])["backbone"] == "small"
    assert len({trial.config.trial_id for trial in trials}) == 3


def test_a_plan_is_deterministic_and_a_longer_one_extends_it() -> None:
    assert _plan(configs=4) == _plan(configs=4)
    assert _plan(configs=6)[:4] == _plan(configs=4)
    longer = _plan(configs=2, seeds=3)
    assert [trial for trial in longer if not trial.config.seed] == _plan(configs=2)
    assert [trial.label for trial in longer] == [
        "first/0",
        "first/0/seed1",
        "first/0/seed2",
        "first/1",
        "first/1/seed1",
        "first/1/seed2",
    ]


def test_another_seed_draws_anew_but_keeps_the_recipe() -> None:
    one, other = _plan(configs=3), _plan(configs=3, hparam_seed=1)
    assert one[0] == other[0] and one[1] != other[1] and one[2] != other[2]


def test_methods_share_the_draws_of_common_parameters() -> None:
    trials = _plan("first", "second", configs=4)
    for first, second in zip(trials[:4], trials[4:], strict=True):
        common = _values(first).keys() & _values(second).keys()
        assert common == {"lr", "weight_decay", "gamma", "step_size", "optimizer", "drop_rate"}
        assert {key: _values(first)[key] for key in common} == {key: _values(second)[key] for key in common}


def test_a_method_named_twice_is_planned_once() -> None:
    assert _plan("first", "second", "first") == _plan("first", "second")


def test_overrides_are_typed_by_their_declaration() -> None:
    given = {"lr": "1e-3", "step_size": "7", "flip": "False", "note": "3", "backbone": "large"}
    for trial in _plan(configs=2, overrides=given):
        values = _values(trial)
        assert {key: values[key] for key in given} == {
            "lr": 1e-3,
            "step_size": 7,
            "flip": False,
            "note": "3",
            "backbone": "large",
        }
        assert type(values["step_size"]) is int and type(values["flip"]) is bool
    typed = {"lr": 1e-3, "step_size": 7, "flip": False, "note": "3", "backbone": "large"}
    assert _plan(configs=2, overrides=typed) == _plan(configs=2, overrides=given)
    assert _plan(overrides={"lr": 1}) == _plan(overrides={"lr": "1"}) == _plan(overrides={"lr": 1.0})


def test_an_override_changes_no_other_draw() -> None:
    free, fixed = _plan(configs=2)[1], _plan(configs=2, overrides={"lr": 0.5})[1]
    assert {**_values(free), "lr": 0.5} == _values(fixed)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"leraning_rate": "1"}, "--set to be one of .*'leraning_rate'.*'wsol-bench methods show first'"),
        ({"drop_rte": "1"}, r"Did you mean 'drop_rate'\?"),
        ({"lr": "fast"}, r"--set lr=fast: Expected 'lr' \(.*\) to be a finite number but got 'fast'"),
        ({"lr": "-1"}, "--set lr=-1: .* to be not negative"),
        ({"lr": "nan"}, "--set lr=nan: .* to be a finite number"),
        ({"lr": True}, "to be a finite number but got True"),
        ({"step_size": "2.5"}, "--set step_size=2.5: .* to be a whole number"),
        ({"flip": "1"}, "--set flip=1: .* to be true or false"),
        ({"backbone": "big"}, r"--set backbone=big: .* to be one of \(small, large\)"),
    ],
)
def test_overrides_that_do_not_fit(overrides: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _plan(overrides=overrides)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"configs": 0}, "--configs to be at least 1 but got 0"),
        ({"seeds": 0}, "--seeds to be at least 1 but got 0"),
        ({"epochs": 0}, "--epochs to be at least 1 but got 0"),
        ({"epochs": -3}, "--epochs to be at least 1 but got -3"),
        ({"methods": ()}, "at least one --method"),
    ],
)
def test_requests_that_make_no_plan(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        PlanRequest(**given)


def test_unknown_methods_and_datasets_are_suggested() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'first'\?"):
        _plan("frist")
    with pytest.raises(UsageError, match=r"--dataset .*Did you mean 'critters'\?"):
        enumerate_trials(PlanRequest(("first",)), "criters", "v1")


def test_a_parameter_may_be_set_that_only_some_methods_have() -> None:
    first, second = _plan("first", "second", overrides={"threshold": 0.75})
    assert "threshold" not in _values(first) and _values(second)["threshold"] == 0.75


def test_several_configurations_need_something_to_draw() -> None:
    METHODS.register("nothing")(type("Toy3", (_method(Nothing),), {}))
    everything = {"lr": 1, "weight_decay": 1, "gamma": 1, "step_size": 1}
    assert len(_plan("nothing", overrides=everything)) == 1
    with pytest.raises(UsageError, match=r"--configs 1 .*'nothing' has nothing left to draw"):
        _plan("nothing", configs=2, overrides=everything)


def test_recipes_and_ranges_come_from_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline = Baseline(
        method="first",
        space={"lr": Range(log_uniform=(1e-3, 1e-2)), "drop_rate": Range(uniform=(0.5, 0.6))},
        datasets={
            "default": Recipe(epochs=3),
            "critters": Recipe(
                epochs=7, batch_size=4, recipe={"backbone": "large"}, space={"drop_rate": Range(choice=(0.25,))}
            ),
        },
    )
    monkeypatch.setattr(plan_module, "load_baseline", lambda *_: baseline)
    recipe, drawn = _plan(configs=2)
    assert (recipe.config.epochs, recipe.config.batch_size) == (7, 4)
    assert _values(recipe)["backbone"] == _values(drawn)["backbone"] == "large"
    assert _values(drawn)["drop_rate"] == 0.25
    assert _values(drawn)["lr"] == draw("lr", LogUniform(1e-3, 1e-2), 0, 1)
    assert _plan(epochs=2)[0].config.epochs == 2
    page = MethodOnDataset.of("first", "critters")
    assert {one.name: one.searched for one in page.parameters}["lr"] == LogUniform(1e-3, 1e-2)
    assert {one.name: one.value for one in page.parameters}["backbone"] == "large"


def test_trial_ids_are_stable() -> None:
    # Records of finished trials are found by this id: a change here orphans all of them.
    config = TrialConfig(
        method="cam",
        dataset="critters",
        dataset_version="critters-64@1",
        hparams={"backbone": "resnet_tiny", "large_feature_map": True, "weights": "none"},
        optimizer={"lr": 0.05, "weight_decay": 5e-4, "gamma": 0.2, "step_size": 6},
        epochs=8,
        batch_size=32,
        seed=0,
    )
    assert config.trial_id == "031dabf94315"
    drawn = [draw("lr", LogUniform(1e-5, 1.0), 0, index) for index in (1, 2)]
    assert drawn == [0.0959859, 0.0134101]
