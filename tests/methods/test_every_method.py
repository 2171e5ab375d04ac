"""Every registered method passes the public conformance suite, with its recipe for critters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from wsol_bench.registry import METHODS
from wsol_bench.testing import check_method

BUILT_IN = [name for name in METHODS if METHODS.origin(name).startswith("wsol_bench.methods.")]
CHEAPER: dict[str, dict[str, object]] = {
    "is_cam": {"backbone": "resnet_tiny", "channels": 4, "steps": 2},
    "score_cam": {"backbone": "resnet_tiny", "channels": 4},
    "ss_cam": {"backbone": "resnet_tiny", "channels": 4, "draws": 2},
}
"""Methods whose recipe would take minutes."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_methods_conform(name: str) -> None:
    check_method(name, CHEAPER.get(name))
