"""Cross-entropy over the few pixels that have a label."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from wsol_bench.losses.pseudo_pixels import IGNORE


def partial_cross_entropy(logits: Tensor, seeds: Tensor) -> Tensor:
    """Returns the mean cross-entropy over the labelled pixels of a batch; 0, with a zero gradient, where there is none.

    Computed in float32.

    Args:
        logits: ``[B, R, H, W]``.
        seeds: ``[B, H, W]`` int64, classes ``0..R-1``, or :data:`~wsol_bench.losses.pseudo_pixels.IGNORE`.
    """
    total = F.cross_entropy(logits.float(), seeds, ignore_index=IGNORE, reduction="sum")
    labelled = (seeds != IGNORE).sum().clamp(min=1)
    loss: Tensor = total / labelled
    return loss
