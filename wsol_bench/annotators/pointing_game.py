"""The funnel from many proposals to one box: clean up, keep the best 20 %, pointing game, best classifier score.

Source: Murtaza, PhD thesis, ETS Montreal, 2025, sections 4.3.1 and 4.6.3; pseudo-box spec, section 2. Where the thesis
is silent, each choice is an option and its use is counted in the outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wsol_bench.annotators.base import (
    AnnotatorOptions,
    Fallback,
    FunnelOutcome,
    ImageDone,
    Proposals,
    ScoringClassifier,
)
from wsol_bench.annotators.box_views import REFERENCE_FRAME, Outside, PaintView, view_painter
from wsol_bench.errors import DataError, UsageError
from wsol_bench.maps.normalise import resize_map


class FunnelOptions(AnnotatorOptions):
    """Options of the funnel; annotators that propose boxes inherit them."""

    outside: Outside = Field("blur", description="what the classifier sees outside a box: blur, crop or zero")
    blur_kernel: int = Field(115, ge=1, description="side of the blur kernel, pixels of a 224-pixel frame")
    blur_sigma: float = Field(100.5, gt=0, description="sigma of the blur, pixels of a 224-pixel frame")
    min_side: float = Field(16, ge=1, description="boxes with a smaller side are dropped, pixels of a 224-pixel frame")
    keep: float = Field(0.2, gt=0, le=1, description="share of the pool kept before the pointing game")
    rank: Literal["auto", "objectness", "classifier"] = Field(
        "auto", description="what ranks the pool; auto: objectness where the source has one, else the classifier"
    )
    max_scored: int = Field(2000, ge=1, description="largest pool; more are thinned out evenly along their area")


class ProposalFunnel:
    """Chooses one proposal per image.

    Args:
        classifier: scores boxes, and its class maps give the peaks.
        options: the funnel's options.
        batch_size: images in one call of the classifier; bounds the memory, whatever the number of boxes.
    """

    def __init__(self, classifier: ScoringClassifier, options: FunnelOptions, batch_size: int = 64) -> None:
        self.classifier = classifier
        self.options = options
        self.batch_size = batch_size

    def run(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        proposals: Iterable[Proposals],
        on_image: ImageDone | None = None,
    ) -> list[FunnelOutcome]:
        """Runs the funnel.

        Args:
            images: ``[B, S, S, 3]`` RGB uint8, ``S`` the classifier's frame.
            labels: ``[B]`` int64.
            proposals: B pools in the same order, in frame pixels; consumed lazily, so that they can be made in other
                processes while earlier ones are scored.
            on_image: called when the pool of an image has arrived.

        Raises:
            UsageError: the images do not fit the classifier, or a ranking by objectness is asked of proposals without.
            DataError: the classifier returns something else than finite probabilities.
        """
        frame = images.shape[1]
        if images.shape[1:] != (self.classifier.frame, self.classifier.frame, 3) or images.dtype != np.uint8:
            raise UsageError(
                f"Expected uint8 images of shape [B, {self.classifier.frame}, {self.classifier.frame}, 3] for the "
                f"classifier {self.classifier.identity} but got {images.dtype} {list(images.shape)}."
            )
        scorer = _BoxScorer(self.classifier, frame, self.batch_size)
        opened = []
        for image, label, peak, candidates in zip(images, labels, self._peaks(images, labels), proposals, strict=True):
            state = _open(candidates, peak, frame, self.options)
            painter = view_painter(image, self.options.outside, self.options.blur_kernel, self.options.blur_sigma)
            scorer.add(painter, state.pool.boxes[state.to_score], int(label))
            opened.append(state)
            if on_image is not None:
                on_image()
        ends = np.cumsum([state.to_score.sum() for state in opened], dtype=np.int64)
        scores = np.split(scorer.finish(), ends)
        return [_close(state, part, frame, self.options) for state, part in zip(opened, scores, strict=False)]

    def _peaks(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> list[tuple[int, int] | None]:
        peaks = []
        for start in range(0, len(images), self.batch_size):
            batch = slice(start, start + self.batch_size)
            maps = self.classifier.maps(images[batch], labels[batch])
            peaks += [peak_of(cam, images.shape[1]) for cam in maps]
        return peaks


def peak_of(cam: NDArray[np.float32], frame: int) -> tuple[int, int] | None:
    """Returns ``(x, y)`` of the maximum of a map ``[h, w]`` after bilinear upsampling to ``frame``.

    The first maximum in row-major order; None for a map that is constant or holds NaN or infinity.
    """
    if not np.isfinite(cam).all() or cam.max() == cam.min():
        return None
    y, x = divmod(int(np.argmax(resize_map(cam, (frame, frame)))), frame)
    return x, y


def clean(proposals: Proposals, frame: int, min_side: float) -> Proposals:
    """Step 0: clips to the frame, drops small boxes, the whole frame and duplicates; sorts the rest by coordinates.

    Args:
        proposals: as the source gave them, in any order.
        frame: side of the square in pixels.
        min_side: smallest width and height, in pixels of a 224-pixel frame.

    Returns:
        Proposals in lexicographic order of ``x0, y0, x1, y1``, the same for every order of the input; of duplicates
        the one with the highest objectness stays.
    """
    boxes = np.clip(proposals.boxes, 0, frame - 1).astype(np.int32).reshape(-1, 4)
    smallest = max(1, round(min_side * frame / REFERENCE_FRAME))
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    kept = np.flatnonzero((sides >= smallest).all(axis=1) & ~(sides == frame).all(axis=1))
    if proposals.objectness is not None:
        kept = kept[np.argsort(-proposals.objectness[kept], kind="stable")]
    _, first = np.unique(boxes[kept], axis=0, return_index=True)
    return Proposals(boxes, proposals.objectness).take(kept[first])


def capped(proposals: Proposals, limit: int) -> Proposals:
    """Thins a pool to ``limit`` boxes, by a rule that depends on the boxes alone; keeps their order.

    With objectness the best ones stay. Without, boxes at even distances along the order of their areas stay, so that
    small and large ones keep their shares, the smallest and the largest included.
    """
    if len(proposals) <= limit:
        return proposals
    if proposals.objectness is not None:
        kept = np.argsort(-proposals.objectness, kind="stable")[:limit]
    else:
        by_area = np.argsort(_areas(proposals.boxes), kind="stable")
        kept = by_area[np.round(np.linspace(0, len(by_area) - 1, limit)).astype(np.intp)]
    return proposals.take(np.sort(kept))


def best_share(rank: NDArray[np.float32], areas: NDArray[np.int64], keep: float) -> NDArray[np.intp]:
    """Step 2: returns the indices of the ``ceil(keep * K)`` best boxes, best first.

    Args:
        rank: ``[K]``, higher is better.
        areas: ``[K]``; of equals the smaller box is better, then the one with the lower index.
        keep: share in (0, 1]; at least one box is kept of a pool that is not empty.
    """
    # Rounded first: 0.07 * 100 is 7.000000000000001, and its ceiling one box too many.
    count = math.ceil(round(keep * len(rank), 9))
    return np.lexsort((np.arange(len(rank)), areas, -rank))[:count]


@dataclass
class _Opened:
    """One image before its boxes are scored; ``top`` is None while the scores are needed to know it."""

    pool: Proposals
    peak: tuple[int, int] | None
    hits: NDArray[np.bool_]
    top: NDArray[np.intp] | None
    to_score: NDArray[np.bool_]
    proposed: int
    cleaned: int


def _open(candidates: Proposals, peak: tuple[int, int] | None, frame: int, options: FunnelOptions) -> _Opened:
    if options.rank == "objectness" and candidates.objectness is None:
        raise UsageError(
            "Expected proposals with an objectness for the option rank=objectness but this source gives none. "
            "Fix: use rank=classifier."
        )
    cleaned = clean(candidates, frame, options.min_side)
    pool = capped(cleaned, options.max_scored)
    hits = _hits(pool.boxes, peak)
    top: NDArray[np.intp] | None = None
    to_score = np.ones(len(pool), dtype=bool)
    if pool.objectness is not None and options.rank != "classifier":
        top = best_share(pool.objectness, _areas(pool.boxes), options.keep)
        # The last step compares these boxes only; scoring the others would cost and change nothing.
        to_score = _as_mask(_candidates(_as_mask(top, len(pool)), hits, peak)[0], len(pool))
    return _Opened(pool, peak, hits, top, to_score, proposed=len(candidates), cleaned=len(cleaned))


def _close(opened: _Opened, part: NDArray[np.float32], frame: int, options: FunnelOptions) -> FunnelOutcome:
    pool = opened.pool
    scores = np.full(len(pool), np.nan, dtype=np.float32)
    scores[opened.to_score] = part
    areas = _areas(pool.boxes)
    top = best_share(scores, areas, options.keep) if opened.top is None else opened.top
    candidates, fallback = _candidates(_as_mask(top, len(pool)), opened.hits, opened.peak)
    objectness = pool.objectness if pool.objectness is not None else np.zeros(len(pool), dtype=np.float32)
    order = np.lexsort((candidates, areas[candidates], -objectness[candidates], -scores[candidates]))
    return FunnelOutcome(
        frame=frame,
        boxes=pool.boxes,
        scores=scores,
        objectness=pool.objectness,
        top=_as_mask(top, len(pool)),
        hits=opened.hits,
        peak=opened.peak,
        best_ranked=int(top[0]) if len(top) else -1,
        final=int(candidates[order[0]]) if len(candidates) else -1,
        fallback=fallback,
        proposed=opened.proposed,
        cleaned=opened.cleaned,
    )


def _candidates(
    top: NDArray[np.bool_], hits: NDArray[np.bool_], peak: tuple[int, int] | None
) -> tuple[NDArray[np.intp], Fallback]:
    """Step 3 with its fallbacks: the indices among which the classifier's score decides."""
    if not len(top):
        return np.zeros(0, dtype=np.intp), Fallback.WHOLE_FRAME
    if peak is not None:
        if (top & hits).any():
            return np.flatnonzero(top & hits), Fallback.NONE
        if hits.any():
            return np.flatnonzero(hits), Fallback.WHOLE_POOL
    return np.flatnonzero(top), Fallback.NO_POINTING_GAME


def _hits(boxes: NDArray[np.int32], peak: tuple[int, int] | None) -> NDArray[np.bool_]:
    if peak is None:
        return np.zeros(len(boxes), dtype=bool)
    x, y = peak
    inside: NDArray[np.bool_] = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
    return inside


def _areas(boxes: NDArray[np.int32]) -> NDArray[np.int64]:
    sides = boxes[:, 2:].astype(np.int64) - boxes[:, :2] + 1
    return sides[:, 0] * sides[:, 1]


def _as_mask(indices: NDArray[np.intp], length: int) -> NDArray[np.bool_]:
    mask = np.zeros(length, dtype=bool)
    mask[indices] = True
    return mask


class _BoxScorer:
    """Packs views of boxes of any number of images into full batches: one canvas, however many boxes."""

    def __init__(self, classifier: ScoringClassifier, frame: int, batch_size: int) -> None:
        self._classifier = classifier
        self._canvas = np.empty((batch_size, frame, frame, 3), dtype=np.uint8)
        self._labels = np.empty(batch_size, dtype=np.int64)
        self._filled = 0
        self._scores: list[NDArray[np.float32]] = []

    def add(self, paint: PaintView, boxes: NDArray[np.int32], label: int) -> None:
        for box in boxes:
            paint(box, self._canvas[self._filled])
            self._labels[self._filled] = label
            self._filled += 1
            if self._filled == len(self._canvas):
                self._flush()

    def finish(self) -> NDArray[np.float32]:
        """Returns the scores of all boxes, in the order in which they were added."""
        self._flush()
        return np.concatenate([np.zeros(0, dtype=np.float32), *self._scores])

    def _flush(self) -> None:
        if not self._filled:
            return
        labels = self._labels[: self._filled]
        probabilities = self._classifier.probabilities(self._canvas[: self._filled])
        expected = probabilities.ndim == 2 and len(probabilities) == len(labels)
        if not expected or not 0 <= labels.min() <= labels.max() < probabilities.shape[1]:
            raise DataError(
                f"Expected probabilities of shape [{len(labels)}, C] with C above the largest label {labels.max()} "
                f"from the classifier {self._classifier.identity} but got shape {list(probabilities.shape)}; "
                "fix: use a classifier that was trained on this dataset."
            )
        scores = probabilities[np.arange(len(labels)), labels].astype(np.float32)
        if not np.isfinite(scores).all():
            raise DataError(
                f"Expected finite probabilities from the classifier {self._classifier.identity} but got NaN or "
                "infinity; fix: its training diverged, choose another epoch or configuration."
            )
        self._scores.append(scores)
        self._filled = 0
