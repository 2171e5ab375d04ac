"""Help, argument errors and scoring come without the heavy packages; every case is a fresh interpreter."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import wsol_bench

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "open_clip",
    "cv2",
    "optuna",
    "matplotlib",
    "numba",
    "pyarrow",
    "pandas",
    "scipy",
    "pycocotools",
)
COMMANDS = (
    "",
    "select",
    "tables",
    "audit",
    "report",
    "sweep",
    "evaluate",
    "annotate",
    "annotate list",
    "annotate report",
    "annotate show",
    "annotate import",
    "annotate noise",
    "datasets",
    "datasets list",
    "datasets check",
    "datasets pack",
    "datasets prepare",
    "datasets show",
    "datasets stats",
    "datasets sheet",
    "methods",
    "methods list",
    "methods show",
    "methods cost",
    "check",
    "leaderboard",
    "leaderboard build",
)
NETWORKS = ("wsol_bench.annotators.clip", "wsol_bench.annotators.region_proposals")
"""Annotators that are networks themselves."""

REPORT = "import json, sys; print('\\n' + json.dumps(sorted(m for m in sys.modules if '.' not in m)))"


def _modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running ``code``."""
    environment = {**os.environ, "PYTHONPATH": str(Path(wsol_bench.__file__).parents[1])}
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, check=True, env=environment
    )
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_importing_the_package_is_light() -> None:
    assert not _modules_after("import wsol_bench") & {*HEAVY, "numpy", "typer", "pydantic"}


def test_no_help_loads_anything_heavy() -> None:
    lines = ["from wsol_bench.cli import main"]
    lines += [f"assert main({[*command.split(), '--help']}) == 0" for command in COMMANDS]
    assert not _modules_after("\n".join(lines)) & {*HEAVY, "numpy"}


def test_argument_errors_load_nothing_heavy() -> None:
    lines = [
        "from wsol_bench.cli import main",
        "assert main(['select', '--no-such-option']) == 2",
        "assert main(['sweep', '--configs', 'many']) == 2",
        "assert main(['evaluate']) == 2",
    ]
    assert not _modules_after("\n".join(lines)) & set(HEAVY)


def test_small_commands_need_no_deep_learning_package() -> None:
    code = "from wsol_bench.cli import main\nassert main(['datasets', 'list']) == main(['annotate', 'list']) == 0"
    assert not _modules_after(code) & {"torch", "torchvision", "timm", "optuna", "matplotlib"}


@pytest.mark.parametrize(
    "package", ["annotations", "annotators", "datasets", "judge", "leaderboard", "maps", "metrics", "records"]
)
def test_scoring_needs_no_deep_learning_package(package: str) -> None:
    folder = Path(wsol_bench.__file__).parent / package
    names = [found.name for found in pkgutil.walk_packages([str(folder)], f"wsol_bench.{package}.")]
    assert names
    names = [name for name in names if name not in NETWORKS]
    assert not _modules_after("\n".join(f"import {name}" for name in names)) & {
        "torch",
        "torchvision",
        "timm",
        "optuna",
    }


def test_the_search_plan_is_made_without_a_deep_learning_package() -> None:
    code = "import wsol_bench.search.plan, wsol_bench.report.plan_table, wsol_bench.protocol, wsol_bench.registry"
    assert not _modules_after(code) & {"torch", "torchvision", "timm", "optuna", "matplotlib"}
