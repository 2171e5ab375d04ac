from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden" / "box_eval" / "box_cases.npz"


@pytest.fixture(scope="session")
def box_cases() -> Iterator[dict[str, dict[str, np.ndarray]]]:
    """Single maps with the reference evaluator's boxes, contour counts and best IoU, by case name."""
    if not GOLDEN.is_file():
        pytest.skip("the golden box cases lie outside the repository and are not here")
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(GOLDEN) as stored:
        for key in stored.files:
            name, array = key.split("/")
            cases.setdefault(name, {})[array] = stored[key]
    yield cases
