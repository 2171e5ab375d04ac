"""The example of a third party: a package of its own, found by its entry point, under 60 lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLE = REPOSITORY / "examples" / "edge_cam"


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The example as an installer leaves it: its module, and metadata that name its entry points."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copy(EXAMPLE / "edge_cam.py", tmp_path)
    info = tmp_path / f"wsol_edge_cam-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}


def _json(environment: dict[str, str], *arguments: str) -> Any:
    command = [sys.executable, "-m", "wsol_bench", *arguments, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(ran.stdout)


def test_the_entry_point_is_found_and_the_method_conforms(installed: dict[str, str], tmp_path: Path) -> None:
    rows = {row["name"]: row for row in _json(installed, "methods", "list")["rows"]}
    assert rows["edge_cam"]["title"] == "CAM with a hidden centre"
    checks = _json(installed, "check", "edge_cam")["methods"]["edge_cam"]
    assert {one["status"] for one in checks} == {"passed"}
    plan = _json(installed, "sweep", "--method", "edge_cam", "--configs", "2", "--dry-run", "-w", str(tmp_path / "w"))
    assert (
        plan["trials"][1]["config"]["hparams"]["hidden_side"] != plan["trials"][0]["config"]["hparams"]["hidden_side"]
    )


def test_it_is_short() -> None:
    assert sum(len(path.read_text().splitlines()) for path in EXAMPLE.glob("*.py")) < 60
