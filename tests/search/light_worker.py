"""A worker whose trials are files that grow: everything of a real one but the training, so that it starts fast.

``python light_worker.py STUDY FOLDER SECONDS``. A trial has five epochs; each takes ``SECONDS`` and adds a line to
``FOLDER/<trial>.txt``, written whole. Whoever finishes a trial adds a line to ``FOLDER/finished.txt``.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

from wsol_bench.atomic import write_text
from wsol_bench.errors import BusyError
from wsol_bench.search.lease import Lease
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.search.worker import Result, Worker

EPOCHS = 5


def line(trial: str, epoch: int) -> str:
    return f"{epoch} {int(trial, 16) % 1009 * epoch}\n"


def expected(trial: str) -> str:
    return "".join(line(trial, epoch) for epoch in range(EPOCHS))


def main() -> None:
    study, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])

    def run(trial: PlannedTrial, lease: Lease) -> Result:
        name = trial.config.trial_id
        path = folder / f"{name}.txt"
        with (folder / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(f"{name} is busy") from None
            done = path.read_text() if path.exists() else ""
            if done.count("\n") < EPOCHS:
                for epoch in range(done.count("\n"), EPOCHS):
                    time.sleep(seconds)
                    lease.report({"epoch": epoch, "epochs": EPOCHS})
                    done += line(name, epoch)
                    write_text(path, done)
                with (folder / "finished.txt").open("a") as finished:
                    finished.write(f"{name}\n")
        return Result(dict.fromkeys(range(EPOCHS), 50.0))

    Worker(TrialStore.open(StudyAddress.parse(study)), run, f"light-{os.getpid()}").work()


if __name__ == "__main__":
    main()
