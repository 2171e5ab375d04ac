from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from study_case import opened, planned, setting

from wsol_bench.errors import UsageError
from wsol_bench.methods.hparams import Fixed
from wsol_bench.search.cells import End
from wsol_bench.search.lease import Lease
from wsol_bench.search.plan import MethodOnDataset, PlannedTrial, PlanRequest, drawn_by_others, enumerate_trials
from wsol_bench.search.samplers import SAMPLERS, extend, propose
from wsol_bench.search.study_setting import SearchSetting
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.search.worker import Result, Worker


def search(tmp_path: Path, sampler: str = "tpe", configs: int = 6, method: str = "cam", **changes: Any) -> TrialStore:
    store = opened(tmp_path)
    wanted = SearchSetting(sampler=sampler, configs=configs, **changes)  # type: ignore[arg-type]
    store.register(planned(1, methods=(method,)), setting(tmp_path, search=wanted, heartbeat=0.05))
    return store


def bad_far_from_one_percent(trial: PlannedTrial, lease: Lease) -> Result:
    """The nearer the weight decay to its upper end, the better."""
    return Result({0: 100.0 * float(trial.config.optimizer["weight_decay"])})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_worker_extends_the_study_to_its_size(tmp_path: Path, sampler: str) -> None:
    store = search(tmp_path, sampler)
    assert Worker(store, bad_far_from_one_percent).work() == 6
    trials = [cell.trial for cell in store.cells()]
    assert [trial.index for trial in trials] == list(range(6))
    assert trials[0] == planned(1)[0]
    assert len({trial.config.trial_id for trial in trials}) == 6
    ranges = {one.name: one.searched for one in MethodOnDataset.of("cam", "critters").parameters}
    for trial in trials[1:]:
        for name, value in trial.config.summary().items():
            if isinstance(ranges[name], Fixed):
                assert value == trials[0].config.summary()[name]
    assert not extend(store)


def test_proposals_depend_on_the_seed_and_the_results_only(tmp_path: Path) -> None:
    store = search(tmp_path)
    Worker(store, bad_far_from_one_percent).work()
    cells = store.cells()
    wanted = SearchSetting(sampler="tpe", configs=9)
    assert propose(wanted, cells) == propose(wanted, cells)
    assert propose(wanted, cells) != propose(wanted.model_copy(update={"seed": 1}), cells)
    assert propose(wanted, cells) != propose(wanted, cells[:-1])


def test_tpe_learns_from_class_accuracy(tmp_path: Path) -> None:
    store = search(tmp_path, configs=30)
    Worker(store, bad_far_from_one_percent).work()
    decays = [float(cell.trial.config.optimizer["weight_decay"]) for cell in store.cells()[1:]]
    assert sum(decays[-10:]) > 2 * sum(decays[:10])


def test_what_the_user_has_set_is_not_searched(tmp_path: Path) -> None:
    store = search(tmp_path, configs=4, fixed=("lr", "gamma"))
    Worker(store, bad_far_from_one_percent).work()
    assert {cell.trial.config.optimizer["lr"] for cell in store.cells()} == {planned(1)[0].config.optimizer["lr"]}
    assert len({cell.trial.config.optimizer["weight_decay"] for cell in store.cells()}) == 4
    names = [one.name for one in MethodOnDataset.of("cam", "critters").parameters]
    with pytest.raises(UsageError, match="'cam' has nothing left to draw"):
        propose(SearchSetting(sampler="tpe", configs=4, fixed=tuple(names)), store.cells())


def test_two_who_propose_the_last_configuration_make_one(tmp_path: Path) -> None:
    store = search(tmp_path, configs=2)
    first = propose(store.setting().search or SearchSetting(sampler="tpe", configs=2), store.cells())
    assert extend(store)
    store.add(drawn_by_others(planned(1)[0], 1, first | {"lr": 0.0123}))
    assert len(store.cells()) == 2
    assert Worker(store, bad_far_from_one_percent).work() == 2


def test_failed_and_running_trials_do_not_stop_the_search(tmp_path: Path) -> None:
    store = search(tmp_path, configs=3)
    attempt = store.claim("a")
    assert attempt is not None
    assert extend(store)
    store.give_up(attempt, End.FAILED, "broken")
    assert Worker(store, bad_far_from_one_percent).work() == 2
    assert sorted(cell.state.value for cell in store.cells()) == ["complete", "complete", "failed"]


def test_a_study_is_planned_or_searched_but_not_both(tmp_path: Path) -> None:
    store = search(tmp_path)
    with pytest.raises(UsageError, match="chosen by 'plan' but they are by 'tpe'"):
        store.register(planned(3), setting(tmp_path))
    more = SearchSetting(sampler="tpe", configs=9)
    store.register(planned(1), setting(tmp_path, search=more))
    assert store.setting().search == more


def test_searches_of_several_methods_keep_their_own_options(tmp_path: Path) -> None:
    search(tmp_path, configs=3, fixed=("lr",))
    store = search(tmp_path, configs=2, method="has", seed=5)
    assert Worker(store, bad_far_from_one_percent).work() == 5
    (cam, cams), (has, others) = store.searches()
    assert (cam.configs, cam.fixed, cam.seed, len(cams)) == (3, ("lr",), 0, 3)
    assert (has.configs, has.fixed, has.seed, len(others)) == (2, (), 5, 2)
    assert len({cell.trial.config.optimizer["lr"] for cell in cams}) == 1
    assert len({cell.trial.config.optimizer["lr"] for cell in others}) == 2


def test_what_two_workers_propose_at_once_gets_two_numbers(tmp_path: Path) -> None:
    store = search(tmp_path, configs=4)
    for rate in (0.01, 0.02):
        store.add(drawn_by_others(planned(1)[0], 1, {"lr": rate}))
    assert [cell.trial.label for cell in store.cells()] == ["cam/0", "cam/1", "cam/2"]
    assert [cell.trial.config.optimizer["lr"] for cell in store.cells()][1:] == [0.01, 0.02]


def test_no_configuration_is_tried_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers and choices are soon proposed again; a study that did not grow would be extended for ever."""
    store = search(tmp_path, configs=4)
    proposals = [{"step_size": steps} for steps in (7, 7, 8, 7, 8, 7)]
    asked: list[int] = []

    def propose_again(_: object, cells: object, again: int) -> dict[str, int]:
        asked.append(again)
        return proposals.pop(0) if proposals else {"step_size": 7}

    monkeypatch.setattr("wsol_bench.search.samplers.propose", propose_again)
    assert extend(store) and extend(store)
    assert asked == [0, 0, 1]
    assert [cell.trial.config.optimizer["step_size"] for cell in store.cells()][1:] == [7, 8]
    with pytest.raises(UsageError, match=r"--configs 3 or fewer, .* no other configuration of 'cam', but got 4"):
        extend(store)


def test_a_proposal_made_again_is_another_one(tmp_path: Path) -> None:
    cells = search(tmp_path).cells()
    wanted = SearchSetting(sampler="random", configs=9)
    assert propose(wanted, cells) == propose(wanted, cells, 0) != propose(wanted, cells, 1)


@pytest.mark.parametrize(
    ("planned_by", "changes", "message"),
    [
        ({}, {"fixed": ("gamma", "lr")}, r"no --set lr, which the search at .* draws"),
        ({}, {"fixed": ()}, r"--set gamma=[\d.]+, with which the search"),
        ({}, {"seed": 1}, r"--hparam-seed 0, with which .* but got 1"),
        ({"epochs": 7}, {}, r"begun with but got other values: epochs 7 instead of"),
        ({"overrides": {"gamma": 0.5}}, {}, r"other values: gamma 0\.5 instead of"),
        ({"precision": "bf16"}, {}, r"precision bf16 instead of fp32"),
    ],
)
def test_a_search_goes_on_with_the_options_that_it_was_begun_with(
    tmp_path: Path, planned_by: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    store = search(tmp_path, fixed=("gamma",))
    before = store.searches()
    wanted = SearchSetting(**{"sampler": "tpe", "configs": 9, "fixed": ("gamma",)} | changes)
    with pytest.raises(UsageError, match=message):
        store.register(planned(1, **planned_by), setting(tmp_path, search=wanted))
    assert store.searches() == before


def test_a_search_stays_on_one_version_of_a_dataset(tmp_path: Path) -> None:
    store = search(tmp_path)
    other = enumerate_trials(PlanRequest(), "critters", "2")
    wanted = setting(tmp_path, search=SearchSetting(sampler="tpe", configs=6))
    with pytest.raises(UsageError, match=r"Expected version 1 of the dataset 'critters', which the search at .* got 2"):
        store.refuse_another(other, wanted)


def test_a_search_tries_each_configuration_once() -> None:
    plan = PlanRequest(configs=4, hparam_seed=2, overrides={"lr": "0.1"})
    assert SearchSetting.of(plan, "random") == SearchSetting(sampler="random", configs=4, seed=2, fixed=("lr",))
    with pytest.raises(UsageError, match="--seeds 1 with --sampler tpe"):
        SearchSetting.of(PlanRequest(seeds=3), "tpe")
    with pytest.raises(ValidationError):
        SearchSetting(sampler="grid", configs=4)  # type: ignore[arg-type]
