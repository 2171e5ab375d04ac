"""Workers are killed again and again; nothing is lost, doubled or changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from killing import sweep_while_killing
from study_case import journal

from wsol_bench.search.study_address import StudyAddress


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_journal(tmp_path: Path, seed: int) -> None:
    assert sweep_while_killing(journal(tmp_path), tmp_path / "trials", seed, every=1.0) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_postgresql(tmp_path: Path, postgresql: str, seed: int) -> None:
    address = StudyAddress.parse(f"{postgresql}#seed-{seed}")
    assert sweep_while_killing(address, tmp_path / "trials", seed, every=3.0) >= 2
