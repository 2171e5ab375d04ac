"""Baselines that look at no pixel: the whole frame, and a centred box.

A method must beat them before its number means anything: where objects fill the image, the whole frame alone scores
high.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.metrics.curve_iou import curves_of_boxes, iou_of_curves

CENTRE_SIDE = 0.7
"""Side of the centre box relative to the frame: about half of the area."""


def frame_box(frame: int) -> NDArray[np.int32]:
    """Returns the box of the whole frame, ``[4]``."""
    return np.asarray([0, 0, frame - 1, frame - 1], dtype=np.int32)


def centre_box(frame: int) -> NDArray[np.int32]:
    """Returns the centred square of side ``CENTRE_SIDE * frame``, ``[4]``."""
    margin = round((1 - CENTRE_SIDE) / 2 * frame)
    return np.asarray([margin, margin, frame - 1 - margin, frame - 1 - margin], dtype=np.int32)


def fixed_box_scores(box: NDArray[np.int32], truth: BoxSet, frame: int, iou_threshold: float) -> tuple[float, float]:
    """Scores one box that is predicted for every image.

    Args:
        box: ``[4]`` in the frame.
        truth: manual boxes.
        frame: side of the frame.
        iou_threshold: IoU from which an image counts as localized.

    Returns:
        Box accuracy and mean IoU, both in percent.
    """
    firewall.read("gt", "test")
    curves = iou_of_curves(curves_of_boxes(np.tile(box, (len(truth), 1))), truth.in_frame(frame, frame), truth.offsets)
    return 100.0 * float(np.mean(curves.ious >= iou_threshold)), 100.0 * float(np.mean(curves.ious))
