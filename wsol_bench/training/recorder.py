"""The recorder: one pass over a split, and everything the judge will ever ask of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.methods.base import Localization, Method
from wsol_bench.records.run_record import NO_CLASS, RunRecord
from wsol_bench.training.batches import normalise


def record_split(
    method: Method,
    ids: Sequence[str],
    labels: NDArray[np.int64],
    images: NDArray[np.uint8],
    *,
    device: torch.device,
    batch_size: int = 128,
    keep_maps: bool = False,
    on_batch: Callable[[int], None] | None = None,
) -> RunRecord:
    """Predicts a split in evaluation mode and returns its record.

    Args:
        method: the model; its training mode is restored afterwards.
        ids: N image ids.
        labels: ``[N]`` classes; maps are those of these classes (GT-known).
        images: ``[N, S, S, 3]`` uint8, squashed to the frame.
        device: where the model lives.
        batch_size: images per forward pass.
        keep_maps: also store the maps at native resolution (float16), which masks need.
        on_batch: called with the number of images done.
    """
    was_training = method.training
    method.eval()
    frame = images.shape[1]
    parts: list[_Part] = []
    try:
        for start in range(0, len(ids), batch_size):
            stop = min(start + batch_size, len(ids))
            pixels = torch.from_numpy(np.array(images[start:stop])).to(device)
            targets = torch.from_numpy(np.asarray(labels[start:stop], dtype=np.int64)).to(device)
            with torch.no_grad():
                prediction = method.localize(normalise(pixels, method.mean_std), targets)
            parts.append(_Part.of(prediction, frame, keep_maps))
            if on_batch is not None:
                on_batch(stop)
    finally:
        method.train(was_training)
    return RunRecord(
        ids=tuple(ids),
        labels=np.asarray(labels, dtype=np.int16),
        top5=np.concatenate([part.top5 for part in parts]),
        top5_scores=np.concatenate([part.top5_scores for part in parts]),
        peaks=np.concatenate([part.peaks for part in parts]),
        otsu_boxes=np.concatenate([part.otsu for part in parts]),
        curves=BoxCurves.concatenate([part.curves for part in parts]),
        frame=frame,
        maps=np.concatenate([part.maps for part in parts if part.maps is not None]) if keep_maps else None,
    )


def score_maps(maps: Tensor, frame: int) -> Tensor:
    """Turns maps of any scale ``[B, h, w]`` into score maps ``[B, S, S]`` float32 in [0, 1].

    Bilinear upsampling, then min-max per map (metrics spec, section 2): the peak is exactly 1 and the lowest pixel 0.
    NaN counts as 0, infinities as 1 and 0; a constant map becomes all zeros.
    """
    clean = torch.nan_to_num(maps.float(), nan=0.0, posinf=1.0, neginf=0.0)
    large = F.interpolate(clean[:, None], size=(frame, frame), mode="bilinear", align_corners=False)[:, 0]
    low = large.amin(dim=(1, 2), keepdim=True)
    span = large.amax(dim=(1, 2), keepdim=True) - low
    return torch.where(span > 0, (large - low) / torch.where(span > 0, span, torch.ones_like(span)), 0.0)


class _Part:
    """What one batch adds to a record."""

    top5: NDArray[np.int16]
    top5_scores: NDArray[np.float32]
    peaks: NDArray[np.int16]
    otsu: NDArray[np.int16]
    curves: BoxCurves
    maps: NDArray[np.float16] | None

    @classmethod
    def of(cls, prediction: Localization, frame: int, keep_maps: bool) -> _Part:
        part = cls()
        part.top5, part.top5_scores = _top5(prediction.logits)
        scores = score_maps(prediction.maps, frame)
        # The reference multiplies in float64 before it truncates; float32 would round some values up.
        quantised = (scores.double() * 255).floor().to(torch.uint8).cpu().numpy()
        part.peaks = _peaks(scores)
        part.curves = sweep_largest(quantised)
        part.otsu = otsu_boxes(quantised, part.curves)
        part.maps = prediction.maps.half().cpu().numpy() if keep_maps else None
        return part


def _top5(logits: Tensor) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    probabilities = torch.softmax(logits.float(), dim=1)
    order = torch.argsort(logits, dim=1, descending=True, stable=True)[:, :5]
    scores = torch.gather(probabilities, 1, order)
    missing = 5 - order.shape[1]
    classes = F.pad(order, (0, missing), value=NO_CLASS).cpu().numpy().astype(np.int16)
    return classes, F.pad(scores, (0, missing)).cpu().numpy().astype(np.float32)


def _peaks(scores: Tensor) -> NDArray[np.int16]:
    """First maximum in row-major order, as x and y; -1, -1 for an empty map."""
    flat = scores.flatten(1)
    # argmax promises no order among equal values; counting the pixels before the first maximum does.
    first = ((flat == flat.amax(dim=1, keepdim=True)).cumsum(dim=1) == 0).sum(dim=1)
    side = scores.shape[2]
    peaks = torch.stack([first % side, first // side], dim=1)
    peaks[flat.amax(dim=1) == 0] = -1
    return peaks.cpu().numpy().astype(np.int16)
