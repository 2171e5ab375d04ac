from __future__ import annotations

from pathlib import Path

import pytest
from study_case import opened, planned, setting

from wsol_bench.errors import UsageError
from wsol_bench.methods.hparams import Fixed
from wsol_bench.search.cells import End
from wsol_bench.search.lease import Lease
from wsol_bench.search.plan import MethodOnDataset, PlannedTrial
from wsol_bench.search.samplers import SAMPLERS, extend, propose
from wsol_bench.search.study_setting import SearchSetting
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.search.worker import Result, Worker


def search(tmp_path: Path, sampler: str = "tpe", configs: int = 6, **changes: object) -> TrialStore:
    store = opened(tmp_path)
    wanted = SearchSetting(sampler=sampler, configs=configs, **changes)  # type: ignore[arg-type]
    store.register(planned(1), setting(tmp_path, search=wanted, heartbeat=0.05))
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
    from wsol_bench.search.plan import drawn_by_others

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
