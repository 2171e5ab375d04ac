from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from study_case import opened, planned, setting

from wsol_bench.errors import WorkspaceError
from wsol_bench.search.journal import Journal, open_journal


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def test_a_line_that_a_dead_writer_left_half_written_is_cut_off(tmp_path: Path) -> None:
    opened(tmp_path).register(planned(2), setting(tmp_path))
    path = tmp_path / "study.journal"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker_id":"x","study')
    store = opened(tmp_path)
    assert len(store.cells()) == 2
    assert store.claim("a") is not None
    assert path.read_bytes().startswith(whole)
    assert len(opened(tmp_path).cells()) == 2


def test_a_file_of_one_half_line_is_cut_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    path.write_bytes(b'{"op_code":0' + b" " * 200_000)
    opened(tmp_path).register(planned(1), setting(tmp_path))
    assert len(opened(tmp_path).cells()) == 1


def test_a_full_disk_is_an_error_and_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.register(planned(2), setting(tmp_path))
    path = tmp_path / "study.journal"
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("wsol_bench.search.journal.os.fsync", full)
        with pytest.raises(WorkspaceError, match="No space left on device"):
            store.claim("a")
    assert path.read_bytes() == before
    assert opened(tmp_path).claim("a") is not None


def test_a_writer_that_is_killed_inside_the_lock_holds_nobody_up(tmp_path: Path) -> None:
    opened(tmp_path).register(planned(1), setting(tmp_path))
    path = tmp_path / "study.journal"
    code = (
        "import os, sys, pathlib\n"
        "from wsol_bench.search import journal\n"
        "def dies(descriptor): os.kill(os.getpid(), 9)\n"
        "journal.os.fsync = dies\n"
        "journal.Journal(pathlib.Path(sys.argv[1])).append_logs([{'op_code': 99}])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    assert ended.returncode == -9
    # The line of the dead writer is whole, as its data had been handed over; cut it as a power failure would.
    path.write_bytes(path.read_bytes()[:-5])
    store = opened(tmp_path)
    assert store.claim("a") is not None


@pytest.mark.parametrize("content", [b"not json\n{}\n", b'{"op_code":0}\n', b"\xff\xfe\n\n"])
def test_another_file_is_not_taken_for_a_journal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"other\.txt to be the journal of a study"):
        open_journal(path)
    assert path.read_bytes() == content


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WorkspaceError, match="Permission denied"):
        open_journal(tmp_path / "study.journal")


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "studies").write_text("")
    with pytest.raises(WorkspaceError, match="the system refused"):
        open_journal(tmp_path / "studies" / "study.journal")


def test_many_lines_at_once(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    Journal(path).append_logs([{"op_code": 0, "n": n} for n in range(5)])
    assert lines(path) == 5


def test_optuna_reads_the_file_without_this_program(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.register(planned(2), setting(tmp_path))
    attempt = store.claim("a")
    assert attempt is not None and store.complete(attempt, {0: 5.0, 1: 40.0}, diverged=False)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    shown = optuna.load_study(study_name="study/cam", storage=storage)
    assert shown.best_value == 40.0
    assert [trial.state.name for trial in shown.trials] == ["COMPLETE", "WAITING"]
