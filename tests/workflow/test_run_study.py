"""Sweeps through a study: in this process, with workers, and with workers that are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, UsageError, WorkspaceError
from wsol_bench.registry import load_plugin_file
from wsol_bench.search.cells import CellState
from wsol_bench.search.launchers.local import LocalLauncher
from wsol_bench.search.plan import PlannedTrial, PlanRequest, enumerate_trials
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.search.worker import Worker
from wsol_bench.training.trial_folder import TrialFolder
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.run_study import StudyRequest, TrialsFailedError, run_study
from wsol_bench.workflow.study import TrialRunner, study_address
from wsol_bench.workflow.sweep import plan_status
from wsol_bench.workflow.sweep_cost import cost_lines, sweep_cost
from wsol_bench.workflow.workspace import Workspace

SPEC = "critters:size=64,train=32,val=8,test=8"
PLUGIN = Path(__file__).with_name("study_plugin.py")
SCREEN = Screen(quiet=True)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    torch.set_num_threads(1)
    load_plugin_file(PLUGIN)
    return open_dataset(SPEC)


def plan(dataset: Dataset, configs: int = 3, epochs: int = 2, **overrides: Any) -> list[PlannedTrial]:
    request = PlanRequest(("study_quick",), configs=configs, epochs=epochs, overrides=overrides)
    return enumerate_trials(request, SPEC, dataset.version)


def run(dataset: Dataset, trials: list[PlannedTrial], root: Path, **request: Any) -> list[str]:
    wanted = StudyRequest(SPEC, device="cpu", **request)
    return [one.status for one in run_study(dataset, trials, Workspace(root), wanted, screen=SCREEN)]


def store_of(root: Path) -> TrialStore:
    return TrialStore.open(study_address(None, Workspace(root), SPEC))


def records(root: Path, trials: list[PlannedTrial]) -> dict[str, bytes]:
    found = {}
    for trial in trials:
        folder = TrialFolder.of(root, trial.config)
        for path in [folder.path / "epochs.jsonl", folder.best_cls, *sorted((folder.path / "records").iterdir())]:
            found[f"{trial.config.trial_id}/{path.name}"] = path.read_bytes()
    return found


def test_a_plan_is_run_and_extended(dataset: Dataset, tmp_path: Path) -> None:
    assert run(dataset, plan(dataset, 2), tmp_path) == ["complete"] * 2
    before = records(tmp_path, plan(dataset, 2))
    assert run(dataset, plan(dataset, 3), tmp_path) == ["complete"] * 3
    assert records(tmp_path, plan(dataset, 2)) == before
    cells = store_of(tmp_path).cells()
    assert [cell.trial for cell in cells] == plan(dataset, 3)
    assert [cell.state for cell in cells] == [CellState.COMPLETE] * 3
    log = TrialFolder.of(tmp_path, cells[0].trial.config).log.read_text()
    assert "attempt 1" in log and "epoch 2: loss" in log and log.endswith("complete\n")


def test_trials_outside_of_the_plan_are_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    run(dataset, plan(dataset, 1), tmp_path)
    store = store_of(tmp_path)
    store.register(plan(dataset, 3), store.setting(), [plan(dataset, 1)[0].config.trial_id])
    run(dataset, plan(dataset, 2), tmp_path)
    assert [cell.state.value for cell in store.cells()] == ["complete", "complete", "waiting"]


def test_a_deleted_trial_is_run_again(dataset: Dataset, tmp_path: Path) -> None:
    trials = plan(dataset, 2)
    run(dataset, trials, tmp_path)
    before = records(tmp_path, trials)
    folder = TrialFolder.of(tmp_path, trials[1].config).path
    folder.rename(tmp_path / "aside")
    assert run(dataset, trials, tmp_path) == ["complete"] * 2
    assert records(tmp_path, trials) == before


def test_a_deleted_journal_costs_nothing(dataset: Dataset, tmp_path: Path) -> None:
    trials = plan(dataset, 2)
    run(dataset, trials, tmp_path)
    Path(store_of(tmp_path).address.place).unlink()
    checkpoint = TrialFolder.of(tmp_path, trials[0].config).checkpoint
    before = checkpoint.stat().st_mtime_ns
    assert run(dataset, trials, tmp_path) == ["complete"] * 2
    assert checkpoint.stat().st_mtime_ns == before


def test_a_diverged_trial_is_an_outcome(dataset: Dataset, tmp_path: Path) -> None:
    assert run(dataset, plan(dataset, 1, epochs=3, lr=1e30), tmp_path) == ["diverged"]
    assert [cell.state for cell in store_of(tmp_path).cells()] == [CellState.DIVERGED]


def test_failures_are_named_after_everything_else_is_done(dataset: Dataset, tmp_path: Path) -> None:
    bad = plan(dataset, 1, dropout=1.5)
    trials = [*bad, *plan(dataset, 2)]
    with pytest.raises(TrialsFailedError, match=r"1 of 3 trials failed; the others are complete\. study_q.*: Value"):
        run(dataset, trials, tmp_path)
    states = {cell.trial.config.trial_id: cell.state.value for cell in store_of(tmp_path).cells()}
    assert sorted(states.values()) == ["complete", "complete", "failed"]
    assert "Traceback" in TrialFolder.of(tmp_path, bad[0].config).log.read_text()
    with pytest.raises(TrialsFailedError):
        run(dataset, trials, tmp_path)
    assert TrialFolder.of(tmp_path, bad[0].config).log.read_text().count("Traceback") == 2


def test_a_workspace_that_cannot_be_written_fails_no_trial(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = plan(dataset, 2)

    def full(path: Path, *_: Any) -> None:
        raise WorkspaceError(f"Expected to write {path} but the system refused: No space left on device.")

    with monkeypatch.context() as patch:
        patch.setattr("wsol_bench.training.loop.write_record", full)
        with pytest.raises(WorkspaceError, match="No space left"):
            run(dataset, trials, tmp_path)
    assert [cell.state.value for cell in store_of(tmp_path).cells()] == ["waiting"] * 2
    assert run(dataset, trials, tmp_path) == ["complete"] * 2


def test_another_version_of_the_dataset_is_refused_before_a_trial_is_taken(dataset: Dataset, tmp_path: Path) -> None:
    run(dataset, plan(dataset, 1), tmp_path)
    store = store_of(tmp_path)
    old = store.setting().model_copy(update={"dataset_version": "0"})
    with pytest.raises(DataError, match="Expected version 0 of the dataset"):
        TrialRunner(old, Workspace(tmp_path), "cpu").prepare()


def test_workers_elsewhere_need_nothing_but_the_study(dataset: Dataset, tmp_path: Path) -> None:
    store = store_of(tmp_path)
    wanted = StudyRequest(SPEC, device="cpu")
    stopped = StudyRequest(SPEC, device="nowhere")
    with pytest.raises(UsageError, match="--device"):
        run_study(dataset, plan(dataset, 2), Workspace(tmp_path), stopped, screen=SCREEN)
    setting = store.setting()
    # Other tests of the same process may have loaded theirs.
    assert setting.workspace == str(tmp_path) and str(PLUGIN) in setting.plugins
    runner = TrialRunner(setting, Workspace(Path(setting.workspace)), "cpu")
    runner.prepare()
    assert Worker(store, runner).work() == 2
    assert [one.status for one in run_study(dataset, plan(dataset, 2), Workspace(tmp_path), wanted, screen=SCREEN)] == [
        "complete",
        "complete",
    ]


def test_the_cost_of_what_is_left(dataset: Dataset, tmp_path: Path) -> None:
    trials = plan(dataset, 4)
    (row,) = sweep_cost(dataset, plan_status(trials, Workspace(tmp_path)))
    macs = 8 * 8 * 8 * 8 * 8 * 3 + 8 * 8 * 8 * dataset.num_classes
    images = 4 * 2 * (3 * 32 + 16) + 4 * 16
    assert row["pmacs"] == pytest.approx(macs * images / 1e15, rel=0.1)
    assert (row["trials"], row["epochs"], row["hours"]) == (4, 8, None)
    assert "hours unknown until a trial has run here" in cost_lines([row])[0]
    run(dataset, trials[:1], tmp_path)
    (row,) = sweep_cost(dataset, plan_status(trials, Workspace(tmp_path)))
    assert (row["trials"], row["epochs"]) == (3, 6)
    assert row["hours"] == pytest.approx(6 * row["seconds_per_epoch"] / 3600)
    run(dataset, trials, tmp_path)
    rows = sweep_cost(dataset, plan_status(trials, Workspace(tmp_path)))
    assert cost_lines(rows) == ["study_quick: nothing left to do."]


@pytest.mark.slow
def test_workers_that_are_killed_leave_the_same_records(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = plan(dataset, 24, epochs=4, pause=0.05)
    run(dataset, trials, tmp_path / "undisturbed")
    abandoned = plan(dataset, 2, epochs=3)
    unstarted = StudyRequest(SPEC, device="nowhere")
    with pytest.raises(UsageError):
        run_study(dataset, abandoned, Workspace(tmp_path / "killed"), unstarted, screen=SCREEN)
    launchers: list[LocalLauncher] = []
    started = LocalLauncher.start

    def start(self: LocalLauncher, count: int) -> None:
        launchers.append(self)
        started(self, count)

    monkeypatch.setattr(LocalLauncher, "start", start)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rng, over, kills = random.Random(0), threading.Event(), []

    def kill() -> None:
        while not over.wait(rng.uniform(3, 8)):
            pids = launchers[0].pids() if launchers else []
            if pids:
                kills.append(rng.choice(pids))
                os.kill(kills[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        statuses = run(dataset, trials, tmp_path / "killed", workers=4, retries=1000, grace=3.0)
    finally:
        over.set()
        killer.join()
    assert statuses == ["complete"] * 24
    assert len(kills) >= 2
    assert records(tmp_path / "killed", trials) == records(tmp_path / "undisturbed", trials)
    assert launchers[0].alive() == 0
    left_alone = store_of(tmp_path / "killed").cells({trial.config.trial_id for trial in abandoned})
    assert [cell.state for cell in left_alone] == [CellState.WAITING] * 2


@pytest.mark.slow
def test_workers_that_cannot_begin_are_not_started_for_ever(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(WorkspaceError, match=r"3 ended before they did: Expected --device to name a device"):
        run_study(
            dataset,
            plan(dataset, 2),
            Workspace(tmp_path),
            StudyRequest(SPEC, device="cuda:99", workers=1),
            screen=SCREEN,
        )
    assert [cell.state.value for cell in store_of(tmp_path).cells()] == ["waiting"] * 2


@pytest.mark.slow
def test_nobody_is_left_behind_when_the_launcher_is_killed(dataset: Dataset, tmp_path: Path) -> None:
    trials = plan(dataset, 1, epochs=200, pause=0.5)
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "import test_run_study as t; from wsol_bench.registry import load_plugin_file\n"
        "load_plugin_file(t.PLUGIN); d = t.open_dataset(t.SPEC)\n"
        "t.run(d, t.plan(d, 1, epochs=200, pause=0.5), Path(sys.argv[2]), workers=1, grace=3.0)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)])
    try:
        store = _when_running(tmp_path)
        (cell,) = store.cells()
        launcher.kill()
        launcher.wait()
        until = time.monotonic() + 30
        while store.cells()[0].state == CellState.RUNNING and time.monotonic() < until:
            time.sleep(0.2)
        assert store.cells()[0].state == CellState.WAITING
        assert store.cells()[0].trial == trials[0] == cell.trial
    finally:
        launcher.kill()


def _when_running(root: Path) -> TrialStore:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        store = store_of(root)
        if any(cell.state == CellState.RUNNING for cell in store.cells()):
            return store
        time.sleep(0.3)
    raise AssertionError("no trial was started")


def test_addresses_by_default(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert study_address(None, workspace, "critters:96").place == str(tmp_path / "studies" / "critters-96.journal")
    assert study_address("postgresql://h/d", workspace, "critters:96").name == "critters-96"
    assert study_address("x.journal", workspace, "critters") == StudyAddress("x.journal", "x")
