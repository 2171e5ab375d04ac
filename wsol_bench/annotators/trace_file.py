"""Annotated images as one ``.npz`` file: boxes, maps, and all that the funnel saw, ragged arrays side by side."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotators.base import AnnotatedImage, Fallback, FunnelOutcome
from wsol_bench.atomic import whole_file
from wsol_bench.errors import DataError

_NO_PEAK = (-1, -1)


def write_trace(path: Path, annotated: Sequence[AnnotatedImage]) -> None:
    """Writes annotated images; the file appears whole or not at all.

    Images without a funnel are stored with an empty pool and a frame of 0.
    """
    funnels = [image.funnel for image in annotated]
    pools = [0 if funnel is None else len(funnel.boxes) for funnel in funnels]
    present = [funnel for funnel in funnels if funnel is not None]
    arrays: dict[str, Any] = {
        "ids": np.array([image.image_id for image in annotated], dtype=np.str_),
        "boxes": np.array([image.box for image in annotated], dtype=np.int32).reshape(-1, 4),
        "fallbacks": np.array([image.fallback.value for image in annotated], dtype=np.str_),
        "offsets": np.concatenate([[0], np.cumsum(pools)]).astype(np.int64),
        "pool_boxes": np.concatenate([np.zeros((0, 4)), *(funnel.boxes for funnel in present)]).astype(np.int32),
        "scores": np.concatenate([np.zeros(0), *(funnel.scores for funnel in present)]).astype(np.float32),
        "objectness": np.concatenate(
            [np.zeros(0)] + [np.full(len(f.boxes), np.nan) if f.objectness is None else f.objectness for f in present]
        ).astype(np.float32),
        "top": np.concatenate([np.zeros(0), *(funnel.top for funnel in present)]).astype(np.bool_),
        "hits": np.concatenate([np.zeros(0), *(funnel.hits for funnel in present)]).astype(np.bool_),
        "numbers": np.array([_numbers(funnel) for funnel in funnels], dtype=np.int32).reshape(-1, 8),
        "map_shapes": np.array(
            [(0, 0) if image.map is None else image.map.shape for image in annotated], dtype=np.int32
        ).reshape(-1, 2),
        "maps": np.concatenate([np.zeros(0), *(one.map.ravel() for one in annotated if one.map is not None)]).astype(
            np.float16
        ),
    }
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_trace(path: Path) -> list[AnnotatedImage]:
    """Reads what :func:`write_trace` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        arrays["map_offsets"] = np.concatenate([[0], np.cumsum(arrays["map_shapes"].prod(axis=1))])
        return [_image(arrays, row) for row in range(len(arrays["ids"]))]
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"Expected a trace of an annotator but it cannot be read ({type(error).__name__}: {error}); "
            "fix: delete it and annotate again, everything else is kept.",
            path,
        ) from error


def _numbers(funnel: FunnelOutcome | None) -> tuple[int, ...]:
    if funnel is None:
        return (0, *_NO_PEAK, -1, -1, 0, 0, 0)
    return (
        funnel.frame,
        *(funnel.peak or _NO_PEAK),
        funnel.best_ranked,
        funnel.final,
        funnel.proposed,
        funnel.cleaned,
        int(funnel.objectness is not None),
    )


def _image(arrays: dict[str, NDArray[np.generic]], row: int) -> AnnotatedImage:
    fallback = Fallback(str(arrays["fallbacks"][row]))
    box = arrays["boxes"][row].astype(np.int32)
    frame, x, y, best_ranked, final, proposed, cleaned, has_objectness = arrays["numbers"][row].tolist()
    image_id = str(arrays["ids"][row])
    height, width = arrays["map_shapes"][row].tolist()
    values = arrays["maps"][slice(*arrays["map_offsets"][row : row + 2].tolist())]
    map_ = values.astype(np.float16).reshape(height, width) if len(values) else None
    if frame == 0:
        return AnnotatedImage(image_id, box, fallback, map=map_)
    pool = slice(*arrays["offsets"][row : row + 2].tolist())
    funnel = FunnelOutcome(
        frame=frame,
        boxes=arrays["pool_boxes"][pool].astype(np.int32),
        scores=arrays["scores"][pool].astype(np.float32),
        objectness=arrays["objectness"][pool].astype(np.float32) if has_objectness else None,
        top=arrays["top"][pool].astype(np.bool_),
        hits=arrays["hits"][pool].astype(np.bool_),
        peak=None if x < 0 else (x, y),
        best_ranked=best_ranked,
        final=final,
        fallback=fallback,
        proposed=proposed,
        cleaned=cleaned,
    )
    return AnnotatedImage(image_id, box, fallback, funnel, map_)
