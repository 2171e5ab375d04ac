"""A real ``kill -9`` of a real process, twice, against a run that nobody disturbed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trial import artefacts, make_config

from wsol_bench.registry import Registry
from wsol_bench.training.loop import TrialData, run_trial
from wsol_bench.training.trial_folder import TrialFolder

SCRIPT = Path(__file__).with_name("killed_trial.py")


def _run_until_killed(workspace: Path, moment: str) -> list[str]:
    """Kills the process when it says that it waits; returns what it printed before."""
    lines = []
    with subprocess.Popen([sys.executable, SCRIPT, workspace, moment], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "waiting":
                process.kill()
            else:
                lines.append(line.strip())
    assert process.returncode == -9
    return lines


@pytest.mark.slow
def test_killed_twice_equals_undisturbed(tmp_path: Path, data: TrialData, methods: Registry[Any]) -> None:
    config = make_config()
    folder = TrialFolder.of(tmp_path / "killed", config)

    assert _run_until_killed(tmp_path / "killed", "step") == ["epoch 0"]
    assert folder.status(config) == "partial"
    first = folder.record("val", 0).stat().st_mtime_ns

    assert _run_until_killed(tmp_path / "killed", "save") == ["epoch 1"], "epoch 0 is not repeated"
    assert [line["epoch"] for line in folder.history()] == [0, 1]
    assert folder.record("test", 2).is_file(), "killed after the records of epoch 2 and before its checkpoint"
    assert list(folder.path.rglob("*.part"))

    last = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "killed"], check=True, capture_output=True, text=True
    ).stdout.split("\n")
    assert last == ["epoch 2", "complete", ""]
    assert folder.record("val", 0).stat().st_mtime_ns == first
    assert not list(folder.path.rglob("*.part"))

    run_trial(config, data, tmp_path / "undisturbed", device=torch.device("cpu"))
    assert artefacts(folder.path) == artefacts(TrialFolder.of(tmp_path / "undisturbed", config).path)
