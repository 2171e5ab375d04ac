from __future__ import annotations

import threading
from pathlib import Path

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from study_case import journal, opened, planned, setting

from wsol_bench.errors import UsageError, WorkspaceError
from wsol_bench.search.cells import CellState, End
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.trial_store import TrialStore


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    made = opened(tmp_path, clock=Clock())
    made.register(planned(3), setting(tmp_path, grace=60.0, max_deaths=2))
    return made


def states(store: TrialStore) -> list[str]:
    return [cell.state.value for cell in store.cells()]


def test_a_plan_is_registered_once_and_in_order(store: TrialStore, tmp_path: Path) -> None:
    store.register(planned(3), setting(tmp_path))
    opened(tmp_path).register(planned(5), setting(tmp_path))
    assert [cell.trial for cell in store.cells()] == planned(5)
    assert states(store) == ["waiting"] * 5


def test_methods_have_studies_of_their_own_which_optuna_can_show(store: TrialStore, tmp_path: Path) -> None:
    store.register(planned(2, methods=("acol",)), setting(tmp_path))
    names = {study.study_name for study in store.storage.get_all_studies()}
    assert names == {"study/cam", "study/acol"}
    shown = optuna.load_study(study_name="study/acol", storage=store.storage)
    config = planned(2, methods=("acol",))[1].config
    assert shown.trials[1].params["lr"] == config.optimizer["lr"]
    assert shown.trials[1].params["erase_threshold"] == config.hparams["erase_threshold"]
    assert len(store.cells()) == 5


def test_claims_go_through_the_plan_and_then_there_is_nothing(store: TrialStore) -> None:
    taken = [store.claim(f"worker {i}") for i in range(4)]
    assert [attempt and attempt.trial for attempt in taken] == [*planned(3), None]
    assert [cell.attempt.worker for cell in store.cells()] == ["worker 0", "worker 1", "worker 2"]


def test_only_some_trials_can_be_asked_for(store: TrialStore) -> None:
    wanted = planned(3)[1].config.trial_id
    attempt = store.claim("a", only={wanted})
    assert attempt is not None and attempt.trial == planned(3)[1]
    assert store.claim("a", only={wanted}) is None
    assert [cell.state for cell in store.cells(only={wanted})] == [CellState.RUNNING]


def test_a_trial_is_given_to_one_of_many_who_ask_at_once(tmp_path: Path) -> None:
    opened(tmp_path).register(planned(6), setting(tmp_path))
    stores = [opened(tmp_path) for _ in range(8)]
    barrier = threading.Barrier(len(stores))
    taken: list[str] = []

    def ask(one: TrialStore, name: str) -> None:
        barrier.wait()
        while (attempt := one.claim(name)) is not None:
            taken.append(attempt.trial.config.trial_id)

    threads = [threading.Thread(target=ask, args=(one, str(i))) for i, one in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(trial.config.trial_id for trial in planned(6))


def test_a_result_is_accepted_once(store: TrialStore) -> None:
    attempt = store.claim("a")
    assert attempt is not None
    assert store.complete(attempt, {0: 5.0, 1: 40.0, 2: float("nan"), 3: 35.0}, diverged=False)
    assert not store.complete(attempt, {0: 5.0}, diverged=False)
    assert not store.give_up(attempt, End.FAILED, "late")
    assert not store.beat(attempt, 9, {})
    assert states(store) == ["complete", "waiting", "waiting"]
    frozen = store.storage.get_trial(attempt.key)
    assert frozen.value == 40.0
    assert frozen.intermediate_values == {0: 5.0, 1: 40.0, 3: 35.0}


def test_a_diverged_trial_is_finished(store: TrialStore) -> None:
    attempt = store.claim("a")
    assert attempt is not None
    store.complete(attempt, {0: 5.0}, diverged=True)
    assert states(store) == ["diverged", "waiting", "waiting"]
    assert store.cells()[0].finished


def advance(store: TrialStore, seconds: float) -> None:
    assert isinstance(store.clock, Clock)
    store.clock.now += seconds


def test_a_silent_worker_loses_its_trial_to_the_next(store: TrialStore) -> None:
    lost = store.claim("silent")
    assert lost is not None
    store.claim("b")
    store.claim("c")
    assert store.claim("d") is None
    advance(store, 59)
    assert store.claim("d") is None
    advance(store, 2)
    again = store.claim("d")
    assert again is not None
    assert (again.trial, again.turn, again.deaths) == (lost.trial, 1, 1)
    assert not store.beat(lost, 1, {})
    assert not store.complete(lost, {0: 1.0}, diverged=False)
    assert store.complete(again, {0: 1.0}, diverged=False)
    assert len(store.cells()) == 3


def test_signs_of_life_keep_a_trial(store: TrialStore) -> None:
    attempts = [store.claim(name) for name in "abc"]
    for beat in range(1, 10):
        assert store.claim("d") is None
        advance(store, 40)
        assert all(attempt is not None and store.beat(attempt, beat, {"epoch": beat}) for attempt in attempts)
    assert [cell.attempt.progress for cell in store.cells()] == [{"epoch": 9, "beat": 9}] * 3


def test_silence_is_measured_from_when_one_first_listened(store: TrialStore, tmp_path: Path) -> None:
    for name in "abc":
        store.claim(name)
    late = opened(tmp_path, clock=Clock())
    advance(late, 1e6)
    assert late.claim("late") is None
    advance(late, 61)
    assert late.claim("late") is not None


def test_a_trial_on_which_workers_keep_dying_fails(store: TrialStore) -> None:
    only = {planned(3)[0].config.trial_id}
    for death in range(3):
        attempt = store.claim(f"worker {death}", only)
        assert attempt is not None and attempt.deaths == death
        store.bury(f"worker {death}")
    assert store.claim("d", only) is None
    (cell,) = store.cells(only)
    assert cell.state == CellState.FAILED
    assert cell.message == "3 workers died on it, the last one worker 2"


def test_what_was_stopped_is_tried_again_without_counting(store: TrialStore) -> None:
    only = {planned(3)[0].config.trial_id}
    for _ in range(5):
        attempt = store.claim("a", only)
        assert attempt is not None and attempt.deaths == 0
        store.give_up(attempt, End.STOPPED)
    assert states(store)[0] == "waiting"


def test_what_failed_is_tried_again_only_when_a_person_asks(store: TrialStore, tmp_path: Path) -> None:
    attempt = store.claim("a")
    assert attempt is not None
    store.give_up(attempt, End.FAILED, "no such layer at postgresql://me:s3cret@host/db")
    cell = store.cells()[0]
    assert cell.state == CellState.FAILED and cell.finished
    assert cell.message == "no such layer at postgresql://me:***@host/db"
    for _ in range(2):
        assert store.claim("b") is not None
    assert store.claim("b") is None
    store.register(planned(3), setting(tmp_path))
    again = store.claim("b")
    assert again is not None and again.trial == attempt.trial


def test_complete_trials_whose_records_are_gone_are_run_again(store: TrialStore, tmp_path: Path) -> None:
    for _ in range(2):
        attempt = store.claim("a")
        assert attempt is not None
        store.complete(attempt, {0: 1.0}, diverged=False)
    store.register(planned(3), setting(tmp_path), finished=[planned(3)[0].config.trial_id])
    assert states(store) == ["complete", "waiting", "waiting"]


def test_renewals_made_twice_count_once(store: TrialStore, tmp_path: Path) -> None:
    attempt = store.claim("a")
    assert attempt is not None
    store.give_up(attempt, End.DIED)
    study = store.storage.get_study_id_from_name("study/cam")
    for _ in range(2):
        store._renew(study, attempt, deaths=1)
    assert len(store.cells()) == 3
    taken = [store.claim("b") for _ in range(4)]
    assert taken[3] is None
    assert sorted(one.trial.index for one in taken if one is not None) == [0, 1, 2]
    waiting = store.storage.get_all_trials(study, states=[TrialState.WAITING])
    assert [trial.user_attrs["turn"] for trial in waiting] == [1]
    for one in taken[:3]:
        assert one is not None and store.complete(one, {0: 1.0}, diverged=False)
    assert store.claim("b") is None
    assert states(store) == ["complete"] * 3


def test_trials_given_up_by_other_programs_are_tried_again(store: TrialStore) -> None:
    attempt = store.claim("a")
    assert attempt is not None
    store.storage.set_trial_state_values(attempt.key, TrialState.FAIL)
    assert states(store)[0] == "waiting"
    assert store.claim("b") is not None


def test_a_study_has_one_dataset(store: TrialStore, tmp_path: Path) -> None:
    other = setting(tmp_path).model_copy(update={"dataset": "critters:96"})
    with pytest.raises(UsageError, match="to have the dataset 'critters:96' but it has 'critters'"):
        store.register(planned(1), other)


def test_no_study_yet(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.cells() == []
    assert store.claim("a") is None
    with pytest.raises(UsageError, match=r"a study 'study' at .*study\.journal but there is none"):
        store.setting()


def test_studies_of_other_programs_are_not_touched(tmp_path: Path) -> None:
    storage = journal(tmp_path).open()
    optuna.create_study(storage=storage, study_name="study/cam").ask()
    store = TrialStore(journal(tmp_path), storage)
    with pytest.raises(WorkspaceError, match="hold a study of this version of wsol-bench"):
        store.register(planned(1), setting(tmp_path))


def test_a_sweep_that_is_killed_while_it_makes_a_study_is_no_obstacle(tmp_path: Path) -> None:
    storage = journal(tmp_path).open()
    storage.create_new_study([StudyDirection.MAXIMIZE], "study/cam")
    store = TrialStore(journal(tmp_path), storage)
    assert store.cells() == [] and store.claim("a") is None
    store.register(planned(2), setting(tmp_path))
    assert states(store) == ["waiting", "waiting"]


def test_trials_of_other_programs_in_a_study_are_refused(store: TrialStore) -> None:
    store.storage.create_new_trial(store.storage.get_study_id_from_name("study/cam"))
    with pytest.raises(WorkspaceError, match="trials of 'wsol-bench sweep' only"):
        store.cells()


def test_a_study_of_a_later_format_is_refused(store: TrialStore, tmp_path: Path) -> None:
    study = store.storage.get_study_id_from_name("study/cam")
    store.storage.set_study_user_attr(study, "wsol_bench", setting(tmp_path, format=2).model_dump(mode="json"))
    with pytest.raises(WorkspaceError, match=r"of format 1 at .* but got 2"):
        store.setting()


def test_a_database_with_one_study_needs_no_name(store: TrialStore, tmp_path: Path) -> None:
    unnamed = StudyAddress(journal(tmp_path).place, "")
    assert TrialStore.open(unnamed).address.name == "study"
    TrialStore(journal(tmp_path).named("x"), store.storage)
    other = TrialStore(StudyAddress(journal(tmp_path).place, "other"), store.storage)
    other.register(planned(1), setting(tmp_path))
    with pytest.raises(UsageError, match="there are 2: other, study; fix: add #NAME"):
        TrialStore.open(unnamed)
