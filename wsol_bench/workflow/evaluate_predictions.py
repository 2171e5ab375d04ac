"""Class predictions in a text file, for Top-1 and Top-5 localization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import DataError
from wsol_bench.metrics.box_acc import Rank
from wsol_bench.workflow.evaluate_truth import Truth

_FIVE = 5


def read_predictions(path: Path, truth: Truth) -> dict[Rank, NDArray[np.bool_]]:
    """Reads lines ``id,class`` or ``id,class1,...,class5``: class indices, the likeliest first.

    Args:
        path: the file; ids that the metadata do not list are ignored.
        truth: ids and labels of the split.

    Returns:
        ``top1``, and ``top5`` if five classes are given: ``[N]`` bool, the label is among them.

    Raises:
        DataError: a line is malformed or repeated, or an image has none; with file and line.
    """
    positions = {image_id: position for position, image_id in enumerate(truth.ids)}
    predicted: NDArray[np.int64] | None = None
    seen = np.zeros(len(truth.ids), dtype=np.bool_)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        width = _FIVE if predicted is None else predicted.shape[1]
        image_id, *classes = line.strip().rsplit(",", width)
        if predicted is None and not _all_integers(classes, _FIVE):
            image_id, *classes = line.strip().rsplit(",", 1)
        if not _all_integers(classes, len(classes)) or (predicted is not None and len(classes) != predicted.shape[1]):
            raise DataError(
                f"Expected 'id,class' or 'id,class1,...,class5' with class indices but got '{line}'.", path, number
            )
        if predicted is None:
            predicted = np.zeros((len(truth.ids), len(classes)), dtype=np.int64)
        position = positions.get(image_id)
        if position is None:
            continue
        if seen[position]:
            raise DataError(f"Expected one line for '{image_id}' but got a second one.", path, number)
        seen[position] = True
        predicted[position] = [int(text) for text in classes]
    if predicted is None or not seen.all():
        first = truth.ids[int(np.flatnonzero(~seen)[0])]
        raise DataError(
            f"Expected predictions for all {len(seen)} images but {(~seen).sum()} have none, first '{first}'.", path
        )
    right: dict[Rank, NDArray[np.bool_]] = {"top1": predicted[:, 0] == truth.labels}
    if predicted.shape[1] == _FIVE:
        right["top5"] = (predicted == truth.labels[:, None]).any(axis=1)
    return right


def _all_integers(texts: list[str], count: int) -> bool:
    return len(texts) == count > 0 and all(text.strip().isdecimal() for text in texts)
