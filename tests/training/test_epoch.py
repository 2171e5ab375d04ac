from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_trial import Quick
from torch import Tensor

from wsol_bench.errors import PluginError
from wsol_bench.methods.base import Batch
from wsol_bench.training.epoch import loss_of, train_epoch
from wsol_bench.training.parallel import World

CPU = torch.device("cpu")


def _quick(dropout: float = 0.0) -> Quick:
    torch.manual_seed(0)
    quick = Quick()
    quick.build(3, ["a", "b", "c"], Quick.HParams(dropout=dropout), 16)
    return quick.train()


def _batches(count: int, size: int = 4) -> list[Batch]:
    draw = torch.Generator().manual_seed(1)
    return [
        Batch(torch.randn(size, 3, 16, 16, generator=draw), torch.randint(3, (size,), generator=draw), 1)
        for _ in range(count)
    ]


def test_an_epoch_is_a_step_per_batch() -> None:
    told: list[tuple[int, float]] = []
    method = _quick()
    optimizer = torch.optim.SGD(method.parameters(), 0.1)
    batches = _batches(5)
    mean = train_epoch(
        loss_of(method),
        optimizer,
        batches,
        [4] * 5,
        device=CPU,
        read_every=2,
        on_step=lambda *told_: told.append(told_),
    )
    other = _quick()
    optimizer = torch.optim.SGD(other.parameters(), 0.1)
    losses = []
    for batch in batches:
        loss = sum(other.training_step(batch).values())
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert mean == pytest.approx(sum(losses) / 5)
    assert [step for step, _ in told] == [2, 4, 5]
    assert [loss for _, loss in told] == pytest.approx([losses[1], losses[3], losses[4]])
    assert all(torch.equal(one, two) for one, two in zip(method.parameters(), other.parameters(), strict=True))


def test_it_ends_where_the_loss_does() -> None:
    method = _quick()
    steps: list[int] = []
    optimizer = torch.optim.SGD(method.parameters(), 1e30)
    loss = train_epoch(
        loss_of(method), optimizer, _batches(9), [4] * 9, device=CPU, on_step=lambda step, _: steps.append(step)
    )
    assert not math.isfinite(loss)
    assert len(steps) < 8


def test_a_share_counts_as_much_as_it_is() -> None:
    """The second of two processes has 2 of 3 images: 4/3 of the mean over processes is 2/3 of the batch."""
    method = _quick()
    losses: list[float] = []
    weights = method.head.linear.weight.detach().clone()
    optimizer = torch.optim.SGD(method.parameters(), 0.1)
    alone = _quick()
    expected = loss_of(alone)(_batches(1, 2)[0])
    expected.backward()

    class Second(World):
        def mean(self, values: Tensor) -> Tensor:
            losses.extend(values.tolist())
            return values

    world = Second(1, 2)
    assert world.share(3) == (slice(1, 3), pytest.approx(4 / 3))
    train_epoch(loss_of(method), optimizer, _batches(1, 2), [3], device=CPU, world=world)
    assert losses == pytest.approx([float(expected.detach()) * 4 / 3])
    moved = weights - method.head.linear.weight
    assert alone.head.linear.weight.grad is not None
    assert torch.allclose(moved, 0.1 * 4 / 3 * alone.head.linear.weight.grad, atol=1e-7)


def test_a_broken_contract_is_named() -> None:
    class Broken(Quick):
        def training_step(self, batch: Batch) -> dict[str, Tensor]:
            return {}

    broken = Broken()
    broken.build(3, ["a", "b", "c"], Quick.HParams(), 16)
    with pytest.raises(PluginError, match="training_step of the method Broken"):
        loss_of(broken)(_batches(1)[0])


def test_without_a_compiler_it_trains_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler\nand more lines")

    monkeypatch.setattr(torch, "compile", fails)
    notes: list[str] = []
    method = _quick()
    loss = loss_of(method, compiled=True, say=notes.append)(_batches(1)[0])
    assert notes == ["not compiled: torch.compile does not work here (no C++ compiler)"]
    assert torch.equal(loss, loss_of(_quick())(_batches(1)[0]))


@pytest.mark.slow
def test_compiled_steps_only_round_differently() -> None:
    notes: list[str] = []
    losses = []
    for compiled in (False, True):
        method = _quick()
        optimizer = torch.optim.SGD(method.parameters(), 0.1)
        step = loss_of(method, compiled=compiled, say=notes.append)
        losses.append(train_epoch(step, optimizer, _batches(4), [4] * 4, device=CPU))
    if notes:
        pytest.skip(notes[0])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
