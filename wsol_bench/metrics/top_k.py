"""Classification ranks with the field's tie rule: equal logits go to the lower class index (stable descending sort)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.errors import DataError


def rank_of_label(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Returns the rank of the true class, 0 for the first.

    Args:
        logits: ``[N, C]`` scores per class; NaN ranks last.
        labels: ``[N]`` class indices.

    Returns:
        ``[N]`` int64; ``rank < k`` means that the class is among the first k.

    Raises:
        DataError: shapes do not fit, or a label is not a class.
    """
    scores, truth = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise DataError(f"Expected logits [N, C] and labels [N] but got {list(scores.shape)} and {list(truth.shape)}.")
    if truth.size and not (truth.min() >= 0 and truth.max() < scores.shape[1]):
        raise DataError(f"Expected labels in 0..{scores.shape[1] - 1} but got {truth.min()}..{truth.max()}.")
    scores = np.where(np.isnan(scores), -np.inf, scores)
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < truth[:, None]
    ranks: NDArray[np.int64] = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return ranks


def in_top_k(logits: ArrayLike, labels: ArrayLike, k: int) -> NDArray[np.bool_]:
    """Returns ``[N]`` bool: the true class is among the ``k`` best; arguments as in :func:`rank_of_label`."""
    return rank_of_label(logits, labels) < k
