"""Pseudo-boxes on disk: made chunk by chunk, published whole in the four-file format with a card.

``<pseudo_root>/<dataset>/<annotator>/<split>/`` appears when the last chunk is done. Beside it, ``<split>.funnel/``
holds one file per finished chunk: a killed run goes on from there, and afterwards the steps of the funnel can be drawn
and compared with ground truth without running anything again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotators.base import AnnotatedImage, Annotator
from wsol_bench.annotators.card import CARD, Card, Recipe, Statistics, boxes_sha256, problem_with, read_card
from wsol_bench.annotators.original_pixels import to_original
from wsol_bench.annotators.trace_file import read_trace, write_trace
from wsol_bench.atomic import write_json, write_text
from wsol_bench.errors import DataError

CHUNK_SIZE = 32
"""Images per chunk: what a killed run loses at most."""

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


def split_folder(pseudo_root: Path, dataset: str, annotator: str, split: str) -> Path:
    """Returns where the boxes of a split belong."""
    return pseudo_root / dataset / annotator / split


def trace_folder(folder: Path) -> Path:
    """Returns the folder of the chunks that belongs to a folder of boxes."""
    return folder.with_name(f"{folder.name}.funnel")


def annotate_split(
    annotator: Annotator,
    folder: Path,
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    ids: Sequence[str],
    sizes: NDArray[np.int32],
    *,
    chunk_size: int = CHUNK_SIZE,
    progress: Progress | None = None,
) -> Card:
    """Annotates a split, going on where an earlier run was stopped; does nothing when the boxes are there already.

    Memory does not grow with the number of images: ``images`` may be a memory map, and chunks go to disk.

    Args:
        annotator: an open annotator.
        folder: as :func:`split_folder` gives it.
        recipe: ``Recipe.of(annotator, ...)`` for these images.
        images: ``[N, S, S, 3]`` RGB uint8.
        labels: ``[N]`` int64.
        ids: N image ids.
        sizes: ``[N, 2]`` original width and height.
        chunk_size: images per chunk. It is part of the plan: another one starts anew.
        progress: called after every image.

    Returns:
        The card, as written.

    Raises:
        DataError: the inputs do not belong together, or files cannot be used.
    """
    if _is_made(folder, recipe):
        return read_card(folder)
    writer = PseudoBoxWriter(folder, recipe, ids, labels, sizes, chunk_size)
    pending = writer.pending()
    done = len(ids) - sum(chunk.stop - chunk.start for chunk in pending)

    def on_image() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(ids))

    if progress is not None:
        progress(done, len(ids))
    for chunk in pending:
        writer.write(chunk, annotator.annotate(images[chunk], labels[chunk], ids[chunk], on_image))
    return writer.finish()


class PseudoBoxWriter:
    """Collects annotated images in chunks and publishes the boxes when all are there.

    Chunks of an earlier run with the same recipe are kept; those of another recipe are removed.

    Args:
        folder: the final folder of the four files.
        recipe: what determines the boxes.
        ids: N image ids.
        labels: ``[N]`` class labels.
        sizes: ``[N, 2]`` original width and height.
        chunk_size: images per chunk.

    Raises:
        DataError: numbers of ids, labels, sizes and the recipe's images differ.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        ids: Sequence[str],
        labels: NDArray[np.int64],
        sizes: NDArray[np.int32],
        chunk_size: int = CHUNK_SIZE,
    ) -> None:
        if not len(ids) == len(labels) == len(sizes) == recipe.images:
            raise DataError(
                f"Expected as many ids, labels and sizes as the recipe has images but got {len(ids)}, {len(labels)}, "
                f"{len(sizes)} and {recipe.images}."
            )
        self.folder = folder
        self.recipe = recipe
        self.ids = tuple(ids)
        self.labels = labels
        self.sizes = sizes
        self._chunks = [slice(start, min(start + chunk_size, len(ids))) for start in range(0, len(ids), chunk_size)]
        self._trace = trace_folder(folder)
        plan = {"recipe": recipe.model_dump(mode="json"), "chunk_size": chunk_size}
        if _read_plan(self._trace) != plan:
            shutil.rmtree(self._trace, ignore_errors=True)
            write_json(self._trace / "plan.json", plan)

    def pending(self) -> list[slice]:
        """Returns the chunks that are missing or damaged, as slices of the images."""
        return [chunk for chunk in self._chunks if not self._is_done(chunk)]

    def write(self, chunk: slice, annotated: Sequence[AnnotatedImage]) -> None:
        """Stores one chunk.

        Raises:
            DataError: the annotator returned other images than those of the chunk, or a box outside the frame.
        """
        expected = self.ids[chunk]
        got = tuple(image.image_id for image in annotated)
        if got != expected:
            raise DataError(
                f"Expected the annotator '{self.recipe.annotator}' to return one box for each of {len(expected)} "
                f"images, in their order, but got {len(got)}: {list(got[:3])} for {list(expected[:3])}."
            )
        for image in annotated:
            x0, y0, x1, y1 = image.box.tolist()
            if not (0 <= x0 <= x1 < self.recipe.frame and 0 <= y0 <= y1 < self.recipe.frame):
                raise DataError(
                    f"Expected boxes inside a frame of {self.recipe.frame} pixels but the annotator "
                    f"'{self.recipe.annotator}' returned {(x0, y0, x1, y1)} for '{image.image_id}'."
                )
        write_trace(self._file(chunk), annotated)

    def finish(self) -> Card:
        """Publishes the four files and the card.

        Raises:
            DataError: a chunk is missing or damaged.
        """
        statistics = Statistics()
        boxes = []
        for image in read_annotated(self.folder):
            statistics.update([image])
            boxes.append(image.box)
        box_set = BoxSet(
            ids=self.ids,
            boxes=to_original(boxes, self.recipe.frame, self.sizes),
            offsets=np.arange(len(self.ids) + 1, dtype=np.int64),
            sizes=np.asarray(self.sizes, dtype=np.int32),
        )
        write_four_file(self.folder, ids=self.ids, labels=self.labels, boxes=box_set, overwrite=True)
        # The card comes last: a folder without one is not finished.
        card = statistics.card(self.recipe, boxes_sha256(self.folder))
        write_text(self.folder / CARD, card.as_yaml())
        return card

    def _file(self, chunk: slice) -> Path:
        return self._trace / f"chunk-{chunk.start:07d}.npz"

    def _is_done(self, chunk: slice) -> bool:
        try:
            return tuple(image.image_id for image in read_trace(self._file(chunk))) == self.ids[chunk]
        except DataError:
            return False


def has_trace(folder: Path) -> bool:
    """Whether the steps of the annotator are kept beside a folder of boxes."""
    return _read_plan(trace_folder(folder)) is not None


def read_annotated(folder: Path) -> Iterator[AnnotatedImage]:
    """Yields the annotated images of a split with the steps of their funnel, in order, chunk by chunk.

    Raises:
        DataError: the folder ``<split>.funnel`` is missing, incomplete, or a chunk is damaged.
    """
    trace = trace_folder(folder)
    plan = _read_plan(trace)
    if plan is None:
        raise DataError(
            "Expected the steps of an annotator but there are none: they stay where the boxes were made; "
            f"fix: remove {folder} and annotate again.",
            trace,
        )
    count = 0
    for path in sorted(trace.glob("chunk-*.npz")):
        chunk = read_trace(path)
        count += len(chunk)
        yield from chunk
    if count != plan["recipe"]["images"]:
        raise DataError(
            f"Expected {plan['recipe']['images']} annotated images but got {count}; fix: run annotate again, it goes "
            "on where it stopped.",
            trace,
        )


def _is_made(folder: Path, recipe: Recipe) -> bool:
    return problem_with(folder, recipe.model_dump(mode="json")) is None


def _read_plan(trace: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((trace / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return plan
