from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from study_case import opened, planned, setting

from wsol_bench.errors import BusyError, DataError, UnreachableError, WorkspaceError
from wsol_bench.search.cells import CellState
from wsol_bench.search.lease import Lease, LeaseLostError
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.search.worker import Result, Worker, worker_name

DONE = Result({0: 5.0, 1: 50.0})


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    made = opened(tmp_path)
    made.register(planned(3), setting(tmp_path, heartbeat=0.05, grace=0.6))
    return made


def states(store: TrialStore) -> list[str]:
    return [cell.state.value for cell in store.cells()]


def test_works_until_nothing_is_left(store: TrialStore) -> None:
    ran: list[PlannedTrial] = []

    def run(trial: PlannedTrial, lease: Lease) -> Result:
        ran.append(trial)
        return Result({0: 1.0}, diverged=True) if trial.index == 1 else DONE

    said: list[str] = []
    assert Worker(store, run, say=said.append).work() == 3
    assert ran == planned(3)
    assert states(store) == ["complete", "diverged", "complete"]
    assert said == ["cam/1: the loss is no longer finite; epochs before that remain valid."]
    assert Worker(store, run).work() == 0


def test_only_what_was_asked_for(store: TrialStore) -> None:
    Worker(store, lambda trial, lease: DONE, only={planned(3)[2].config.trial_id}).work()
    assert states(store) == ["waiting", "waiting", "complete"]


def test_a_trial_that_fails_does_not_end_the_sweep(store: TrialStore) -> None:
    def run(trial: PlannedTrial, lease: Lease) -> Result:
        if trial.index == 0:
            raise DataError("Expected a file but got none.", Path("x.csv"))
        if trial.index == 1:
            raise ZeroDivisionError("division by zero")
        return DONE

    worker = Worker(store, run)
    assert worker.work() == 1
    assert states(store) == ["failed", "failed", "complete"]
    assert [cell.message for cell in store.cells()][:2] == [
        "x.csv: Expected a file but got none.",
        "ZeroDivisionError: division by zero",
    ]
    assert {type(error) for error in worker.errors.values()} == {DataError, ZeroDivisionError}


@pytest.mark.parametrize("error", [WorkspaceError("disk full"), KeyboardInterrupt()])
def test_what_is_no_fault_of_the_trial_gives_it_back(store: TrialStore, error: BaseException) -> None:
    def run(trial: PlannedTrial, lease: Lease) -> Result:
        raise error

    with pytest.raises(type(error)):
        Worker(store, run).work()
    assert states(store) == ["waiting"] * 3
    assert store.cells()[0].attempt.deaths == 0


def test_a_busy_trial_is_left_for_later(store: TrialStore) -> None:
    tries: list[int] = []

    def run(trial: PlannedTrial, lease: Lease) -> Result:
        tries.append(trial.index)
        if tries == [0]:
            raise BusyError("another process is training this trial")
        return DONE

    assert Worker(store, run).work() == 3
    assert sorted(tries) == [0, 0, 1, 2]
    assert states(store) == ["complete"] * 3


def test_signs_of_life_go_on_while_a_trial_runs(store: TrialStore, tmp_path: Path) -> None:
    other = opened(tmp_path)

    def run(trial: PlannedTrial, lease: Lease) -> Result:
        lease.report({"epoch": 7})
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            claimed = other.claim("greedy", only={trial.config.trial_id})
            assert claimed is None
            time.sleep(0.05)
        assert other.cells()[trial.index].attempt.progress["epoch"] == 7
        return DONE

    Worker(store, run, only={planned(3)[0].config.trial_id}).work()
    assert states(store)[0] == "complete"


def test_news_can_be_passed_on_at_once(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.register(planned(1), setting(tmp_path, heartbeat=60.0, grace=600.0))

    def run(trial: PlannedTrial, lease: Lease) -> Result:
        until = time.monotonic() + 10
        while store.cells()[0].attempt.beat < 1 and time.monotonic() < until:
            time.sleep(0.01)
        lease.report({"epoch": 1}, at_once=True)
        while store.cells()[0].attempt.beat < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert store.cells()[0].attempt.progress == {"epoch": 1, "beat": 2}
        return DONE

    assert Worker(store, run).work() == 1


def test_whoever_was_silent_for_too_long_stops_and_its_result_counts_once(store: TrialStore, tmp_path: Path) -> None:
    only = {planned(3)[0].config.trial_id}
    other = opened(tmp_path)

    def run(trial: PlannedTrial, lease: Lease) -> Result:
        assert lease.attempt.turn == 0
        other.bury(lease.attempt.worker)
        taken = other.claim("second", only)
        assert taken is not None
        until = time.monotonic() + 10
        with pytest.raises(LeaseLostError):
            while time.monotonic() < until:
                time.sleep(0.01)
                lease.report({"epoch": 1})
        assert other.complete(taken, {0: 1.0}, diverged=False)
        raise LeaseLostError("cam/0")

    said: list[str] = []
    assert Worker(store, run, only=only, say=said.append).work() == 0
    assert said == ["cam/0: another worker has it now, because this one was silent for too long."]
    assert states(store)[0] == "complete"


def test_a_late_result_is_not_accepted_again(store: TrialStore, tmp_path: Path) -> None:
    only = {planned(3)[0].config.trial_id}
    other = opened(tmp_path)

    def run(trial: PlannedTrial, lease: Lease) -> Result:
        other.bury(lease.attempt.worker)
        taken = other.claim("second", only)
        assert taken is not None and other.complete(taken, {0: 1.0}, diverged=False)
        return DONE

    assert Worker(store, run, only=only).work() == 0
    assert store.storage.get_trial(store.cells(only)[0].attempt.key).value == 1.0


def test_waits_for_the_trials_of_others_and_takes_them_when_they_die(store: TrialStore) -> None:
    for _ in range(3):
        assert store.claim("dead") is not None
    said: list[str] = []
    worker = Worker(store, lambda trial, lease: DONE, say=said.append)
    assert worker.work() == 3
    assert said[0] == "waiting for 3 trials of other workers; should one die, this one goes on."
    assert [cell.attempt.turn for cell in store.cells()] == [1, 1, 1]


def test_a_database_that_is_down_for_a_while_is_asked_again(store: TrialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, failures = store.claim, [UnreachableError("down"), UnreachableError("down")]

    def flaky(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return claim(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "claim", flaky)
    said: list[str] = []
    assert Worker(store, lambda trial, lease: DONE, say=said.append).work() == 3
    assert said == ["down Asking again in 0 s.", "down Asking again in 1 s."]


def test_a_database_that_stays_down_ends_the_worker(store: TrialStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsol_bench.search.worker.PATIENCE", 0.1)

    def down() -> CellState:
        raise UnreachableError("down")

    monkeypatch.setattr(store, "setting", down)
    with pytest.raises(UnreachableError):
        Worker(store, lambda trial, lease: DONE).work()


def test_names_differ() -> None:
    names = {worker_name() for _ in range(50)}
    assert len(names) == 50


def test_no_thread_stays_behind(store: TrialStore) -> None:
    Worker(store, lambda trial, lease: DONE).work()
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]
