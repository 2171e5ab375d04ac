"""Several processes that train one trial together: torch's own launcher starts them, one per GPU or CPU process.

``torchrun --nproc-per-node 4 -m wsol_bench sweep ...``: the processes divide every batch and every recording among
them, and the first of them writes all files.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from wsol_bench.errors import UsageError

PATIENCE = timedelta(days=2)
"""How long processes wait for each other: one of them may be packing images or running a frozen network over all of
them. A process that dies is noticed at once, by the launcher."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class World:
    """The processes that train together, seen from one of them; as it is, a process alone.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        control: group for words about the work, apart from the one for gradients.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Waits until all processes are here."""
        if self.size > 1:
            dist.barrier(group=self.control)

    def from_main(self, value: _T) -> _T:
        """Returns the value that the first process gave."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def gather(self, value: _T) -> list[_T] | None:
        """Returns the values of all processes, by rank, in the first process; None in the others."""
        if self.size == 1:
            return [value]
        found: list[Any] | None = [None] * self.size if self.is_main else None
        dist.gather_object(value, found, dst=0, group=self.control)
        return found

    def mean(self, values: Tensor) -> Tensor:
        """Returns the mean over processes of a tensor that each of them has."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def share(self, count: int) -> tuple[slice, float]:
        """Divides a batch.

        Args:
            count: images of the whole batch, at least 1.

        Returns:
            The images of this process, and the factor on the mean of their losses with which the mean over processes
            is that over the images. A process for which none is left takes the first, with a factor of 0.
        """
        start, stop = (edge * count // self.size for edge in (self.rank, self.rank + 1))
        if start == stop:
            return slice(0, 1), 0.0
        return slice(start, stop), (stop - start) * self.size / count


ALONE = World()


def launched() -> tuple[int, int]:
    """Returns rank and number of processes as the launcher says, 0 and 1 without one; needs no connection."""
    if not all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def current_world() -> World:
    """Returns the processes that this one belongs to, after connecting to them where that is still to be done.

    A process group that the caller made is used as it is; otherwise the variables that ``torchrun`` sets decide.
    """
    if dist.is_available() and (dist.is_initialized() or launched()[1] > 1):
        return _connected()
    return ALONE


def local_gpu() -> int | None:
    """Returns the number of the GPU that is this process's own among several processes; None for a process alone."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched()[1] > 1 else None


@contextmanager
def main_first() -> Iterator[None]:
    """Lets the first process through the block, such as the packing of images, before the others."""
    world = current_world()
    if not world.is_main:
        world.wait()
    yield
    if world.is_main:
        world.wait()


def refuse_several(command: str) -> None:
    """Makes sure that a command that is for one process was not started by ``torchrun``.

    Raises:
        UsageError: it was.
    """
    if launched()[1] > 1:
        raise UsageError(
            f"Expected one process for '{command}' but torchrun started {launched()[1]}; fix: torchrun for 'sweep', "
            f"then '{command}' without it, on the same workspace."
        )


@functools.cache
def _connected() -> World:
    if not dist.is_initialized():
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        # Both, because --device decides later.
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
        atexit.register(_leave)
    control = dist.new_group(backend="gloo", timeout=PATIENCE)
    return World(dist.get_rank(), dist.get_world_size(), control)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
