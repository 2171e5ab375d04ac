"""Masks in the frame in which maps are scored: exact ones, eroded ones, and pseudo-masks made of maps.

Sources: Murtaza, PhD thesis, ETS Montreal, 2025, section 4.6.6 and Table 4.9; pseudo-boxes spec, section 9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.masks import FOREGROUND, IGNORE, MaskSet
from wsol_bench.annotations.noisy_masks import erode_mask_to_levels, mask_error
from wsol_bench.errors import RecordError, UsageError
from wsol_bench.judge.fingerprints import LENGTH
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.maps.normalise import quantise, score_maps
from wsol_bench.maps.otsu import EMPTY, otsu_cuts
from wsol_bench.records.run_record import RunRecord, read_record

EROSION_LEVELS = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
"""Percent of the foreground that Table 4.9 removes."""

_CHUNK = 64


@dataclass(frozen=True)
class MapsOrigin:
    """The epoch of a run whose maps became pseudo-masks."""

    run: RecordedRun
    epoch: int


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """Masks of N images in the frame, drawn.

    Attributes:
        ids: N image ids.
        masks: ``[N, S, S]`` uint8: 1 object, 0 background, 255 ignore.
        key: what the ledger calls them: ``gt``, ``gt:erode:10``, ``pseudo:maps:cam``.
        origin: whose maps they are made of, if of any.
    """

    ids: tuple[str, ...]
    masks: NDArray[np.uint8]
    key: str
    origin: MapsOrigin | None = None

    @cached_property
    def digest(self) -> str:
        """A hash of ids and pixels, as result rows carry it."""
        hashed = hashlib.sha256("\n".join(self.ids).encode())
        hashed.update(np.ascontiguousarray(self.masks).data)
        return hashed.hexdigest()[:LENGTH]

    def of(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """Returns the masks of some images, in their order.

        Raises:
            UsageError: an image has none.
        """
        return self.masks if tuple(ids) == self.ids else self.masks[_places(self.ids, ids)]


def exact_masks(masks: MaskSet, ids: Sequence[str], frame: int) -> FrameMasks:
    """Draws the manual masks of some images.

    Args:
        masks: of the dataset.
        ids: images, in the order of the result.
        frame: side S of the square in which maps are scored.

    Raises:
        UsageError: an image has no mask.
        DataError: a mask is missing or damaged.
    """
    drawn = [masks.draw(place, frame, frame) for place in _places(masks.ids, ids)]
    return FrameMasks(tuple(ids), np.stack(drawn), "gt")


def eroded_masks(
    masks: MaskSet, ids: Sequence[str], sizes: NDArray[np.int32], frame: int, percents: Sequence[float]
) -> list[FrameMasks]:
    """Draws the manual masks without a share of their foreground; ignored pixels stay ignored.

    Masks are eroded in the original size of their images and resized to the frame after that.

    Args:
        masks: of the dataset.
        ids: N images, in the order of the result.
        sizes: ``[N, 2]`` their widths and heights.
        frame: side S of the square in which maps are scored.
        percents: of the foreground pixels that are removed, one per result.

    Raises:
        UsageError: an image has no mask, or a percentage is out of range.
        DataError: a mask is missing or damaged.
    """
    made = np.empty((len(percents), len(ids), frame, frame), dtype=np.uint8)
    levels = [percent / 100 for percent in percents]
    for number, (place, (width, height)) in enumerate(zip(_places(masks.ids, ids), sizes, strict=True)):
        drawn = masks.draw(place, int(width), int(height))
        for level, left in enumerate(erode_mask_to_levels(drawn == FOREGROUND, levels)):
            pixels = left.astype(np.uint8) * FOREGROUND
            pixels[drawn == IGNORE] = IGNORE
            made[level, number] = _nearest(pixels, frame)
    return [FrameMasks(tuple(ids), one, f"gt:erode:{percent:g}") for percent, one in zip(percents, made, strict=True)]


def masks_of_maps(origin: MapsOrigin, name: str, background_classes: Sequence[int] = ()) -> FrameMasks:
    """Returns pseudo-masks of the validation images: recorded maps, each above its own Otsu threshold.

    Args:
        origin: whose maps.
        name: what to call them.
        background_classes: labels of images that show no object by definition; their masks are empty.

    Raises:
        RecordError: the record is missing or damaged, or holds no maps.
    """
    path = origin.run.path("val", origin.epoch)
    record = read_record(path, with_maps=True)
    if record.maps is None:
        raise without_maps(path)
    masks = np.empty((len(record), record.frame, record.frame), dtype=np.uint8)
    for part, maps in frame_maps(record):
        levels = quantise(maps)
        cuts = otsu_cuts(levels)
        masks[part] = (levels > cuts[:, None, None]) & (cuts != EMPTY)[:, None, None]
    masks[np.isin(record.labels, background_classes)] = 0
    return FrameMasks(record.ids, masks, f"pseudo:maps:{name}", origin)


def frame_maps(record: RunRecord) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yields the maps of a record as they are scored, some images at a time: ``[B, S, S]`` in [0, 1]."""
    if record.maps is None:
        return
    for start in range(0, len(record), _CHUNK):
        part = slice(start, start + _CHUNK)
        yield part, score_maps(record.maps[part].astype(np.float64), record.frame)


def without_maps(path: Path) -> RecordError:
    """Returns the error for a record that was made without maps."""
    return RecordError(
        f"{path}: expected a record with maps, which masks need, but it has none, and a finished trial is not run "
        "again to add them; fix: delete the folder of its trial (the one with config.yaml) and run 'wsol-bench select' "
        "or 'wsol-bench sweep --keep-maps' again, or use another --workspace."
    )


def error_of(exact: FrameMasks, masks: FrameMasks) -> float:
    """Returns ``100 (1 - ROC-AUC)`` of masks against the exact ones, in percent.

    The mean over the images whose exact mask has both kinds of pixels; ignored pixels count as background. NaN where no
    image has.
    """
    errors = [
        mask_error(one == FOREGROUND, other == FOREGROUND)
        for one, other in zip(exact.of(masks.ids), masks.masks, strict=True)
    ]
    return float(np.nanmean(errors)) if not np.all(np.isnan(errors)) else float("nan")


def _places(known: Sequence[str], ids: Sequence[str]) -> list[int]:
    places = {image_id: place for place, image_id in enumerate(known)}
    missing = [image_id for image_id in ids if image_id not in places]
    if missing:
        raise UsageError(f"Expected a mask for each image but {len(missing)} have none, first '{missing[0]}'.")
    return [places[image_id] for image_id in ids]


def _nearest(mask: NDArray[np.uint8], frame: int) -> NDArray[Any]:
    import cv2

    resized: NDArray[Any] = cv2.resize(mask, (frame, frame), interpolation=cv2.INTER_NEAREST)
    return resized
