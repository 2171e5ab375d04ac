"""A sweep of light workers of which a random one is killed again and again."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from light_worker import expected
from study_case import planned, setting

from wsol_bench.search.cells import CellState
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.trial_store import TrialStore

TRIALS, WORKERS = 24, 4
KILL_AFTER = 5
"""A worker is killed at the latest when so many more trials are finished, however fast the machine."""


def sweep_while_killing(
    address: StudyAddress, folder: Path, seed: int, *, every: float, seconds: float = 0.08, limit: float = 240.0
) -> int:
    """Runs 24 trials with 4 workers, checks that none is lost, doubled or changed, and returns the number of kills."""
    folder.mkdir()
    rng = random.Random(seed)
    store = TrialStore.open(address)
    store.register(planned(TRIALS), setting(folder, heartbeat=0.25, grace=1.5, max_deaths=1000))
    script = str(Path(__file__).with_name("light_worker.py"))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, script, address.secret, str(folder), str(seconds)])

    workers = [start() for _ in range(WORKERS)]
    kills, began = 0, time.monotonic()
    next_kill, next_count = began + every, KILL_AFTER
    try:
        while (finished := sum(cell.finished for cell in store.cells())) < TRIALS:
            assert time.monotonic() - began < limit, [cell.state for cell in store.cells()]
            time.sleep(0.05)
            if time.monotonic() > next_kill or finished >= next_count:
                next_kill = time.monotonic() + rng.uniform(0.5, 1.5) * every
                next_count = finished + KILL_AFTER
                if living := [one for one in workers if one.poll() is None]:
                    rng.choice(living).kill()
                    kills += 1
            workers = [one if one.poll() is None else start() for one in workers]
        for one in workers:
            # The last victim may not have been replaced any more.
            assert one.wait(60) in (0, -9)
    finally:
        for one in workers:
            one.kill()
    check(store, folder)
    return kills


def check(store: TrialStore, folder: Path) -> None:
    ids = [trial.config.trial_id for trial in planned(TRIALS)]
    cells = store.cells()
    assert [cell.trial.config.trial_id for cell in cells] == ids
    assert {cell.state for cell in cells} == {CellState.COMPLETE}
    complete = Counter(
        frozen.user_attrs["config"]["optimizer"]["lr"]
        for frozen in store.storage.get_all_trials(store.storage.get_study_id_from_name(f"{store.address.name}/cam"))
        if frozen.state.name == "COMPLETE"
    )
    assert set(complete.values()) == {1}
    finished = Counter((folder / "finished.txt").read_text().split())
    # A worker killed between its last epoch and this line leaves none; nobody ever leaves two.
    assert set(finished.values()) == {1} and set(finished) <= set(ids)
    assert {name: (folder / f"{name}.txt").read_text() for name in ids} == {name: expected(name) for name in ids}
