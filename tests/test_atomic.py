from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from wsol_bench.atomic import remove_unfinished, whole_file, write_json, write_text
from wsol_bench.errors import WsolBenchError


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent, "a rename must not cross file systems"
        assert not path.exists()
    assert path.read_text() == "new"
    assert _names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()], ids=["bug", "stopped"])
def test_a_failing_block_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), whole_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "write":
        monkeypatch.setattr(Path, "write_text", full)
    else:
        monkeypatch.setattr(os if step == "fsync" else Path, step, full)
    with pytest.raises(WsolBenchError, match=r"file\.txt but the system refused: No space left.*Fix: free disk space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file.txt"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WsolBenchError, match="choose a writable --workspace"):
        write_text(tmp_path / "file" / "x.txt", "1")


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with whole_file(path) as first:
        first.write_text("first")
        write_text(path, "second")
    assert path.read_text() == "first", "the last one to finish wins, whole"


def test_leftovers_of_killed_processes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write_text(tmp_path / "deep" / "kept.part", "a name that only looks like it")
    leftover = whole_file(tmp_path / "deep" / "file.txt")
    leftover.__enter__().write_text("half")
    assert len(_names(tmp_path / "deep")) == 2
    remove_unfinished(tmp_path)
    assert _names(tmp_path / "deep") == ["kept.part"]
    remove_unfinished(tmp_path / "nowhere")


def test_text_is_utf8_and_json_is_readable(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Müller\n")
    assert (tmp_path / "a.txt").read_bytes() == "Müller\n".encode()
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"b": 1, "a": [2]}
    assert text.startswith('{\n  "b": 1')
    assert text.endswith("}\n")
