from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wsol_bench.cli import main
from wsol_bench.search.cells import CellState, End
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.study_setting import StudySetting
from wsol_bench.search.trial_store import TrialStore

Output = pytest.CaptureFixture[str]
REPOSITORY = Path(__file__).parents[2]
SPEC = "critters:size=64,train=32,val=8,test=8"
VERSION = "1"


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    (tmp_path / "studies").mkdir()
    made = TrialStore.open(StudyAddress.parse(str(tmp_path / "studies" / "critters.journal")))
    trials = enumerate_trials(PlanRequest(("cam",), configs=4, epochs=8), "critters", VERSION)
    made.register(trials, StudySetting(dataset="critters", dataset_version=VERSION, workspace=str(tmp_path)))
    return made


def test_status_says_what_runs_where_and_what_failed(store: TrialStore, tmp_path: Path, capsys: Output) -> None:
    done, running, failed = store.claim("host-1"), store.claim("host-2"), store.claim("host-3")
    assert done is not None and running is not None and failed is not None
    store.beat(done, 1, {"epoch": 8, "epochs": 8, "seconds_per_epoch": 30.0})
    store.complete(done, {0: 5.0, 1: 50.0}, diverged=False)
    progress = {
        "epoch": 3,
        "epochs": 8,
        "step": 5,
        "steps": 10,
        "loss": 1.25,
        "val_top1": 40.0,
        "seconds_per_epoch": 60,
    }
    store.beat(running, 1, progress | {"gpu_mb": 2048})
    store.give_up(failed, End.FAILED, "no such [layer]")
    assert main(["status", "--workspace", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    row = next(line.split() for line in printed.splitlines() if line.startswith(" cam/1"))
    assert row == ["cam/1", "3/8", "1.250", "40.0", "%", "0:05:30", "2.0", "GB", "1", "host-2"]
    assert "cam/2 failed: no such [layer]" in printed
    # 5.5 epochs of a minute, and 8 of 45 seconds on average, by one worker.
    assert "1 of 4 trials complete, 1 failed, 1 running, 1 waiting; about 0:11:30 left" in printed

    assert main(["status", "--workspace", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["trials"]
    assert [row["status"] for row in rows] == ["complete", "running", "failed", "waiting"]
    assert rows[1]["eta_seconds"] == 330 and rows[1]["gpu_mb"] == 2048
    assert rows[2]["message"] == "no such [layer]"


def test_status_of_a_fresh_study(store: TrialStore, tmp_path: Path, capsys: Output) -> None:
    assert main(["status", "--study", str(tmp_path / "studies" / "critters.journal")]) == 0
    assert capsys.readouterr().out == "0 of 4 trials complete, 4 waiting\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "--workspace", "{}/none"], "error: Expected a study at {}/none/studies/critters.journal but there"),
        (["status", "--study", "sqlite:///a.db"], "error: Expected --study to be a journal file or PostgreSQL but got"),
        (["worker"], "error: Expected --study FILE|URL, as 'wsol-bench sweep' prints it, but got none."),
        (["worker", "--study", "{}/empty.journal"], "error: Expected a study 'empty' at {}/empty.journal but there is"),
        (
            ["sweep", "--launcher", "moon", "--workers", "1"],
            "error: Expected launcher to be one of (local, ray, slurm)",
        ),
        (
            ["worker", "--study", "a.journal", "--only", "{}/ids.txt"],
            "error: {}/ids.txt: Expected a file with an id",
        ),
        (["sweep", "--workers", "0"], "error: Invalid value for '--workers': should be greater than or equal to 1."),
    ],
)
def test_wrong_use(
    arguments: list[str], message: str, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WSOL_BENCH_STUDY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main([part.replace("{}", str(tmp_path)) for part in arguments]) == 2
    assert capsys.readouterr().err.startswith(message.replace("{}", str(tmp_path)))


def test_looking_makes_no_journal(tmp_path: Path, capsys: Output) -> None:
    assert main(["status", "--workspace", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_worker_that_is_asked_to_stop_gives_its_trial_back(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "wsol_bench"]
    plugin = str(REPOSITORY / "tests" / "workflow" / "study_plugin.py")
    sweep = subprocess.Popen(
        [*command, "--plugin", plugin, "sweep", "-m", "study_quick", "--configs", "1", "--epochs", "500", "-d", SPEC,
         "--set", "pause=0.05", "--workspace", str(tmp_path), "--device", "cpu"],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        store = _running(tmp_path)
        sweep.send_signal(signal.SIGINT)
        _, said = sweep.communicate(timeout=60)
        assert sweep.returncode == 130
        assert "stopped; what is finished is kept, and the same command goes on from there." in said
        (cell,) = store.cells()
        assert (cell.state, cell.attempt.deaths) == (CellState.WAITING, 0)

        address = str(next((tmp_path / "studies").glob("*.journal")))
        worker = subprocess.Popen(
            [*command, "worker", "--device", "cpu"], env=environment | {"WSOL_BENCH_STUDY": address},
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        _running(tmp_path)
        worker.terminate()
        _, said = worker.communicate(timeout=60)
        assert worker.returncode == 130 and "Traceback" not in said
        (cell,) = store.cells()
        assert (cell.state, cell.attempt.deaths) == (CellState.WAITING, 0)
        assert next((tmp_path / "trials").glob("*/*/*/trial.log")).read_text().count("started on") == 2
    finally:
        sweep.kill()


def _running(workspace: Path) -> TrialStore:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        for journal in (workspace / "studies").glob("*.journal"):
            store = TrialStore.open(StudyAddress.parse(str(journal)))
            if any(cell.attempt.progress.get("epoch") for cell in store.cells() if cell.state == CellState.RUNNING):
                return store
        time.sleep(0.3)
    raise AssertionError("no trial was started")
