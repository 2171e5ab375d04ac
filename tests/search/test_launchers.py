from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from wsol_bench.errors import UsageError
from wsol_bench.registry import LAUNCHERS
from wsol_bench.search.launchers.base import PARENT_VARIABLE, STUDY_VARIABLE, Launcher, WorkerCommand, run_to_its_end
from wsol_bench.search.launchers.local import LocalLauncher
from wsol_bench.search.study_address import StudyAddress

SECRET = StudyAddress.parse("postgresql://me:s3cret@host/db#cub")


@dataclass(frozen=True)
class Script(WorkerCommand):
    """A Python script in place of a worker."""

    code: str = ""

    def line(self, name: str) -> list[str]:
        return [sys.executable, "-c", self.code, name]


def script(tmp_path: Path, code: str) -> Script:
    return Script(SECRET, [], tmp_path / "logs", code)


def when(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_command_of_a_worker_shows_no_password(tmp_path: Path) -> None:
    command = WorkerCommand(SECRET, ["--device", "cpu"], tmp_path)
    assert command.line("w0") == [sys.executable, "-m", "wsol_bench", "worker", "--name", "w0", "--device", "cpu"]
    assert command.log("w0") == tmp_path / "w0.log"
    assert "s3cret" not in " ".join(command.line("w0"))


def test_local_workers_know_the_study_and_share_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    names = f"{STUDY_VARIABLE} {PARENT_VARIABLE} CUDA_VISIBLE_DEVICES OMP_NUM_THREADS"
    code = f"import os; print(*(os.environ.get(name) for name in '{names}'.split()))"
    launcher = LocalLauncher(script(tmp_path, code), {"threads": "3"})
    launcher.start(3)
    when(lambda: launcher.alive() == 0)
    assert launcher.dead() == {}
    printed = sorted(path.read_text().split() for path in (tmp_path / "logs").iterdir())
    assert [line[:2] for line in printed] == [[SECRET.secret, str(os.getpid())]] * 3
    assert sorted(line[2] for line in printed) == ["4", "4", "6"]
    assert {line[3] for line in printed} == {"3"}


def test_cores_are_shared_unless_the_user_has_said_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("wsol_bench.search.launchers.local._cores", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    launcher = LocalLauncher(script(tmp_path, ""), {})
    launcher.start(4)
    assert launcher._environment(0)["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert launcher._environment(0)["OMP_NUM_THREADS"] == "5"
    launcher.stop()


def test_ends_are_told_apart_and_told_once(tmp_path: Path) -> None:
    code = "import sys, time; time.sleep(60 if sys.argv[1].startswith('w0') else 0); sys.exit(2)"
    launcher = LocalLauncher(script(tmp_path, code), {})
    launcher.start(2)
    when(lambda: launcher.alive() == 1)
    (failed,) = launcher.dead().items()
    assert failed[0].startswith("w1-") and failed[1] is True
    os.kill(launcher.pids()[0], 9)
    when(lambda: launcher.alive() == 0)
    (killed,) = launcher.dead().items()
    assert killed[0].startswith("w0-") and killed[1] is False
    assert launcher.dead() == {}
    launcher.start(1)
    assert launcher.alive() == 1
    launcher.stop()


def test_workers_are_asked_to_stop_and_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsol_bench.search.launchers.local.STOP_SECONDS", 1.0)
    code = (
        "import signal, sys, time\n"
        "polite = sys.argv[1].startswith('w0')\n"
        "signal.signal(signal.SIGTERM, (lambda *_: sys.exit(0)) if polite else signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    launcher = LocalLauncher(script(tmp_path, code), {})
    launcher.start(2)
    when(lambda: all("ready" in path.read_text() for path in (tmp_path / "logs").iterdir()))
    launcher.stop()
    assert launcher.alive() == 0


@pytest.mark.parametrize("name", ["local", "slurm"])
def test_unknown_options_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"Expected --launch-option to be one of .* but got 'gpu'"):
        LAUNCHERS.get(name)(script(tmp_path, ""), {"gpu": "1"})


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_numbers_are_checked(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match=f"threads to be a whole number of at least 1 but got '{value}'"):
        LocalLauncher(script(tmp_path, ""), {"threads": value})


def test_no_cluster_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"Expected a Slurm cluster.*--launcher local"):
        LAUNCHERS.get("slurm")(script(tmp_path, ""), {"partition": "gpu"})


@pytest.mark.slow
def test_jobs_through_submitit_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    code = f"import os, sys; print(os.environ['{STUDY_VARIABLE}']); sys.exit(sys.argv[1].startswith('w1'))"
    launcher: Launcher = LAUNCHERS.get("slurm")(script(tmp_path, code), {"cluster": "local", "time": "5"})
    launcher.start(2)
    when(lambda: launcher.alive() == 0)
    (failed,) = launcher.dead().items()
    assert failed[0].startswith("w1-")
    printed = [path.read_text() for path in (tmp_path / "logs").glob("*.log")]
    assert printed == [f"{SECRET.secret}\n"] * 2
    launcher.stop()


def test_a_process_in_a_job_ends_as_the_job_does(tmp_path: Path) -> None:
    import subprocess

    line = [sys.executable, "-c", "import os; print(os.environ['X'], os.environ['WSOL_BENCH_PARENT'])"]
    run_to_its_end(line, str(tmp_path / "a" / "b.log"), {"X": "1"})
    assert (tmp_path / "a" / "b.log").read_text() == f"1 {os.getpid()}\n"
    with pytest.raises(subprocess.CalledProcessError):
        run_to_its_end([sys.executable, "-c", "raise SystemExit(3)"], str(tmp_path / "c.log"))
