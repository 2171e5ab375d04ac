from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench import content
from wsol_bench.content import FOLDERS, content_folder
from wsol_bench.errors import WsolBenchError


@pytest.mark.parametrize("name", FOLDERS)
def test_every_content_folder_is_there(name: str) -> None:
    assert content_folder(name).name == name  # type: ignore[arg-type]
    assert any(content_folder(name).iterdir())  # type: ignore[arg-type]


def test_the_content_of_a_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "wsol_bench"
    (package / "_content" / "protocols").mkdir(parents=True)
    (package.parent / "protocols").mkdir()
    monkeypatch.setattr(content, "_PACKAGE", package)
    assert content_folder("protocols") == package / "_content" / "protocols"


def test_a_folder_that_is_absent_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_PACKAGE", tmp_path / "wsol_bench")
    with pytest.raises(WsolBenchError, match=r"'baselines' but it does not; fix: install"):
        content_folder("baselines")
    with pytest.raises(WsolBenchError, match="'tests'"):
        content_folder("tests")  # type: ignore[arg-type]
