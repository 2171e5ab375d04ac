"""Images of a split, decoded and squashed once, kept in memory or in a memory-mapped cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.atomic import whole_folder
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.images import BadImagePolicy, OnBadImage, SkippedImage, squash
from wsol_bench.errors import DataError, UsageError

Progress = Callable[[int, int], None]
"""Called with (images done, images in all), from the calling thread, never backwards."""

_FORMAT = 1
_BATCH = 64
_CHECKED_BYTES = 512 << 20


@dataclass(frozen=True, eq=False)
class PackedSplit:
    """Pixels and class labels of one split: all that training ever sees.

    Attributes:
        ids: N image ids.
        labels: ``[N]`` int64 class indices.
        images: ``[N, S, S, 3]`` uint8 RGB; a read-only memory map when it comes from a cache.
        skipped: images of the split that are left out because they could not be decoded.
        identity: what the pixels depend on: dataset, split, side, content of the files and the images left out.
            Whatever is computed from the images can be kept under it; empty means nothing can.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    images: NDArray[np.uint8]
    skipped: tuple[SkippedImage, ...] = ()
    identity: str = ""

    def __len__(self) -> int:
        return len(self.ids)


def pack(
    dataset: Dataset,
    split: str,
    side: int,
    *,
    cache_dir: Path | None = None,
    on_bad_image: OnBadImage = "error",
    progress: Progress | None = None,
    workers: int | None = None,
) -> PackedSplit:
    """Decodes every image of a split and squashes it to ``side x side``.

    With a cache, the work is done once per dataset, version, split, side and content of the files. A cache entry
    appears whole or not at all; one that is damaged is made again. Two processes packing the same split at the same
    time both succeed.

    Args:
        dataset: where images come from.
        split: ``train``, ``val`` or ``test``.
        side: side of the packed images in pixels.
        cache_dir: folder for cache entries, made when missing; None keeps the images in memory only.
        on_bad_image: ``error``, or ``skip`` to leave out images that cannot be decoded.
        progress: called while decoding; not called when the cache answers.
        workers: decoding threads; one per processor by default.

    Raises:
        DataError: an image cannot be decoded (``error``), or none can (``skip``).
        UsageError: ``side`` or ``workers`` is not positive, or ``on_bad_image`` is unknown.
    """
    if side < 1:
        raise UsageError(f"Expected a side of at least 1 pixel but got {side}.")
    if workers is not None and workers < 1:
        raise UsageError(f"Expected at least 1 decoding thread but got {workers}.")
    policy = BadImagePolicy(on_bad_image)
    job = _Decoding(dataset, split, side, policy, progress, workers or os.cpu_count() or 1)
    if cache_dir is None:
        return job.into_memory()
    entry = cache_dir / _entry_name(dataset, split, side)
    cached = _open(entry, job, on_bad_image)
    if cached is not None:
        return cached
    try:
        with whole_folder(entry, overwrite=entry.exists()) as unfinished:
            job.into_folder(unfinished)
    except FileExistsError:
        pass  # Another process was faster; its entry is as good.
    made = _open(entry, job, on_bad_image)
    if made is None:
        raise DataError("Expected the cache entry just written but it cannot be read back; fix: check the disk.", entry)
    return made


def packed_bytes(dataset: Dataset, split: str, side: int) -> int:
    """Returns the size of the packed images of a split in bytes."""
    return len(dataset.split(split)) * side * side * 3


def is_packed(dataset: Dataset, split: str, side: int, cache_dir: Path) -> bool:
    """Tells whether a cache has an entry of a split; :func:`pack` makes it again where it is damaged."""
    return (cache_dir / _entry_name(dataset, split, side) / "manifest.json").is_file()


class _Decoding:
    """Decodes one split into an array given by the caller."""

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        side: int,
        policy: BadImagePolicy,
        progress: Progress | None,
        workers: int,
    ) -> None:
        self.dataset = dataset
        self.split = dataset.split(split)
        self.shape = (len(self.split), side, side, 3)
        self._side = side
        self._policy = policy
        self._progress = progress
        self._workers = workers

    def into_memory(self) -> PackedSplit:
        images = np.empty(self.shape, dtype=np.uint8)
        kept = self._fill(images)
        rows = np.flatnonzero(kept)
        skipped = tuple(self._policy.skipped)
        return PackedSplit(
            ids=tuple(self.split.ids[row] for row in rows),
            labels=self.split.labels[rows],
            images=images if kept.all() else images[rows],
            skipped=skipped,
            identity=_identity(_entry_name(self.dataset, self.split.name, self._side), skipped),
        )

    def into_folder(self, folder: Path) -> None:
        path = folder / "images.npy"
        images = _new_array(path, self.shape)
        kept = self._fill(images)
        if not kept.all():
            images = _without_rows(images, kept, folder / "kept.npy")
            (folder / "kept.npy").replace(path)
        checksums = np.array([zlib.crc32(image) for image in images], dtype=np.uint32)
        np.save(folder / "checksums.npy", checksums)
        manifest = {
            "format": _FORMAT,
            "dataset": self.dataset.name,
            "version": self.dataset.version,
            "split": self.split.name,
            "side": self._side,
            "kept": len(images),
            "skipped": [vars(skipped) for skipped in self._policy.skipped],
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    def _fill(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Writes the decoded images into ``[N, S, S, 3]``; returns which rows were decoded."""
        total = len(self.split)
        errors: list[DataError | None] = []

        def decode(row: int) -> DataError | None:
            try:
                images[row] = squash(self.dataset.load_image(self.split.name, row), self._side)
            except DataError as error:
                return error
            return None

        with ThreadPoolExecutor(self._workers, thread_name_prefix="decode") as pool:
            for start in range(0, total, _BATCH):
                for row, error in enumerate(pool.map(decode, range(start, min(start + _BATCH, total))), start):
                    if error is not None:
                        self._policy.handle(self.split.ids[row], error)
                    errors.append(error)
                if self._progress is not None:
                    self._progress(len(errors), total)
        kept = np.array([error is None for error in errors], dtype=np.bool_)
        if not kept.any():
            first = self._policy.skipped[0].reason if self._policy.skipped else "the split is empty"
            raise DataError(
                f"Expected images in '{self.split.name}' of {self.dataset.name} but none of {total} can be decoded; "
                f"the first: {first}"
            )
        return kept


def _without_rows(images: NDArray[np.uint8], kept: NDArray[np.bool_], path: Path) -> NDArray[np.uint8]:
    rows = np.flatnonzero(kept)
    fewer = _new_array(path, (len(rows), *images.shape[1:]))
    for start in range(0, len(rows), _BATCH):
        fewer[start : start + _BATCH] = images[rows[start : start + _BATCH]]
    return fewer


def _new_array(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns a writable map of a new array, for which the disk has set room aside.

    Without that, a disk that fills up later kills the process at a write into the map.
    """
    array: NDArray[np.uint8] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _entry_name(dataset: Dataset, split: str, side: int) -> str:
    content = f"{_FORMAT}\n{dataset.name}\n{dataset.version}\n{split}\n{side}\n{dataset.fingerprint(split)}"
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    return f"{re.sub('[^A-Za-z0-9._-]', '_', dataset.name)}-{split}-{side}-{key}"


def _open(entry: Path, job: _Decoding, on_bad_image: OnBadImage) -> PackedSplit | None:
    """Returns a cache entry, or None when it is absent, damaged, or lacks images that must not be skipped."""
    try:
        manifest: dict[str, Any] = json.loads((entry / "manifest.json").read_text(encoding="utf-8"))
        skipped = tuple(SkippedImage(**skipped) for skipped in manifest["skipped"])
        images = np.lib.format.open_memmap(entry / "images.npy", mode="r")
        checksums = np.load(entry / "checksums.npy")
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    left_out = {one.image_id for one in skipped}
    rows = [row for row, image_id in enumerate(job.split.ids) if image_id not in left_out]
    if images.shape != (len(rows), *job.shape[1:]) or images.dtype != np.uint8 or not _intact(images, checksums):
        return None
    if skipped and on_bad_image == "error":
        return None
    return PackedSplit(
        ids=tuple(job.split.ids[row] for row in rows),
        labels=job.split.labels[rows],
        images=images,
        skipped=skipped,
        identity=_identity(entry.name, skipped),
    )


def _identity(name: str, skipped: tuple[SkippedImage, ...]) -> str:
    return "\n".join([name, *(one.image_id for one in skipped)])


def _intact(images: NDArray[np.uint8], checksums: NDArray[np.uint32]) -> bool:
    """Compares checksums of all images, or of an even sample where reading them all would take long."""
    if checksums.shape != (len(images),):
        return False
    stride = max(1, -(-images.nbytes // _CHECKED_BYTES))
    return all(zlib.crc32(images[row]) == checksums[row] for row in range(0, len(images), stride))
