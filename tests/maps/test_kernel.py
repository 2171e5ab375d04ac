from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import pytest

from wsol_bench.maps._kernel import kernel


def test_a_machine_without_a_cache_folder_compiles_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def refusing(**options: Any) -> Callable[..., Any]:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", refusing)
    assert kernel(lambda value: value + 1)(2) == 3
