"""The recorder: one pass over a split, and everything the judge will ever ask of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.datasets.packed import PackedSplit
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.normalise import clean, min_max, quantise, score_maps
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.maps.peak import peaks
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.methods.base import Localization, Method
from wsol_bench.records.run_record import NO_CLASS, RunRecord
from wsol_bench.training.contract import checked_localization
from wsol_bench.training.feed import RecordingFeed
from wsol_bench.training.kept_answers import KeptAnswers


def record_split(
    method: Method,
    split: PackedSplit,
    num_classes: int,
    *,
    device: torch.device,
    batch_size: int | None = None,
    keep_maps: bool = False,
    answers: KeptAnswers | None = None,
) -> RunRecord:
    """Predicts a split in evaluation mode and returns its record.

    Maps are those of the label of each image (GT-known). Scores that are not finite are recorded as they are; the
    training loop takes them for divergence.

    Args:
        method: the model; the training mode of all its modules is restored afterwards.
        split: N images, squashed to the frame.
        num_classes: C.
        device: where the model lives.
        batch_size: images per forward pass; None means 32 on a CPU, where more would not fit its caches, and 128
            elsewhere. Does not change the record beyond the rounding of the network's own arithmetic.
        keep_maps: also store the maps at their own resolution, which masks need.
        answers: of the method's frozen parts; None computes them.

    Raises:
        PluginError: the method returns something else than maps and logits of the right shapes.
    """
    if batch_size is None:
        batch_size = 32 if device.type == "cpu" else 128
    frame = split.images.shape[1]
    parts: list[_Part] = []
    with _evaluating(method), torch.no_grad():
        feed = RecordingFeed(split, method, device, answers)
        for start in range(0, len(split), batch_size):
            rows = np.arange(start, min(start + batch_size, len(split)))
            images, labels = feed.images(rows)
            with feed.answering(images, labels, rows):
                prediction = method.localize(images, labels)
            checked = checked_localization(method, prediction, len(rows), num_classes)
            parts.append(_Part(checked, frame, keep_maps))
    return RunRecord(
        ids=split.ids,
        labels=split.labels.astype(np.int16),
        top5=np.concatenate([part.top5 for part in parts]),
        top5_scores=np.concatenate([part.top5_scores for part in parts]),
        peaks=np.concatenate([part.peaks for part in parts]),
        otsu_boxes=np.concatenate([part.otsu_boxes for part in parts]),
        curves=BoxCurves.concatenate([part.curves for part in parts]),
        frame=frame,
        maps=np.concatenate([part.maps for part in parts if part.maps is not None]) if keep_maps else None,
    )


class _Part:
    """What one batch adds to a record."""

    def __init__(self, prediction: Localization, frame: int, keep_maps: bool) -> None:
        native = prediction.maps.float().cpu().numpy()
        scores = score_maps(native, frame)
        levels = quantise(scores)
        self.top5, self.top5_scores = _top5(prediction.logits)
        self.peaks = peaks(scores)
        self.curves = sweep_largest(levels)
        self.otsu_boxes = otsu_boxes(levels, self.curves)
        self.maps = min_max(clean(native)).astype(np.float16) if keep_maps else None


def _top5(logits: Tensor) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    order = torch.argsort(logits, dim=1, descending=True, stable=True)[:, :5]
    scores = torch.gather(torch.softmax(logits.float(), dim=1), 1, order)
    missing = 5 - order.shape[1]
    classes = F.pad(order, (0, missing), value=NO_CLASS)
    return classes.cpu().numpy().astype(np.int16), F.pad(scores, (0, missing)).cpu().numpy()


@contextmanager
def _evaluating(method: Method) -> Iterator[None]:
    # Module by module, because a method may keep some of them, such as frozen encoders, in evaluation mode always.
    modes = {module: module.training for module in method.modules()}
    method.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
