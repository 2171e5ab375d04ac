from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.atomic import whole_folder
from wsol_bench.errors import WsolBenchError


def _fill(folder: Path, text: str, *, overwrite: bool = False) -> None:
    with whole_folder(folder, overwrite=overwrite) as unfinished:
        (unfinished / "a.txt").write_text(text)


def test_appears_when_the_block_ends(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    with whole_folder(folder) as unfinished:
        (unfinished / "a.txt").write_text("1")
        assert not folder.exists()
    assert (folder / "a.txt").read_text() == "1"
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


def test_overwriting_replaces_everything(tmp_path: Path) -> None:
    _fill(tmp_path / "x", "1")
    (tmp_path / "x" / "old.txt").write_text("old")
    with pytest.raises(FileExistsError):
        _fill(tmp_path / "x", "2")
    _fill(tmp_path / "x", "2", overwrite=True)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_failure_leaves_the_old_state(tmp_path: Path, overwrite: bool) -> None:
    if overwrite:
        _fill(tmp_path / "x", "1")
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "x", overwrite=overwrite) as unfinished:
        (unfinished / "a.txt").write_text("2")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == (["x"] if overwrite else [])


def test_the_first_of_two_wins(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "x"):
        _fill(tmp_path / "x", "first")
    assert (tmp_path / "x" / "a.txt").read_text() == "first"


def test_losing_the_race_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def slow_rename(self: Path, target: Path) -> Path:
        monkeypatch.undo()
        _fill(tmp_path / "x", "first")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", slow_rename)
    with pytest.raises(FileExistsError, match="another process"):
        _fill(tmp_path / "x", "second")
    assert (tmp_path / "x" / "a.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_unwritable_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WsolBenchError, match="the system refused"):
        _fill(tmp_path / "file" / "x", "1")
