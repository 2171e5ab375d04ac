"""What frozen parts of methods said of images, kept on disk: an encoder runs once per image, not once per epoch.

One folder per part, split and view, ``<workspace>/features/<split>-<view>-<key>/``, holds one array per name,
written in blocks: a killed process leaves a folder that the next one completes. The key is a hash of everything the
answers depend on, checksums of weights included, so that nothing stale is ever read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.atomic import refused, write_json
from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.models.frozen import Answers, FrozenFunction
from wsol_bench.training.config import Precision
from wsol_bench.training.precision import autocast

Rows = NDArray[np.int64]
Images = Callable[[Rows], tuple[Tensor, Tensor]]
"""Gives normalised images ``[B, 3, S, S]`` and labels ``[B]`` of some rows of a split, on the device."""

RESIDENT_BYTES = 1 << 30
"""Answers are held on the device until they have this size together; others are read through a memory map."""

_FORMAT = 1
_BLOCK = 1024
_LARGEST_SHARE = 0.5
_STATE = "state.json"


@dataclass(frozen=True)
class View:
    """A way of looking at the images of a split.

    Attributes:
        name: ``frame`` (as they are recorded), ``whole`` (training images, uncropped), or ``crop-3``.
        key: what else the pixels depend on.
        images: gives them.
    """

    name: str
    key: str
    images: Images


@dataclass
class KeptAnswers:
    """The answers of all frozen parts that one process has asked for.

    Attributes:
        folder: where they are kept; None computes them every time.
        device: where they are wanted.
        say: told, once, what takes long or cannot be kept.
        precision: with which the parts compute; answers of one are never taken for those of the other.
    """

    folder: Path | None
    device: torch.device
    say: Callable[[str], None] = lambda _: None
    precision: Precision = "fp32"
    resident_bytes: int = field(default=0, init=False)
    _open: dict[str, Shelf] = field(default_factory=dict, init=False)

    def of(self, part: FrozenFunction, split: PackedSplit, view: View) -> Shelf:
        """Returns the answers of a part for all images of a split under one view; nothing is computed yet."""
        if not split.identity:
            return Shelf(part, len(split), view, None, self)
        # Kernels of another kind of device round differently.
        parts = [str(_FORMAT), self.device.type, part.identity, split.identity, view.name, view.key]
        if self.precision != "fp32":
            parts.append(self.precision)
        content = "\n".join(parts)
        key = hashlib.sha256(content.encode()).hexdigest()[:16]
        if key not in self._open:
            place = None
            if self.folder is not None:
                place = self.folder / f"{split.identity.partition(chr(10))[0]}-{view.name}-{key}"
            self._open[key] = Shelf(part, len(split), view, place, self)
        return self._open[key]


class Shelf:
    """The answers of one frozen part for one view of a split; made when they are first asked for.

    Args:
        part: who answers.
        count: N, images of the split.
        view: which pixels it sees.
        place: folder on disk, or None to compute every time.
        owner: knows the device.
    """

    def __init__(self, part: FrozenFunction, count: int, view: View, place: Path | None, owner: KeptAnswers) -> None:
        self._part = part
        self._count = count
        self._view = view
        self._place = place
        self._owner = owner
        self._arrays: dict[str, NDArray[Any]] | None = None
        self._resident: Answers | None = None

    def take(self, rows: Rows) -> Answers:
        """Returns the answers for images ``rows`` ``[B]``, on the device, floats in float32.

        Raises:
            WsolBenchError: they cannot be written.
        """
        if self._arrays is None and self._place is not None:
            self._arrays = self._opened(self._place)
            wanted = self._owner.resident_bytes + sum(one.nbytes for one in (self._arrays or {}).values())
            if self._arrays is not None and wanted <= RESIDENT_BYTES:
                self._owner.resident_bytes = wanted
                self._resident = {name: _tensor(one, self._owner.device) for name, one in self._arrays.items()}
        if self._resident is not None:
            index = torch.from_numpy(rows).to(self._owner.device)
            return {name: _widened(one[index]) for name, one in self._resident.items()}
        if self._arrays is not None:
            return {name: _widened(_tensor(one[rows], self._owner.device)) for name, one in self._arrays.items()}
        return self._computed(rows)

    def _computed(self, rows: Rows) -> Answers:
        images, labels = self._view.images(rows)
        with autocast(self._owner.precision, self._owner.device):
            answers: Answers = self._part(images, labels)
        return answers

    def _opened(self, place: Path) -> dict[str, NDArray[Any]] | None:
        """Returns the arrays, after computing what is missing; None where they would fill the disk."""
        try:
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(place / ".lock"):
                done, arrays = _kept(place, self._count)
                found = arrays if done == self._count else self._make(place, done)
        except OSError as error:
            raise refused(place, error) from error
        if found is None:
            self._place = None
        return found

    def _make(self, place: Path, done: int) -> dict[str, NDArray[Any]] | None:
        size = 32 if self._owner.device.type == "cpu" else 128
        if not done:
            # It must not vouch for arrays that are still empty.
            (place / _STATE).unlink(missing_ok=True)
        first = {name: _stored(value) for name, value in self._computed(np.arange(1)).items()}
        needed = self._count * sum(one.nbytes for one in first.values())
        free = shutil.disk_usage(place).free
        if not done and needed > _LARGEST_SHARE * free:
            self._owner.say(
                f"features of {self._count} images would take {needed / 1e9:.0f} GB of {free / 1e9:.0f} GB that are "
                "free: they are not kept, the encoder runs at every step"
            )
            return None
        arrays = {name: _array(place / f"{name}.npy", self._count, one, new=not done) for name, one in first.items()}
        if self._count > _BLOCK:
            self._owner.say(f"running a frozen network over {self._count} images, once ({self._view.name})")
        for block in range(done, self._count, _BLOCK):
            for rows in _batches(block, min(block + _BLOCK, self._count), size):
                for name, value in self._computed(rows).items():
                    arrays[name][rows] = _stored(value)
            for one in arrays.values():
                one.flush()
            kinds = {name: [one.dtype.str, *one.shape] for name, one in arrays.items()}
            write_json(place / _STATE, {"done": min(block + _BLOCK, self._count), "arrays": kinds})
        return _kept(place, self._count)[1]


@contextmanager
def answering(
    parts: Sequence[FrozenFunction], images: Tensor, labels: Tensor | None, look_up: Callable[[FrozenFunction], Answers]
) -> Iterator[None]:
    """Lets frozen parts answer for one batch with what ``look_up`` returns.

    Args:
        parts: of the method.
        images: the batch; other images are computed as ever.
        labels: its labels.
        look_up: asked only for parts that are called.
    """
    if not parts:
        yield
        return
    with (
        parts[0].serving(images, labels, lambda: look_up(parts[0])),
        answering(parts[1:], images, labels, look_up),
    ):
        yield


def _batches(start: int, stop: int, size: int) -> Iterator[Rows]:
    for first in range(start, stop, size):
        yield np.arange(first, min(first + size, stop))


def _kept(place: Path, count: int) -> tuple[int, dict[str, NDArray[Any]]]:
    """Returns how many answers are finished, and read-only maps of the arrays; 0 where anything is damaged."""
    try:
        state = json.loads((place / _STATE).read_text(encoding="utf-8"))
        arrays: dict[str, NDArray[Any]] = {}
        for name, (dtype, *shape) in state["arrays"].items():
            arrays[name] = np.lib.format.open_memmap(place / f"{name}.npy", mode="r")
            if (arrays[name].dtype.str, arrays[name].shape) != (dtype, (count, *shape[1:])):
                return 0, {}
        return int(state["done"]) if arrays else 0, arrays
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0, {}


def _array(path: Path, count: int, like: NDArray[Any], *, new: bool) -> np.memmap[Any, Any]:
    if not new:
        return np.lib.format.open_memmap(path, mode="r+")
    array = np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=(count, *like.shape[1:]))
    if hasattr(os, "posix_fallocate"):
        # Without room set aside, a disk that fills up later kills the process at a write into the map.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _stored(value: Tensor) -> NDArray[Any]:
    kept = value.half() if value.is_floating_point() else value
    array: NDArray[Any] = kept.cpu().numpy()
    return array


def _tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.array(array)).to(device)


def _widened(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
