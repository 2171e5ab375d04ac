"""The precision of networks: float32, or bfloat16 where it loses nothing (torch's autocast).

Weights, optimiser, gradients and losses are float32 in either case. Because results differ, the precision is part of
a trial's configuration.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from wsol_bench.errors import UsageError
from wsol_bench.training.config import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Returns the context in which methods compute; it must not outlast one training step or one prediction."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def check_precision(precision: Precision, device: torch.device) -> None:
    """Makes sure that a device has a precision.

    Raises:
        UsageError: it has none of its own; emulation would be slower than float32.
    """
    if precision == "fp32":
        return
    if device.type == "cuda":
        with torch.cuda.device(device):
            able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = _computes(device)
    if not able:
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        raise UsageError(
            f"Expected a device with bfloat16 for --precision bf16 but {name} has none (NVIDIA GPUs have it from "
            "Ampere on); fix: --precision fp32."
        )


def _computes(device: torch.device) -> bool:
    try:
        with autocast("bf16", device):
            ones = torch.ones(2, 2, device=device)
            return (ones @ ones).dtype == torch.bfloat16
    except RuntimeError:
        return False
