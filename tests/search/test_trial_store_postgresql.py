"""What the store promises, on a real PostgreSQL server."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from study_case import planned, setting

from wsol_bench.errors import UnreachableError
from wsol_bench.search.cells import End
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.trial_store import TrialStore

pytestmark = pytest.mark.slow


def test_from_plan_to_results(postgresql: str, tmp_path: Path) -> None:
    store = TrialStore.open(StudyAddress.parse(f"{postgresql}#whole"))
    store.register(planned(3), setting(tmp_path))
    first, second = store.claim("a"), store.claim("b")
    assert first is not None and second is not None
    assert store.beat(first, 1, {"epoch": 1, "loss": 0.5})
    store.bury("b")
    assert store.complete(first, {0: 5.0, 1: 60.0}, diverged=False)
    assert not store.complete(second, {0: 5.0}, diverged=False)
    third, again = store.claim("c"), store.claim("d")
    assert third is not None and again is not None
    assert sorted([third.trial.index, again.trial.index]) == [1, 2]
    assert store.give_up(again, End.FAILED, "broken")
    seen = TrialStore.open(StudyAddress.parse(f"{postgresql}#whole")).cells()
    assert sorted(cell.state.value for cell in seen) == ["complete", "failed", "running"]
    assert [cell.trial for cell in seen] == planned(3)


def test_one_of_many_gets_a_trial(postgresql: str, tmp_path: Path) -> None:
    address = StudyAddress.parse(f"{postgresql}#race")
    TrialStore.open(address).register(planned(5), setting(tmp_path))
    stores = [TrialStore.open(address) for _ in range(6)]
    barrier = threading.Barrier(len(stores))
    taken: list[int] = []

    def ask(store: TrialStore) -> None:
        barrier.wait()
        while (attempt := store.claim("x")) is not None:
            taken.append(attempt.trial.index)

    threads = [threading.Thread(target=ask, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [0, 1, 2, 3, 4]


def test_a_server_that_is_gone_is_said_without_the_password(postgresql: str, tmp_path: Path) -> None:
    store = TrialStore.open(StudyAddress.parse(f"{postgresql}#gone"))
    store.register(planned(1), setting(tmp_path))
    store.storage.engine.dispose()  # type: ignore[attr-defined]
    store.storage.url = ""  # type: ignore[attr-defined]
    from sqlalchemy import create_engine

    nowhere = create_engine("postgresql+psycopg://me:s3cret@127.0.0.1:1/x?connect_timeout=2")
    store.storage.scoped_session.remove()  # type: ignore[attr-defined]
    store.storage.scoped_session.configure(bind=nowhere)  # type: ignore[attr-defined]
    with pytest.raises(UnreachableError, match="run the same command; what is finished is kept") as caught:
        store.claim("a")
    assert "s3cret" not in str(caught.value)
