"""What a backbone is: a trunk of named units, and what methods need to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wsol_bench.errors import UsageError
from wsol_bench.models.weights import NO_WEIGHTS, StateDict, load_state, load_trunk

HEAD_LR_RATIO = 10.0
"""Layers trained from scratch, and the last stage of a ResNet, learn ten times faster than the pretrained trunk."""

Visit = Callable[[str, Tensor], Tensor | None]
"""Called with the name and the output of a unit; what it returns goes on in its place, None leaves it as it is."""


@dataclass(frozen=True)
class Points:
    """Units of a trunk after which methods look at the features or change them.

    Attributes:
        erase: where ADL drops the strongest responses.
        guides: where the two side branches of SPG start.
        skips: what a decoder joins in again, deepest first.
    """

    erase: tuple[str, ...]
    guides: tuple[str, str]
    skips: tuple[str, ...]


class Backbone(nn.Module):
    """A trunk, the number of its output channels, and which of its parts learn at the head's rate.

    The trunk runs unit by unit, so that a method can look at the features in between or change them without hooks. No
    activation works in place: what a method keeps stays what it was.

    Args:
        trunk: the layers, in order; containers of layers are taken apart into units.
        channels: output channels.
        points: units by their roles.
        fast: names of the trunk's children whose learning rate is that of the head.
        weights: where the trunk's weights come from (see ``models.weights``); ``none`` means from scratch.
    """

    def __init__(
        self, trunk: nn.Sequential, channels: int, points: Points, fast: tuple[str, ...] = (), weights: str = NO_WEIGHTS
    ) -> None:
        super().__init__()
        for module in trunk.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010 - torch types attributes of modules as modules
        self.trunk = trunk
        self.channels = channels
        self.points = points
        self.fast = fast
        self.weights = weights
        self._classifier: StateDict | None = None

    @property
    def units(self) -> list[str]:
        """Names of the units, in the order in which they run."""
        return [name for name, _ in _units(self.trunk)]

    def forward(
        self, images: Tensor, visit: Visit | None = None, *, after: str | None = None, until: str | None = None
    ) -> Tensor:
        """Maps images ``[B, 3, S, S]`` to features ``[B, channels, h, w]``.

        Args:
            images: the input, or the output of the unit ``after``.
            visit: called after every unit that runs.
            after: start behind this unit.
            until: stop behind this unit and return its output.

        Raises:
            UsageError: there is no such unit.
        """
        for name in (after, until):
            if name is not None and name not in self.units:
                raise UsageError(f"Expected a unit of the backbone but got '{name}'; it has {', '.join(self.units)}.")
        features, running = images, after is None
        for name, unit in _units(self.trunk):
            if running:
                features = unit(features)
                seen = None if visit is None else visit(name, features)
                features = features if seen is None else seen
            running = running or name == after
            if name == until:
                break
        return features

    def with_features(self, images: Tensor, names: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the final features, and the outputs of the named units."""
        kept: dict[str, Tensor] = {}

        def keep(name: str, features: Tensor) -> None:
            if name in names:
                kept[name] = features

        final = self(images, keep)
        return final, kept

    def shapes(self, frame: int, names: tuple[str, ...]) -> tuple[tuple[int, int], dict[str, tuple[int, int]]]:
        """Returns channels and side of the final features, and of the outputs of the named units, for a square
        input.
        """
        was_training = self.training
        device = next(self.parameters()).device
        with torch.no_grad():
            final, kept = self.eval().with_features(torch.zeros(1, 3, frame, frame, device=device), names)
        self.train(was_training)
        found = {name: (features.shape[1], features.shape[2]) for name, features in kept.items()}
        return (final.shape[1], final.shape[2]), found

    def param_groups(self, head: nn.Module, lr: float, *, slow_head: bool = False) -> list[dict[str, Any]]:
        """Returns optimiser groups for this trunk and ``head``.

        A pretrained trunk learns at ``lr``, its fast parts and the head at :data:`HEAD_LR_RATIO` times that; from
        scratch everything learns at ``lr``.

        Args:
            head: what is trained on top.
            lr: learning rate of the trunk.
            slow_head: the head learns at ``lr`` too.
        """
        if self.weights == NO_WEIGHTS:
            return [{"params": [*self.parameters(), *head.parameters()], "lr": lr}]
        slow: list[nn.Parameter] = list(head.parameters()) if slow_head else []
        fast: list[nn.Parameter] = [] if slow_head else list(head.parameters())
        for name, child in self.trunk.named_children():
            (fast if name in self.fast else slow).extend(child.parameters())
        return [{"params": slow, "lr": lr}, {"params": fast, "lr": lr * HEAD_LR_RATIO}]

    def load_pretrained(
        self, part: nn.Module | None = None, by_name: Callable[[], StateDict] | None = None, prefix: str = "features."
    ) -> Backbone:
        """Copies the pretrained weights, if any, into ``part`` of the trunk; returns this backbone.

        Args:
            part: what the weights fill; the whole trunk when not given.
            by_name: fetches the weights of the name ``torchvision``.
            prefix: dropped from names in the file.

        Raises:
            UsageError: the weights cannot be fetched.
            DataError: the weights' file is unusable or belongs to another architecture.
        """
        state = load_state(self.weights, by_name=by_name)
        if state is not None:
            target = self.trunk if part is None else part
            load_trunk(target, {name.removeprefix(prefix): value for name, value in state.items()}, self.weights)
            self._classifier = _classifier_of(state)
        return self

    def copy_classifier(self, linear: nn.Linear) -> None:
        """Copies the linear classifier that came with the pretrained weights; does nothing where none were loaded.

        Raises:
            UsageError: they have no classifier of this shape.
        """
        if self._classifier is None:
            return
        expected = {name: tuple(value.shape) for name, value in linear.state_dict().items()}
        if {name: tuple(value.shape) for name, value in self._classifier.items()} != expected:
            raise UsageError(
                f"Expected the weights '{self.weights}' to hold a classifier of {linear.out_features} classes over "
                f"{linear.in_features} channels but they do not; fix: pretrained_head=false."
            )
        linear.load_state_dict(self._classifier)


def child_trunk(module: nn.Module, *names: str) -> nn.Sequential:
    """Returns some children of a network as a trunk, in the order given, under their own names."""
    trunk = nn.Sequential()
    for name in names:
        trunk.add_module(name, getattr(module, name))
    return trunk


def initialise(module: nn.Module, init: Callable[[Tensor], Tensor]) -> None:
    """Draws the weights of every convolution with ``init`` and zeroes its bias."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            init(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def kaiming_fan_out(weight: Tensor) -> Tensor:
    """Kaiming-normal initialisation by fan-out, for ReLU."""
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def torchvision_state(name: str) -> StateDict:
    """The ImageNet weights of the original recipe, which the published numbers start from."""
    import torchvision

    state: StateDict = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].get_state_dict(progress=True)
    return state


def _units(container: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in container.named_children():
        if isinstance(child, nn.Sequential):
            yield from _units(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _classifier_of(state: StateDict) -> StateDict:
    """The linear classifier of a state dict from torchvision (``fc``, ``classifier``) or from a trial (``head``)."""
    for prefix in ("head.linear.", "fc.", "classifier."):
        found = {name: state[f"{prefix}{name}"] for name in ("weight", "bias") if f"{prefix}{name}" in state}
        if found:
            return found
    return {}
