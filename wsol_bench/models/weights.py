"""Pretrained weights by name or by local file, with errors that help offline."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wsol_bench.errors import DataError, UsageError

StateDict = dict[str, torch.Tensor]


def load_state(source: str, *, by_name: Callable[[], StateDict] | None = None) -> StateDict:
    """Loads a state dict.

    Args:
        source: ``torchvision``, ``timm:<model>``, or a local file, optionally followed by ``@sha256:<hex>``.
        by_name: fetches the weights of the name ``torchvision`` (through torchvision's own cache).

    Raises:
        UsageError: the name is unknown here or the download fails.
        DataError: the file is missing, is not a state dict, or has another checksum.
    """
    if source == "torchvision":
        if by_name is None:
            raise UsageError("Expected weights of a torchvision network but this backbone has none; fix: weights=none.")
        return _fetch(by_name, source)
    if source.startswith("timm:"):
        return _fetch(lambda: _timm_state(source.removeprefix("timm:")), source)
    return _read_file(source)


def sha256_of(path: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def load_trunk(trunk: nn.Module, state: StateDict, source: str) -> None:
    """Copies into ``trunk`` every entry of the same name and shape; entries of a classifier head are left out.

    Raises:
        DataError: some parameter of the trunk gets no value (another architecture).
    """
    own = trunk.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    missing = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    if missing:
        raise DataError(
            f"Expected the weights '{source}' to fit the network but {len(missing)} of {len(own)} entries are missing "
            f"or of another shape, first '{missing[0]}'; fix: weights of the same architecture."
        )
    trunk.load_state_dict(fitting, strict=False)


def _read_file(source: str) -> StateDict:
    name, _, expected = source.partition("@sha256:")
    path = Path(name)
    if not path.is_file():
        raise DataError(
            "Expected weights to be 'none', 'torchvision', 'timm:<model>' or a file, but this file does not exist.",
            path,
        )
    if expected:
        actual = sha256_of(path)
        if actual != expected.lower():
            raise DataError(f"Expected sha256 {expected} but the file has {actual}; fix: download it again.", path)
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load raises a pickle error whose class lives in the C accelerator; it derives from Exception only.
    except Exception as error:
        raise DataError(f"Expected a PyTorch state dict but it cannot be read ({error}).", path) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise DataError("Expected a PyTorch state dict (names to tensors) but got something else.", path)
    return {re.sub(r"^module\.", "", key): value for key, value in loaded.items()}


def _fetch(load: Callable[[], StateDict], source: str) -> StateDict:
    try:
        return load()
    # URLError and HTTPError are OSErrors; timm and its hub client raise RuntimeErrors of many kinds.
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"Expected to load the weights '{source}' but it failed ({type(error).__name__}: {error}). Without a "
            "network: fetch the checkpoint elsewhere and pass its file as weights=FILE, or train from scratch with weights=none."
        ) from error


def _timm_state(model: str) -> StateDict:
    import timm

    state: StateDict = timm.create_model(model, pretrained=True).state_dict()
    return state
