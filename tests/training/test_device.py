from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from wsol_bench.errors import UsageError
from wsol_bench.training.device import make_deterministic, pick_device


@pytest.fixture
def restored_flags() -> Iterator[None]:
    was, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(was)
    torch.backends.cudnn.benchmark = benchmark


def test_auto_takes_what_is_there() -> None:
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cpu:x", ""])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(UsageError, match=rf"--device to name a device of this machine but got '{name}' .*--device cpu"):
        pick_device(name)


def test_deterministic(restored_flags: None) -> None:
    make_deterministic()
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that must not be there")
def test_one_of_several_processes_asks_for_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="'cuda:1'"):
        pick_device("cuda")
    with pytest.raises(UsageError, match="'cuda:3'"):
        pick_device("cuda:3")
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
