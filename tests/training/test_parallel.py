from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import wsol_bench
from wsol_bench.errors import UsageError
from wsol_bench.records.run_record import read_record
from wsol_bench.training.parallel import ALONE, World, current_world, launched, local_gpu, main_first, refuse_several

HERE = Path(__file__).parent
SCRIPT = HERE / "several_processes.py"
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


def test_a_process_alone() -> None:
    assert current_world() is ALONE
    assert launched() == (0, 1)
    assert local_gpu() is None
    assert ALONE.from_main("x") == "x"
    assert ALONE.gather("x") == ["x"]
    assert ALONE.share(5) == (slice(0, 5), 1.0)
    values = torch.ones(3)
    assert ALONE.mean(values) is values
    with main_first():
        ALONE.wait()
    refuse_several("select")


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 32])
def test_shares_make_the_mean_over_the_batch(size: int, count: int) -> None:
    losses = np.random.default_rng(count).random(count)
    total, seen = 0.0, []
    for rank in range(size):
        part, factor = World(rank, size).share(count)
        assert len(losses[part]) > 0, "a process without an image would miss the exchange of gradients"
        total += factor * losses[part].mean()
        seen += list(losses[part]) if factor else []
    assert total / size == pytest.approx(losses.mean())
    assert seen == list(losses)


def test_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert launched() == (1, 4)
    assert local_gpu() == 1
    with pytest.raises(UsageError, match="one process for 'select' but torchrun started 4; fix: torchrun for 'sweep'"):
        refuse_several("select")
    # Schedulers set some of the variables by themselves.
    monkeypatch.delenv("MASTER_ADDR")
    assert launched() == (0, 1)


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The workspace of a process alone, that of two processes, and what the two print."""
    alone, together = (tmp_path_factory.mktemp(name) for name in ("alone", "together"))
    paths = os.pathsep.join([str(HERE), str(Path(wsol_bench.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(SCRIPT), str(alone)], env=environment, check=True, timeout=300)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(SCRIPT), str(together)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return alone, together, done.stdout


def _trials(workspace: Path, method: str) -> list[Path]:
    return sorted((workspace / "trials" / "critters" / method).iterdir())


def _history(trial: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (trial / "epochs.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["smooth", "on_colours"])
def test_two_processes_train_what_one_trains(workspaces: tuple[Path, Path, str], method: str) -> None:
    for alone, together in zip(*(_trials(workspace, method) for workspace in workspaces[:2]), strict=True):
        assert alone.name == together.name
        for one, other in zip(_history(alone), _history(together), strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                assert other[name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name
        files = [sorted(path.name for path in (trial / "records").iterdir()) for trial in (alone, together)]
        assert files[0] == files[1]
        for name in files[0]:
            one, other = (read_record(trial / "records" / name) for trial in (alone, together))
            assert one.ids == other.ids
            assert np.array_equal(one.labels, other.labels)
            assert_allclose(one.top5_scores, other.top5_scores, atol=1e-4)
            if one.maps is not None and other.maps is not None:
                assert_allclose(one.maps.astype(float), other.maps.astype(float), atol=5e-3)
            if name.endswith("-000.parquet"):
                assert (alone / "records" / name).read_bytes() == (together / "records" / name).read_bytes()
        weights = [
            torch.load(trial / "checkpoints" / "last.pt", weights_only=True)["method"] for trial in (alone, together)
        ]
        for name, value in weights[0].items():
            assert_allclose(weights[1][name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_provenance_counts_the_processes(workspaces: tuple[Path, Path, str]) -> None:
    for workspace, count in zip(workspaces[:2], (1, 2), strict=True):
        provenance = json.loads((_trials(workspace, "smooth")[0] / "provenance.json").read_text())
        assert provenance["processes"] == count


@pytest.mark.slow
def test_one_process_speaks(workspaces: tuple[Path, Path, str]) -> None:
    lines = workspaces[2].splitlines()
    assert [line for line in lines if line.startswith("smooth")] == ["smooth [0, 1, 2, 3, 4]"]
    (batched,) = [line for line in lines if line.startswith("batched")]
    assert "batch statistics are those of each process's share" in batched


@pytest.mark.slow
def test_frozen_parts_answer_once_for_all_processes(workspaces: tuple[Path, Path, str]) -> None:
    kept = [sorted(path.name for path in (workspace / "features").iterdir()) for workspace in workspaces[:2]]
    assert kept[0]
    assert kept[0] == kept[1]
