r"""Neither foreground nor background may vanish: an extended log-barrier on their sizes.

Source: Kervadec et al., Constrained Deep Networks: Lagrangian Optimization via Log-barrier Extensions, 2019, as F-CAM
(Belharbi et al., WACV 2022) uses it; method spec ``fcam``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BARRIER_START, BARRIER_GROWTH, BARRIER_LIMIT = 1.0, 1.01, 10.0


def log_barrier(values: Tensor, t: float) -> Tensor:
    """Returns the barrier of ``values <= 0``: ``-log(-v) / t``, and from ``-1 / t**2`` on its tangent."""
    corner = -1 / t**2
    inner = -torch.log(-values.clamp(max=corner)) / t
    outer = t * values - math.log(1 / t**2) / t + 1 / t
    return torch.where(values <= corner, inner, outer)


def region_size_loss(probabilities: Tensor, t: float) -> Tensor:
    """Returns the mean barrier over the sizes of all regions; its slope pushes every region to grow, small ones most.

    Args:
        probabilities: ``[B, R, H, W]``.
        t: sharpness of the barrier; see :func:`barrier_of_epoch`.
    """
    sizes = probabilities.float().sum(dim=(2, 3))
    return log_barrier(-sizes, t).mean(dim=0).mean()


def barrier_of_epoch(epoch: int) -> float:
    """Returns ``t`` in an epoch, from 1: 1 percent more after each, at most 10."""
    return min(BARRIER_START * BARRIER_GROWTH ** (epoch - 1), BARRIER_LIMIT)
