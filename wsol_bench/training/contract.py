"""What a method must return, checked where it is used: foreign code gets an error that names it and the rule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsol_bench.errors import PluginError
from wsol_bench.methods.base import Localization, Method


def total_loss(method: Method, losses: Any) -> Tensor:
    """Returns the sum of what ``training_step`` returned.

    Raises:
        PluginError: not a dictionary of scalar tensors, or none of them depends on a parameter.
    """
    if not isinstance(losses, dict) or not losses:
        raise _broken(method, "training_step", "a dictionary of scalar losses by name", _kind(losses))
    for name, value in losses.items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            raise _broken(method, "training_step", f"a scalar tensor as the loss '{name}'", _kind(value))
    total = torch.stack([value.float() for value in losses.values()]).sum()
    if not total.requires_grad:
        raise _broken(
            method,
            "training_step",
            "losses that depend on a trainable parameter",
            f"{', '.join(losses)} without a gradient (are they detached, or is everything frozen?)",
        )
    return total


def checked_localization(method: Method, prediction: Any, images: int, num_classes: int) -> Localization:
    """Returns what ``localize`` returned for a batch.

    Args:
        method: who predicted.
        prediction: what it returned.
        images: B, images in the batch.
        num_classes: C.

    Raises:
        PluginError: not a :class:`Localization`, or maps and logits of other shapes than ``[B, h, w]`` and ``[B, C]``.
    """
    if not isinstance(prediction, Localization):
        raise _broken(method, "localize", "a Localization", _kind(prediction))
    maps, logits = prediction.maps, prediction.logits
    is_map = isinstance(maps, Tensor) and maps.is_floating_point() and maps.ndim == 3
    if not is_map or maps.shape[0] != images or 0 in maps.shape:
        raise _broken(method, "localize", f"float maps of shape [{images}, h, w]", _kind(maps))
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.shape != (images, num_classes):
        raise _broken(method, "localize", f"float logits of shape [{images}, {num_classes}]", _kind(logits))
    return prediction


def _broken(method: Method, verb: str, expected: str, got: str) -> PluginError:
    name = type(method).__name__
    return PluginError(f"Expected {verb} of the method {name} to return {expected} but got {got}; fix: mend {name}.")


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {list(value.shape)}"
    empty = isinstance(value, dict) and not value
    return f"{'an empty' if empty else 'a'} {type(value).__name__}"
