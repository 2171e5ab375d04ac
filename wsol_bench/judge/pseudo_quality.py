"""How good pseudo-boxes are: the judge's comparison with ground truth, of the boxes and of every step of the funnel.

Source: pseudo-box spec, sections 4 and 6; thesis Tables 4.1 and 4.5. The caller holds the ground truth, and so has been
through the firewall. All values are percentages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotators.base import AnnotatedImage, FunnelOutcome
from wsol_bench.errors import DataError
from wsol_bench.judge.fixed_boxes import frame_box
from wsol_bench.metrics.iou import best_iou
from wsol_bench.metrics.pointing import PointingGame

CORLOC_IOU = 0.5
"""IoU from which a box counts as correct."""

STAGES = (
    "pointing game",
    "best share + pointing game",
    "best of the share",
    "final",
    "oracle of the pool",
    "oracle of the share",
)
"""Rows of Table 4.5. The first two are means over the boxes that are left, the others are single boxes."""


@dataclass(frozen=True)
class BoxQuality:
    """Agreement of a set of boxes with ground truth.

    Attributes:
        n: images.
        mean_iou: mean over images of the best IoU with any manual box; percent.
        corloc: share of images with an IoU of at least 0.5; percent.
        zero_boxes: images whose box is ``0, 0, 0, 0``, "nothing found"; they count, with an IoU near 0.
        mean_area: mean share of the frame that a box covers; percent.
        mean_gt_area: the same of the largest manual box; percent.
        whole_frame_mean_iou: what the whole frame as box would reach; percent.
        whole_frame_corloc: likewise.
    """

    n: int
    mean_iou: float
    corloc: float
    zero_boxes: int
    mean_area: float
    mean_gt_area: float
    whole_frame_mean_iou: float
    whole_frame_corloc: float

    def as_dict(self) -> dict[str, Any]:
        """Returns the values, percentages with two decimals."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Stage:
    """One row of Table 4.5.

    Attributes:
        name: what is left, or chosen, at this stage.
        mean_iou: percent; where several boxes are left, the value of an image is the mean over them.
        corloc: share of images with a value of at least 0.5; percent.
        n: images in the mean.
        excluded: images without any box at this stage.
    """

    name: str
    mean_iou: float
    corloc: float
    n: int
    excluded: int


@dataclass(frozen=True)
class FunnelQuality:
    """Quality along the funnel.

    Attributes:
        stages: the rows of :data:`STAGES`; the thesis does not say of which pool its oracle is, so both are given.
        pointing_accuracy: hits / (hits + misses) of the class maps' peaks on any manual box; percent. A map without a
            peak is a miss.
        no_peak: maps without a peak.
    """

    stages: tuple[Stage, ...]
    pointing_accuracy: float
    no_peak: int

    def as_dict(self) -> dict[str, Any]:
        """Returns the values, percentages with two decimals."""
        return {
            "pointing_accuracy": round(self.pointing_accuracy, 2),
            "no_peak": self.no_peak,
            "stages": {
                stage.name: {
                    "mean_iou": round(stage.mean_iou, 2),
                    "corloc": round(stage.corloc, 2),
                    "n": stage.n,
                    "excluded": stage.excluded,
                }
                for stage in self.stages
            },
        }


def box_quality(boxes: BoxSet, truth: BoxSet, frame: int) -> BoxQuality:
    """Compares boxes with ground truth in the square frame, as the evaluator of the protocol sees both.

    Args:
        boxes: the boxes to judge; of an image with several the mean over them counts.
        truth: manual boxes of at least these images.
        frame: side of the frame in pixels; coordinates are scaled to it and truncated.

    Raises:
        DataError: an image has no box on one of the sides.
    """
    truth = truth.select(boxes.ids)
    _check_counts(boxes, "box")
    _check_counts(truth, "manual box")
    judged, manual = boxes.in_frame(frame, frame), truth.in_frame(frame, frame)
    whole = frame_box(frame)[None]
    ious = np.empty(len(boxes))
    whole_ious = np.empty(len(boxes))
    areas = np.empty((len(boxes), 2))
    zeros = 0
    for i in range(len(boxes)):
        candidates = judged[boxes.offsets[i] : boxes.offsets[i + 1]]
        targets = manual[truth.offsets[i] : truth.offsets[i + 1]]
        ious[i] = best_iou(candidates, targets).mean()
        whole_ious[i] = best_iou(whole, targets)[0]
        areas[i] = _areas(candidates).mean(), _areas(targets).max()
        zeros += not boxes.of(i).any()
    areas *= 100.0 / frame**2
    return BoxQuality(
        n=len(boxes),
        mean_iou=100.0 * float(ious.mean()),
        corloc=100.0 * float(np.mean(ious >= CORLOC_IOU)),
        zero_boxes=zeros,
        mean_area=float(areas[:, 0].mean()),
        mean_gt_area=float(areas[:, 1].mean()),
        whole_frame_mean_iou=100.0 * float(whole_ious.mean()),
        whole_frame_corloc=100.0 * float(np.mean(whole_ious >= CORLOC_IOU)),
    )


def funnel_quality(annotated: Iterable[AnnotatedImage], truth: BoxSet) -> FunnelQuality:
    """Compares every step of the funnel with ground truth.

    Args:
        annotated: images with their funnels, in any order; consumed one by one.
        truth: manual boxes of at least these images, in original pixels.

    Raises:
        DataError: an image has no funnel or no manual box, or there is no image.
    """
    rows = {image_id: i for i, image_id in enumerate(truth.ids)}
    in_frame: dict[int, NDArray[np.int32]] = {}
    game = PointingGame()
    no_peak = 0
    values: dict[str, list[float]] = {name: [] for name in STAGES}
    for image in annotated:
        funnel = image.funnel
        if funnel is None:
            raise DataError(f"Expected the steps of a funnel for '{image.image_id}' but its annotator has none.")
        if image.image_id not in rows:
            raise DataError(f"Expected a manual box for '{image.image_id}' but ground truth has none.")
        row = rows[image.image_id]
        if funnel.frame not in in_frame:
            in_frame[funnel.frame] = truth.in_frame(funnel.frame, funnel.frame)
        targets = in_frame[funnel.frame][truth.offsets[row] : truth.offsets[row + 1]]
        game.update_boxes([funnel.peak or (-1, -1)], targets, [0, len(targets)])
        no_peak += funnel.peak is None
        for name, value in _stage_values(funnel, targets).items():
            values[name].append(value)
    if not game.hits + game.misses:
        raise DataError("Expected at least one annotated image but got none.")
    return FunnelQuality(
        stages=tuple(_stage(name, np.asarray(values[name])) for name in STAGES),
        pointing_accuracy=game.compute(),
        no_peak=no_peak,
    )


def _stage_values(funnel: FunnelOutcome, targets: NDArray[np.int32]) -> dict[str, float]:
    """Returns the value of one image at each stage, NaN where no box is left."""
    pool = best_iou(funnel.boxes, targets)
    best_ranked, final = best_iou(np.stack([funnel.box_at(funnel.best_ranked), funnel.box]), targets)
    hit, surviving, top = pool[funnel.hits], pool[funnel.survivors], pool[funnel.top]
    values = (
        hit.mean() if len(hit) else np.nan,
        surviving.mean() if len(surviving) else np.nan,
        best_ranked,
        final,
        pool.max() if len(pool) else np.nan,
        top.max() if len(top) else np.nan,
    )
    return {name: float(value) for name, value in zip(STAGES, values, strict=True)}


def _stage(name: str, values: NDArray[np.float64]) -> Stage:
    counted = values[~np.isnan(values)]
    return Stage(
        name=name,
        mean_iou=100.0 * float(counted.mean()) if len(counted) else float("nan"),
        corloc=100.0 * float(np.mean(counted >= CORLOC_IOU)) if len(counted) else float("nan"),
        n=len(counted),
        excluded=len(values) - len(counted),
    )


def _check_counts(boxes: BoxSet, what: str) -> None:
    empty = np.flatnonzero(np.diff(boxes.offsets) == 0)
    if not len(boxes):
        raise DataError("Expected boxes of at least one image but got none.")
    if len(empty):
        raise DataError(
            f"Expected at least one {what} for every image but {len(empty)} have none, first '{boxes.ids[empty[0]]}'."
        )


def _areas(boxes: NDArray[np.int32]) -> NDArray[np.int64]:
    sides = boxes[:, 2:].astype(np.int64) - boxes[:, :2] + 1
    return sides[:, 0] * sides[:, 1]
