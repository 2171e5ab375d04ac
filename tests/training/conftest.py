from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_trial import Quick

from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.datasets.packed import pack
from wsol_bench.registry import METHODS, Registry
from wsol_bench.training.batches import training_side
from wsol_bench.training.loop import TrialData


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tests run side by side; threads of one would wait for those of another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    """The registry of methods with ``quick`` in it; what a test adds is gone afterwards."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    METHODS.register("quick")(Quick)
    return METHODS


@pytest.fixture(scope="session")
def critters() -> Critters:
    return Critters(size=64, train=32, val=16, test=16)


@pytest.fixture(scope="session")
def data(critters: Critters) -> TrialData:
    return TrialData(
        train=pack(critters, "train", training_side(critters.frame)),
        val=pack(critters, "val", critters.frame),
        test=pack(critters, "test", critters.frame),
        class_names=critters.class_names,
    )
