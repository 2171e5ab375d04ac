"""The steps of one epoch: forward, backward, optimiser; the same for one process and for several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wsol_bench.methods.base import Batch, Method
from wsol_bench.models.frozen import frozen_functions
from wsol_bench.training.config import Precision
from wsol_bench.training.contract import total_loss
from wsol_bench.training.parallel import ALONE, World
from wsol_bench.training.precision import autocast

LossOf = Callable[[Batch], Tensor]
"""Maps a batch to the sum of its losses."""


def loss_of(
    method: Method, world: World = ALONE, *, compiled: bool = False, say: Callable[[str], None] = lambda _: None
) -> LossOf:
    """Returns what a step minimises, with gradients averaged over processes.

    Args:
        method: in the stage in progress; what is trainable must not change afterwards.
        world: who trains together.
        compiled: let torch.compile make faster kernels of ``training_step``; results differ by rounding.
        say: told when there is no compiler, and what is lost without synchronised batch statistics.
    """
    device = next(method.parameters()).device
    training_step = _compiled(method, device, say) if compiled else method.training_step
    summed = _SummedLosses(method, training_step)
    if world.size == 1:
        return summed
    if device.type != "cuda" and any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in method.modules()):
        say("batch statistics are those of each process's share: torch synchronises them on GPUs only")
    # No device_ids: a batch is on the device already, and is no type that torch knows how to move.
    return DistributedDataParallel(summed, find_unused_parameters=True)


def train_epoch(
    loss_of: LossOf,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    sizes: Sequence[int],
    *,
    device: torch.device,
    precision: Precision = "fp32",
    world: World = ALONE,
    read_every: int = 1,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> float:
    """Takes one step per batch and returns the mean loss, or what is not finite as soon as it is seen.

    Args:
        loss_of: from :func:`loss_of`.
        optimizer: of what is trainable.
        batches: this process's share of every batch.
        sizes: images in every batch, all processes together.
        device: where it happens.
        precision: of the networks.
        world: who trains together.
        read_every: steps between two readings of the loss, each of which waits for the device.
        on_step: told number and loss of a batch whenever the loss is read.
    """
    pending: list[Tensor] = []
    total = 0.0
    for step, (size, batch) in enumerate(zip(sizes, batches, strict=True), start=1):
        with autocast(precision, device):
            loss = loss_of(batch)
        factor = world.share(size)[1]
        loss = loss if factor == 1 else loss * factor
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        pending.append(loss.detach())
        if step % read_every and step != len(sizes):
            continue
        values: list[float] = world.mean(torch.stack(pending)).tolist()
        pending.clear()
        total += sum(values)
        if not math.isfinite(total):
            return total
        on_step(step, values[-1])
    return total / len(sizes)


class _SummedLosses(nn.Module):
    """The training step of a method as the forward pass of a module, which is what can be distributed."""

    def __init__(self, method: Method, training_step: Callable[[Batch], dict[str, Tensor]]) -> None:
        super().__init__()
        self.method = method
        self._training_step = training_step

    def forward(self, batch: Batch) -> Tensor:
        return total_loss(self.method, self._training_step(batch))


def _compiled(method: Method, device: torch.device, say: Callable[[str], None]) -> Callable[[Batch], dict[str, Tensor]]:
    try:
        # What is missing shows at the first call only, which must not be one in the middle of a step.
        torch.compile(lambda x: (x * 2 + 1).sum())(torch.ones(8, device=device))
    # Whatever the compiler, its driver or the C++ compiler raise, training goes on without.
    except Exception as error:  # noqa: BLE001
        say(f"not compiled: torch.compile does not work here ({str(error).strip().splitlines()[0][:200]})")
        return method.training_step
    for part in frozen_functions(method):
        # Kept answers come from disk.
        part.forward = torch.compiler.disable(part.forward)  # type: ignore[method-assign, no-untyped-call]
    compiled: Callable[[Batch], dict[str, Tensor]] = torch.compile(method.training_step)
    return compiled
