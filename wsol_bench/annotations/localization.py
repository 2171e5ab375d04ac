"""``localization.txt`` of the four-file format: boxes in original pixels, or paths of masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.annotations.masks import MaskTable
from wsol_bench.annotations.metadata_lines import MetadataLines
from wsol_bench.errors import DataError

Outside = Literal["error", "clip", "keep"]

_BOX_FORM = "id,x0,y0,x1,y1"
_NO_MASK = ("", "None")


def read_boxes(
    path: Path,
    ids: tuple[str, ...],
    index: Mapping[str, int],
    sizes: NDArray[np.int32] | None,
    *,
    need_boxes: bool,
    outside: Outside,
) -> tuple[BoxSet | None, int, int]:
    """Reads lines ``id,x0,y0,x1,y1``; returns the boxes, how many are sentinels, and how many were clipped.

    Args:
        path: the file.
        ids: N known ids.
        index: position of each id.
        sizes: ``[N, 2]`` width and height, or None where they are not known.
        need_boxes: every id must have a box.
        outside: refuse, clip or keep boxes that reach outside their image.

    Raises:
        DataError: a line is malformed, a box is reversed, beside its image or (with ``error``) partly outside, an id
            is unknown or lacks a box, or the sizes are missing.
    """
    lines = MetadataLines.read(path)
    if not len(lines) and not need_boxes:
        return None, 0, 0
    if not len(lines):
        raise DataError(f"Expected lines '{_BOX_FORM}' but the file is empty.", lines.path)
    cut = lines.split(_BOX_FORM) if lines.rows[0].count(",") >= 4 else _refuse_masks(lines)
    values = lines.integers(cut, _BOX_FORM)
    positions = lines.known_positions([fields[0] for fields in cut], index)
    if sizes is None:
        raise DataError(
            "Expected image sizes because localization.txt lists boxes in original pixels, but there are none; "
            "fix: write 'id,width,height' for every image.",
            path.with_name("image_sizes.txt"),
        )
    values, num_clipped = _checked_boxes(lines, values, sizes[positions], outside)
    counts = np.bincount(positions, minlength=len(ids))
    if need_boxes:
        lines.fail_if_missing(counts, ids, "box")
    boxes = BoxSet(
        ids=ids,
        boxes=values[np.argsort(positions, kind="stable")].astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        sizes=sizes,
    )
    return boxes, int((values == 0).all(axis=1).sum()), num_clipped


def read_masks(path: Path, ids: tuple[str, ...], index: Mapping[str, int], *, need_masks: bool) -> MaskTable:
    """Reads lines ``id,mask,ignore``; the ignore path may stand on the first line of an id only.

    An empty path or ``None`` means that there is no such file.

    Raises:
        DataError: a line is malformed or a box, a path climbs out of the root, an id is unknown or has no line.
    """
    lines = MetadataLines.read(path)
    numbers = lines.rows[0].rsplit(",", 4)[1:] if len(lines) else []
    if len(numbers) == 4 and all(field.strip().isdigit() for field in numbers):
        lines.fail(
            0,
            f"Expected masks 'id,mask,ignore' but got the box '{lines.rows[0]}'; fix: if this dataset is annotated "
            "with boxes, read it as boxes.",
        )
    cut = lines.split("id,mask,ignore")
    positions = lines.known_positions([fields[0] for fields in cut], index)
    if need_masks:
        lines.fail_if_missing(np.bincount(positions, minlength=len(ids)), ids, "mask line")
    masks: list[list[str]] = [[] for _ in ids]
    ignore = [""] * len(ids)
    seen: set[int] = set()
    for row, (position, (_, mask, ignored)) in enumerate(zip(positions.tolist(), cut, strict=True)):
        for file in (mask, ignored):
            problem = None if file in _NO_MASK else id_problem(file)
            if problem is not None:
                lines.fail(row, f"Expected a path under the dataset root but got '{file}': {problem}.")
        if mask not in _NO_MASK:
            masks[position].append(mask)
        if ignored not in _NO_MASK:
            if position in seen:
                lines.fail(
                    row, f"Expected the ignore path on the first line of '{ids[position]}' only but got '{ignored}'."
                )
            ignore[position] = ignored
        seen.add(position)
    return MaskTable.from_lists(ids, masks, tuple(ignore))


def listed_kind(path: Path) -> Literal["boxes", "masks", "unknown"]:
    """Tells what ``localization.txt`` lists, from its first line; ``unknown`` where it is absent, empty or neither."""
    if not path.is_file():
        return "unknown"
    with path.open(encoding="utf-8", errors="replace") as lines:
        first = next((line.strip() for line in lines if line.strip()), "")
    numbers = first.rsplit(",", 4)[1:]
    if len(numbers) == 4 and all(_is_number(text) for text in numbers):
        return "boxes"
    return "masks" if first.count(",") >= 2 else "unknown"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_masks(lines: MetadataLines) -> list[list[str]]:
    lines.fail(
        0,
        f"Expected boxes '{_BOX_FORM}' but got '{lines.rows[0]}'; fix: if this dataset is annotated with masks "
        "(as OpenImages is), read it as masks, it has no boxes.",
    )


def _checked_boxes(
    lines: MetadataLines, values: NDArray[np.int64], sizes: NDArray[np.int32], outside: Outside
) -> tuple[NDArray[np.int64], int]:
    """Checks ``[M, 4]`` boxes against ``[M, 2]`` sizes; returns them, cut where ``clip`` asks, and how many were."""
    last = sizes.astype(np.int64) - 1
    corner0, corner1 = values[:, :2], values[:, 2:]
    reversed_box: NDArray[np.bool_] = (corner1 - corner0).min(axis=1) < 0
    disjoint: NDArray[np.bool_] = np.minimum(corner1, last - corner0).min(axis=1) < 0
    reaching_out: NDArray[np.bool_] = np.minimum(corner0, last - corner1).min(axis=1) < 0
    refused = reversed_box | disjoint
    if outside == "error":
        refused |= reaching_out
    if refused.any():
        row = int(np.flatnonzero(refused)[0])
        width, height = sizes[row].tolist()
        more = f" (and {int(refused.sum()) - 1} more such lines)" if refused.sum() > 1 else ""
        what = "reversed" if reversed_box[row] else "beside the image" if disjoint[row] else "partly outside the image"
        fix = (
            "swap the corners"
            if reversed_box[row]
            else "check image_sizes.txt (width comes first) and the coordinates"
            if disjoint[row]
            else "correct the line, or read with outside='clip'"
        )
        lines.fail(
            row,
            f"Expected a box with 0 <= x0 <= x1 <= {width - 1} and 0 <= y0 <= y1 <= {height - 1} in an image of "
            f"{width}x{height} but got {','.join(map(str, values[row].tolist()))}, which is {what}{more}; fix: {fix}.",
        )
    if outside == "keep" or not reaching_out.any():
        return values, 0
    limits = np.concatenate([last, last], axis=1)
    return np.clip(values, 0, limits), int(reaching_out.sum())
