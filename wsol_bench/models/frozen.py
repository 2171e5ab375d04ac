"""Networks that a method uses and does not train, and functions of them whose answers can be kept."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn

Answers = dict[str, Tensor]
"""What a frozen function says of a batch: tensors ``[B, ...]`` by name."""


class FrozenNetwork(nn.Module):
    """A network in a method, but no part of what is trained.

    It moves with the method from device to device, is always in evaluation mode, has no parameters to the outside, and
    is in no state dict: its weights come from a file that is at hand.

    Args:
        network: any module.
        description: kind of network and options, as far as its answers depend on them.
    """

    network: Any

    def __init__(self, network: nn.Module, description: str) -> None:
        super().__init__()
        # In the dictionary and not as a submodule: a submodule would be trained, saved and switched with the method.
        self.__dict__["network"] = network.eval().requires_grad_(False)
        self._description = description

    @cached_property
    def identity(self) -> str:
        """The description and a checksum of all weights."""
        digest = hashlib.sha256()
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return f"{self._description} sha256:{digest.hexdigest()}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.network._apply(fn, recurse)
        return self


@dataclass(frozen=True)
class _Served:
    images: Tensor
    labels: Tensor | None
    look_up: Callable[[], Answers]


class FrozenFunction(FrozenNetwork, ABC):
    """A function of an image, and perhaps its label, that no training changes: an encoder, a maker of pseudo-labels.

    The training loop can answer in its place from what it said before. All floats are rounded to half precision in
    either case, so that kept and computed answers are the same, but for a few last bits where a library's kernels
    round differently in batches of another size.

    Attributes:
        by_label: whether answers depend on the label of the image.
    """

    by_label = False

    def __init__(self, network: nn.Module, description: str) -> None:
        super().__init__(network, description)
        self._served: _Served | None = None

    @abstractmethod
    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        """Returns the answers for any images.

        Called without gradients; a function that needs them switches them on inside.

        Args:
            images: ``[B, 3, S, S]`` float, normalised as the method's input.
            labels: ``[B]`` int64; given where :attr:`by_label` is set.
        """

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Answers:
        """Returns the answers, kept ones for the very batch that is being served.

        Args:
            images: ``[B, 3, S, S]`` float, normalised as the method's input.
            labels: ``[B]`` int64, where :attr:`by_label` is set.
        """
        served = self._served
        if served is not None and images is served.images and (not self.by_label or labels is served.labels):
            return served.look_up()
        with torch.no_grad():
            answers = self.compute(images, labels)
        return {name: value.half().float() if value.is_floating_point() else value for name, value in answers.items()}

    @contextmanager
    def serving(self, images: Tensor, labels: Tensor | None, look_up: Callable[[], Answers]) -> Iterator[None]:
        """Answers for this one batch with what ``look_up`` returns; other images are computed as ever."""
        before, self._served = self._served, _Served(images, labels, look_up)
        try:
            yield
        finally:
            self._served = before


def frozen_functions(module: nn.Module) -> list[FrozenFunction]:
    """Returns the frozen functions of a method, in the order of their definition."""
    return [part for part in module.modules() if isinstance(part, FrozenFunction)]
