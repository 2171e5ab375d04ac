"""What a method costs: parameters, multiply-accumulates and time per image, for any backbone and size of image."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from wsol_bench.methods.base import Method
from wsol_bench.methods.hparams import Value
from wsol_bench.models.embedded import EMBEDDED
from wsol_bench.models.frozen import FrozenNetwork
from wsol_bench.models.weights import NO_WEIGHTS, without_pretrained
from wsol_bench.registry import METHODS
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.training.config import TrialConfig

WARM_UP, ROUNDS = 2, 5
EPOCHS = 4


def method_cost(
    name: str,
    dataset: str,
    overrides: Mapping[str, Value],
    *,
    frame: int = 224,
    classes: int = 200,
    batch_size: int = 32,
    device: torch.device,
) -> dict[str, Any]:
    """Measures prediction, map included, with weights that were never trained: they cost the same.

    Args:
        name: registered name of the method.
        dataset: whose recipe sets what ``overrides`` do not.
        overrides: hyper-parameters, as ``--set`` takes them.
        frame: side of the images in pixels.
        classes: number of classes.
        batch_size: images in the larger of the two batches that are timed.
        device: where to compute.

    Returns:
        ``method``, ``backbone``, ``params_m`` (parameters in millions, of frozen networks where prediction needs them),
        ``trainable_m`` (of the last stage), ``macs_g`` (multiply-accumulates of one image in billions, as PyTorch
        counts them), ``ms_per_image`` (batch of one) and ``images_per_s`` (in batches), both the best of several
        rounds.

    Raises:
        UsageError: the method or a hyper-parameter is unknown.
    """
    config = enumerate_trials(PlanRequest((name,), overrides=overrides), dataset, "cost")[0].config
    method = _untrained(config, frame, classes).to(device)
    own = list(method.parameters())
    frozen = [p for part in method.modules() if isinstance(part, FrozenNetwork) for p in part.network.parameters()]
    single, many = (torch.randn(count, 3, frame, frame, device=device) for count in (1, batch_size))
    used = _used(method, single)
    return {
        "method": name,
        "backbone": config.hparams.get("backbone", "-"),
        "params_m": _millions([*own, *(p for p in frozen if p.data_ptr() in used.places)]),
        "trainable_m": _millions(p for p in own if p.requires_grad),
        "macs_g": used.flops / 2e9,
        "ms_per_image": 1000 * _seconds(method, single),
        "images_per_s": batch_size / _seconds(method, many),
    }


def prediction_macs(config: TrialConfig, *, frame: int, classes: int) -> float:
    """Returns the multiply-accumulates of one image, map included.

    Args:
        config: method and hyper-parameters.
        frame: side of the images in pixels.
        classes: number of classes.
    """
    return _used(_untrained(config, frame, classes), torch.zeros(1, 3, frame, frame)).flops / 2


def _untrained(config: TrialConfig, frame: int, classes: int) -> Method:
    """Builds the method of a configuration as it predicts, without the weights that it would start from."""
    hparams = config.hparams | {"weights": NO_WEIGHTS, "pretrained_head": False, "train": True}
    if hparams.get("clip_weights", EMBEDDED) != EMBEDDED:
        hparams["clip_weights"] = NO_WEIGHTS
    hparams = {key: value for key, value in hparams.items() if key in config.hparams}
    method_class = METHODS.get(config.method)
    with without_pretrained():
        method: Method = method_class()
        method.build(classes, [f"class {i}" for i in range(classes)], method_class.HParams.from_dict(hparams), frame)
    for stage in method.stages(EPOCHS):
        method.enter_stage(stage.name)
    return method.eval()


def _millions(parameters: Iterable[nn.Parameter]) -> float:
    return sum({id(one): one.numel() for one in parameters}.values()) / 1e6


def _used(method: Method, images: torch.Tensor) -> _Watch:
    watch = _Watch()
    with torch.no_grad(), watch:
        method.localize(images, torch.zeros(len(images), dtype=torch.long, device=images.device))
    return watch


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what PyTorch's table says of each operation; its own counter does not go along with autograd.grad.

    Attributes:
        flops: two per multiply-accumulate.
        places: addresses of all tensors that any operation read.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0.0
        self.places: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.places.update(one.data_ptr() for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor))
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def _seconds(method: Method, images: torch.Tensor) -> float:
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    times = []
    for _ in range(WARM_UP + ROUNDS):
        started = time.perf_counter()
        with torch.no_grad():
            # Reading a number waits for the device.
            float(method.localize(images, labels).maps.sum())
        times.append(time.perf_counter() - started)
    return min(times[WARM_UP:])
