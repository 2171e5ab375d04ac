"""A sweep on a Ray cluster of two nodes, of which one is killed half-way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from test_run_study import SPEC, plan, run, store_of

from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import UsageError
from wsol_bench.registry import LAUNCHERS, load_plugin_file
from wsol_bench.search.cells import CellState
from wsol_bench.search.launchers.base import WorkerCommand
from wsol_bench.search.study_address import StudyAddress

pytestmark = pytest.mark.slow
NODE = {"object_store_memory": 80 << 20}


@pytest.fixture
def dataset() -> Dataset:
    load_plugin_file(Path(__file__).with_name("study_plugin.py"))
    return open_dataset(SPEC)


def test_a_sweep_survives_the_loss_of_a_node(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    head = {"num_cpus": 1, "include_dashboard": False, **NODE}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    doomed = cluster.add_node(num_cpus=1, **NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    lost: list[Any] = []

    def kill_a_node_when_both_work() -> None:
        store = store_of(tmp_path)
        while not lost:
            running = [cell for cell in store.cells() if cell.state == CellState.RUNNING]
            if len(running) == 2 and all(cell.attempt.progress.get("epoch", 0) for cell in running):
                cluster.remove_node(doomed, allow_graceful=False)
                lost.append(running)
            time.sleep(0.2)

    killer = threading.Thread(target=kill_a_node_when_both_work, daemon=True)
    killer.start()
    try:
        trials = plan(dataset, 4, epochs=5, pause=0.8)
        statuses = run(dataset, trials, tmp_path, workers=2, launcher="ray", grace=4.0, retries=20)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert lost
    assert statuses == ["complete"] * 4
    assert max(cell.attempt.turn for cell in store_of(tmp_path).cells()) == 1


def test_no_cluster_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = WorkerCommand(StudyAddress.parse("a.journal"), [], tmp_path)
    with pytest.raises(UsageError, match=r"Expected a Ray cluster but.*ray start --head"):
        LAUNCHERS.get("ray")(command, {})
