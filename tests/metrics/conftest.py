from __future__ import annotations

from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden" / "box_eval"


@pytest.fixture(scope="session")
def golden() -> Path:
    if not GOLDEN.is_dir():
        pytest.skip("the golden data of the reference evaluator is not beside this checkout")
    return GOLDEN
