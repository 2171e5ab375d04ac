"""Pretrained weights by name or by local file, with errors that help offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from wsol_bench.checksum import sha256_of
from wsol_bench.errors import DataError, UsageError

StateDict = dict[str, torch.Tensor]
Weights = TypeVar("Weights")

IMAGENET_MEAN_STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Channel means and standard deviations of ImageNet, for pixel values in [0, 1], which most weights expect."""

NO_WEIGHTS = "none"
"""The source of a network that is trained from scratch."""

_unneeded: ContextVar[bool] = ContextVar("pretrained_weights_unneeded", default=False)


def pretrained_unneeded() -> bool:
    """Whether any weights will do, because a checkpoint is about to fill the network or nobody looks at its answers."""
    return _unneeded.get()


@contextmanager
def without_pretrained() -> Iterator[None]:
    """Skips pretrained weights inside the block, for networks that a checkpoint is about to fill, and to measure costs.

    A trained model can thus be loaded where its starting weights are no longer at hand.
    """
    token = _unneeded.set(True)
    try:
        yield
    finally:
        _unneeded.reset(token)


@contextmanager
def with_pretrained() -> Iterator[None]:
    """Loads pretrained weights inside the block all the same: those of frozen networks are in no checkpoint."""
    token = _unneeded.set(False)
    try:
        yield
    finally:
        _unneeded.reset(token)


def load_state(source: str, *, by_name: Callable[[], StateDict] | None = None) -> StateDict | None:
    """Loads a state dict.

    Args:
        source: ``none``, ``torchvision``, ``timm:<model>``, or a local file, optionally followed by ``@sha256:<hex>``.
        by_name: fetches the weights of the name ``torchvision`` (through torchvision's own cache).

    Returns:
        Tensors by name, or None for ``none`` and inside :func:`without_pretrained`.

    Raises:
        UsageError: the name is unknown here or the download fails.
        DataError: the file is missing, is not a state dict, or has another checksum.
    """
    if source == NO_WEIGHTS or _unneeded.get():
        return None
    if source == "torchvision":
        if by_name is None:
            raise UsageError(
                "Expected a backbone that torchvision has weights for but got weights=torchvision for another one; "
                "fix: weights=none, or the file of a state dict."
            )
        return fetched(by_name, f"'{source}'")
    if source.startswith("timm:"):
        return fetched(lambda: _timm_state(source.removeprefix("timm:")), f"'{source}'")
    return read_state(source, "'none', 'torchvision', 'timm:<model>'")


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


def read_torch_file(path: Path, device: torch.device | str = "cpu") -> Any:
    """Returns what ``torch.save`` wrote, with tensors on ``device``; code inside the file is never run.

    Raises:
        DataError: the file is missing, truncated, or not of this kind.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    # Depending on the damage, unpickling raises nearly any class (the documentation of pickle says so).
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"Expected a file written by PyTorch but it cannot be read ({reason}).", path) from error


def checked_file(source: str, known: str) -> Path:
    """Returns the path of ``FILE`` or ``FILE@sha256:<hex>``, whose checksum is verified.

    Args:
        source: what the user wrote.
        known: what could have been written instead of a file, for the error.

    Raises:
        DataError: there is no such file, or it has another checksum.
    """
    name, _, expected = source.partition("@sha256:")
    path = Path(name).expanduser()
    if not path.is_file():
        raise DataError(f"Expected weights to be {known} or a file, but this file does not exist.", path)
    if expected:
        actual = sha256_of(path)
        if actual != expected.lower():
            raise DataError(f"Expected sha256 {expected} but the file has {actual}; fix: download it again.", path)
    return path


def failed_fetch(what: str, error: Exception, fix: str) -> UsageError:
    """Returns the error for weights that could not be fetched.

    Args:
        what: which weights.
        error: what the library raised.
        fix: how to do without a network here.
    """
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return UsageError(f"Expected to load the weights {what} but it failed ({reason}). Without a network: {fix}.")


def read_state(source: str, known: str) -> StateDict:
    """Reads the state dict of ``FILE[@sha256:<hex>]``, as PyTorch or safetensors wrote it.

    Prefixes of DataParallel and of the methods here are dropped, and so is what official checkpoints are wrapped in
    (``state_dict``, ``model``, DINO's ``teacher``).

    Args:
        source: what the user wrote.
        known: what could have been written instead of a file, for the error.

    Raises:
        DataError: the file is missing, is not a state dict, or has another checksum.
    """
    path = checked_file(source, known)
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)
    for key in ("state_dict", "model", "teacher"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    ):
        raise DataError("Expected a PyTorch state dict (names to tensors) but got something else.", path)
    return {_plain_name(name): value for name, value in loaded.items()}


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"Expected a file of safetensors but it cannot be read ({error}).", path) from error


def _plain_name(name: str) -> str:
    """Drops the prefixes of DataParallel and of the methods here, so that a trial's checkpoint can start another."""
    for prefix in ("module.", "backbone.", "trunk.", "tower.vit."):
        name = name.removeprefix(prefix)
    return name


def fetched(load: Callable[[], Weights], what: str) -> Weights:
    """Returns what ``load`` returns; whatever keeps it from its weights becomes an error that helps offline.

    Args:
        load: fetches weights through a library.
        what: which weights, for the error.

    Raises:
        UsageError: it failed.
    """
    try:
        return load()
    # torch.hub raises OSErrors (URLError) and RuntimeErrors (checksum), timm RuntimeErrors (unknown model), and the
    # HTTP client below timm classes of its own; whatever it is, the way out is the same.
    except Exception as error:
        fix = (
            "fetch the checkpoint elsewhere and pass its file as weights=FILE, or train from scratch with weights=none"
        )
        raise failed_fetch(what, error, fix) from error


def _timm_state(model: str) -> StateDict:
    import timm

    state: StateDict = timm.create_model(model, pretrained=True).state_dict()
    return state
