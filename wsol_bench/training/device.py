"""Where to compute, and how to make it repeatable."""

from __future__ import annotations

import os

import torch

from wsol_bench.errors import UsageError
from wsol_bench.training.parallel import local_gpu


def pick_device(name: str = "auto") -> torch.device:
    """Returns the device: ``auto`` takes the first GPU, or the CPU where there is none.

    In one of several processes, ``auto`` and ``cuda`` are the GPU with the process's number on its machine.

    Raises:
        UsageError: the device does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    gpu = local_gpu()
    if name == "cuda" and gpu is not None:
        name = f"cuda:{gpu}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        if gpu is not None and device.type == "cuda":
            # Where several processes meet, torch looks at the current GPU.
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"Expected --device to name a device of this machine but got '{name}' ({str(error).splitlines()[0]}). "
            "Fix: --device cpu."
        ) from error
    return device


def make_deterministic() -> None:
    """Asks torch for repeatable kernels; operations that have none only warn."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling fresh memory finds bugs in kernels, not differences between runs, and costs time at every operation.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
