"""Parts of a method that no training changes: they run once per image, and their answers can be kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

Answers = dict[str, Tensor]
"""What a frozen part says of a batch: tensors ``[B, ...]`` by name."""


@dataclass(frozen=True)
class _Served:
    images: Tensor
    labels: Tensor | None
    look_up: Callable[[], Answers]


class Frozen(nn.Module, ABC):
    """A frozen part of a method, such as an encoder.

    To the rest of the method it is a function: it has no parameters, is always in evaluation mode and appears in no
    state dict, because its weights come from a file that is at hand. The training loop can answer in its place from
    what it said before; such answers are the same to the bit, as all floats are rounded to half precision anyway.

    Args:
        network: what computes.
        identity: what the answers depend on: the kind of part, its options, the checksum of its weights.

    Attributes:
        by_label: whether answers depend on the label of the image.
    """

    by_label = False

    def __init__(self, network: nn.Module, identity: str) -> None:
        super().__init__()
        # In the dictionary and not as a submodule: a submodule would be trained, saved and switched with the method.
        self.__dict__["network"] = network.eval().requires_grad_(False)
        self.identity = identity
        self._served: _Served | None = None

    network: Any

    @abstractmethod
    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        """Returns the answers for any images.

        Called without gradients; a part that needs them switches them on inside.

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
        self._served = _Served(images, labels, look_up)
        try:
            yield
        finally:
            self._served = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.network._apply(fn, recurse)
        return self


def frozen_parts(module: nn.Module) -> list[Frozen]:
    """Returns the frozen parts of a method, in the order of their definition."""
    return [part for part in module.modules() if isinstance(part, Frozen)]
