"""Reads the images of a split once: which cannot be read, which occur twice, and what kinds there are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from wsol_bench.datasets.base import Dataset, Split
from wsol_bench.datasets.images import read_header
from wsol_bench.errors import DataError

_THREADS = 4
_BLOCK = 256


@dataclass
class SeenImages:
    """What was read so far, over all splits.

    Attributes:
        first: content hash of every image to (split, id) where it was met first.
    """

    first: dict[bytes, tuple[str, str]] = field(default_factory=dict)


@dataclass
class ImageFacts:
    """The images of one split.

    Attributes:
        errors: what went wrong, in the order of the split.
        shared: ids whose content is also in another split, with that split and id.
        repeated: ids whose content is already in this split, with that id.
        modes: number of image files per colour mode.
        turned: image files with an EXIF rotation.
    """

    errors: list[DataError] = field(default_factory=list)
    shared: list[tuple[str, str, str]] = field(default_factory=list)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    turned: int = 0


@dataclass(frozen=True)
class _Read:
    digest: bytes
    mode: str | None
    turned: bool


def read_images(dataset: Dataset, split: Split, seen: SeenImages, progress: Callable[[int, int], None]) -> ImageFacts:
    """Decodes all images of a split.

    Two images are the same when their pixels are: another compression of a picture is another image.

    Args:
        dataset: where the images come from.
        split: which images.
        seen: images of the splits before, to which these are added.
        progress: called with (images done, images in all).
    """

    def read(index: int) -> _Read | DataError:
        try:
            image = dataset.load_image(split.name, index)
            path = dataset.image_path(split.name, index)
            header = None if path is None else read_header(path)
        except DataError as error:
            return error
        digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(image).data)
        return _Read(digest.digest(), header.mode if header else None, header is not None and header.orientation > 1)

    facts = ImageFacts()
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(split), _BLOCK):
            block = range(start, min(start + _BLOCK, len(split)))
            for index, found in zip(block, pool.map(read, block), strict=True):
                if isinstance(found, DataError):
                    facts.errors.append(found)
                    continue
                if found.mode is not None:
                    facts.modes[found.mode] += 1
                facts.turned += found.turned
                image_id = split.ids[index]
                owner, first = seen.first.setdefault(found.digest, (split.name, image_id))
                if owner != split.name:
                    facts.shared.append((image_id, owner, first))
                elif first != image_id:
                    facts.repeated.append((image_id, first))
            progress(block.stop, len(split))
    return facts
