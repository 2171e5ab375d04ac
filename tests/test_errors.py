from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from wsol_bench import errors
from wsol_bench.errors import (
    EXTRAS,
    DataError,
    MissingPackageError,
    UsageError,
    WsolBenchError,
    did_you_mean,
    missing_package,
    unknown_choice,
)


def test_all_errors_have_one_base() -> None:
    found = [item for item in vars(errors).values() if isinstance(item, type) and item.__module__ == errors.__name__]
    assert len(found) > 5 and all(issubclass(item, WsolBenchError) for item in found)


def test_data_errors_say_where() -> None:
    assert str(DataError("Bad.")) == "Bad."
    assert str(DataError("Bad.", Path("a.txt"))) == "a.txt: Bad."
    error = DataError("Bad.", Path("a.txt"), 3)
    assert (str(error), error.path, error.line) == ("a.txt:3: Bad.", Path("a.txt"), 3)


@pytest.mark.parametrize(
    ("name", "says"), [("CUB", " Did you mean 'cub'?"), ("ilsrvc", " Did you mean 'ilsvrc'?"), ("zebra", ""), ("", "")]
)
def test_suggestions_come_only_when_close(name: str, says: str) -> None:
    assert did_you_mean(name, ["cub", "ilsvrc"]) == says


def test_unknown_choices_list_what_is_known() -> None:
    error = unknown_choice("--dataset", "CUB2", ["ilsvrc", "cub"], hint="'list' shows all.")
    assert isinstance(error, UsageError)
    assert str(error) == (
        "Expected --dataset to be one of (cub, ilsvrc) but got 'CUB2'. Did you mean 'cub'? 'list' shows all."
    )
    assert str(unknown_choice("--x", "a", [])) == (
        "Expected --x to be left out, as there is none to choose from, but got 'a'."
    )


def test_a_missing_optional_package_names_its_extra() -> None:
    error = missing_package(ModuleNotFoundError("No module named 'torch'", name="torch.nn"))
    assert isinstance(error, MissingPackageError)
    assert "'torch'" in str(error) and "pip install 'wsol-bench[train]'" in str(error)
    assert missing_package(ModuleNotFoundError("No module named 'x'", name="x")) is None
    assert missing_package(ImportError("cannot import name")) is None


def test_extras_are_those_of_the_distribution() -> None:
    imported = {"open_clip_torch": "open_clip"}
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {
        imported.get(package, package): extra
        for extra, requirements in project["optional-dependencies"].items()
        if extra not in ("all", "dev")
        for package in (re.split(r"[\[>]", requirement)[0] for requirement in requirements)
        if package != "wsol-bench"
    }
    assert declared == EXTRAS
