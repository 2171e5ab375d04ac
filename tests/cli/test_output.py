from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.table import Table

from wsol_bench.cli.output import PIPE_WIDTH, print_json, print_rows, print_unwrapped, working


def test_json_is_valid_whatever_comes(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"nan": math.nan, "rows": ({"a": np.float32(0.5), "b": np.inf},), "path": Path("x"), 3: {True}})
    assert json.loads(capsys.readouterr().out) == {
        "nan": None,
        "rows": [{"a": 0.5, "b": None}],
        "path": "x",
        "3": [True],
    }


def test_rows_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"name": "a[b]", "mean_area": 12.345, "n": 3, "ok": True, "parts": ["x", "y"], "none": None},
        {"name": "c" * 60, "mean_area": 1.0, "n": 12, "ok": False, "parts": [], "none": "d" * 60},
    ]
    print_rows(rows, as_json=False, broken={"p": "The plug-in 'p' is broken."})
    printed = capsys.readouterr()
    assert "mean area" in printed.out and "12.35" in printed.out and "a[b]" in printed.out and "x; y" in printed.out
    assert "yes" in printed.out and max(map(len, printed.out.splitlines())) <= PIPE_WIDTH
    assert printed.err == "warning: The plug-in 'p' is broken.\n"


def test_a_wide_table_is_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    wide = Table(*"abc")
    wide.add_row("x" * 70, "y" * 70, "z" * 70)
    print_unwrapped(wide)
    assert f"{'x' * 70} │ {'y' * 70} │ {'z' * 70}" in capsys.readouterr().out


def test_rows_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], as_json=True)
    assert json.loads(capsys.readouterr().out) == {"rows": []}
    print_rows([{"a": 1}], as_json=True, broken={"p": "why"})
    assert json.loads(capsys.readouterr().out) == {"rows": [{"a": 1}], "broken": {"p": "why"}}
    print_rows([], as_json=False)
    assert capsys.readouterr().out == ""


def test_libraries_cannot_spoil_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    with working():
        print("Downloading: 100%")
    assert capsys.readouterr() == ("", "Downloading: 100%\n")


def test_ctrl_c_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, working():
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert "the same command goes on from there" in capsys.readouterr().err
