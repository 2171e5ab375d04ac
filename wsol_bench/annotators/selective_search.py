"""Annotator ``ss``: OpenCV's selective search, filtered by the pointing game. No supervision beyond class labels.

Source: Uijlings et al., Selective Search for Object Recognition, IJCV 2013; pseudo-box spec, section 2.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsol_bench.annotators.base import AnnotatorContext, Proposals
from wsol_bench.annotators.pointing_game import FunnelOptions
from wsol_bench.annotators.proposal_annotator import ProposalAnnotator
from wsol_bench.errors import UsageError

Mode = Literal["fast", "quality"]


class SelectiveSearch(ProposalAnnotator):
    """Selective search proposals; the classifier ranks them, its class map points, and its score chooses.

    Images are searched at the side of the frame, also where that is below the 224 pixels of the protocol. Enlarging
    64-pixel photographs first (option ``search_side``) gives three to four times as many boxes for the classifier to
    score and a better best box among them, but no measurably better final box.
    """

    name: ClassVar[str] = "ss"
    version: ClassVar[str] = "1"
    supervision: ClassVar[str] = "none"

    class Options(FunnelOptions):
        """Options of selective search and of the funnel."""

        mode: Mode = Field("fast", description="fast: 2 colour spaces and 2 strategies; quality: 5 and 4, more boxes")
        search_side: int = Field(
            0, ge=0, description="side in pixels to which images are resized for the search; 0: as they are"
        )

    options: Options

    def __init__(self, context: AnnotatorContext, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(context, options)
        self._pool: ProcessPoolExecutor | None = None

    def close(self) -> None:
        """Ends the worker processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def proposals(self, images: NDArray[np.uint8]) -> Iterator[Proposals]:
        """Searches in worker processes: later images are searched while earlier ones are scored."""
        search = functools.partial(propose, mode=self.options.mode, search_side=self.options.search_side)
        if self.context.workers <= 1:
            yield from map(search, images)
            return
        if self._pool is None:
            # Spawn, not fork: the parent may hold a GPU and the threads of a network.
            self._pool = ProcessPoolExecutor(
                self.context.workers, multiprocessing.get_context("spawn"), initializer=_start_worker
            )
        try:
            yield from self._pool.map(search, images)
        except BrokenProcessPool as error:
            self._pool = None
            raise UsageError(
                "Expected worker processes to start but one died: a script that annotates with several workers needs "
                "the guard 'if __name__ == \"__main__\":', or memory ran out. Fix: add the guard, or use one worker."
            ) from error


def propose(image: NDArray[np.uint8], mode: Mode = "fast", search_side: int = 0) -> Proposals:
    """Returns the boxes of selective search, the same set in the same order at every call.

    OpenCV orders its boxes by a random rank, which carries no information; here they are sorted by coordinates.

    Args:
        image: ``[S, S, 3]`` RGB uint8.
        mode: OpenCV's ``fast`` or ``quality`` set of strategies.
        search_side: the image is resized to this side for the search, and edges are rounded back to pixels of ``S``;
            0 searches the image as it is.

    Returns:
        Distinct boxes ``[K, 4]`` with inclusive corners, no objectness.
    """
    frame = image.shape[0]
    side = search_side or frame
    working: NDArray[Any] = image
    if side != frame:
        interpolation = cv2.INTER_CUBIC if side > frame else cv2.INTER_AREA
        working = cv2.resize(image, (side, side), interpolation=interpolation)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(working[:, :, ::-1]))
    if mode == "fast":
        search.switchToSelectiveSearchFast()
    else:
        search.switchToSelectiveSearchQuality()
    found = np.asarray(search.process(), dtype=np.int64).reshape(-1, 4)
    edges = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    edges = (2 * edges * frame + side) // (2 * side)
    corners = np.concatenate([edges[:, :2], np.maximum(edges[:, 2:] - 1, edges[:, :2])], axis=1)
    return Proposals(np.unique(np.minimum(corners, frame - 1), axis=0).astype(np.int32))


def _start_worker() -> None:
    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole group of processes; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A killed parent cannot end its workers; without this they would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: Any) -> None:
    parent.join()
    os._exit(1)
