"""The four-file metadata format of Choe et al. (2020), read with errors that name file and line, and written whole.

One folder per dataset and split: ``image_ids.txt``, ``class_labels.txt``, ``image_sizes.txt``, ``localization.txt``
and, optionally, ``image_ids_proxy.txt`` (a smaller set for searches). Source: ``clovaai/wsolevaluation``, folder
``metadata``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.image_ids import id_problem
from wsol_bench.annotations.localization import Outside, read_boxes, read_masks
from wsol_bench.annotations.masks import MaskTable
from wsol_bench.annotations.metadata_lines import MetadataLines
from wsol_bench.atomic import whole_folder
from wsol_bench.errors import DataError, unknown_choice

IDS, LABELS, SIZES, LOCALIZATION, PROXY = (
    "image_ids.txt",
    "class_labels.txt",
    "image_sizes.txt",
    "localization.txt",
    "image_ids_proxy.txt",
)
Kind = Literal["labels", "boxes", "masks"]


@dataclass(frozen=True, eq=False)
class FourFile:
    """The content of one metadata folder.

    Attributes:
        folder: where it was read.
        ids: N image ids, in the order of ``image_ids.txt``.
        labels: ``[N]`` int64 class indices, not negative.
        sizes: ``[N, 2]`` int32, original width and height, or None where ``image_sizes.txt`` is empty.
        boxes: the boxes, when they were asked for and there are any.
        masks: the mask paths, when they were asked for.
        proxy_ids: the ids of ``image_ids_proxy.txt``, or None without that file.
        num_sentinels: boxes ``0,0,0,0``, which stand for "nothing found"; they are kept.
        num_clipped: boxes that reached outside their image and were cut to it.
    """

    folder: Path
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int32] | None
    boxes: BoxSet | None
    masks: MaskTable | None
    proxy_ids: tuple[str, ...] | None
    num_sentinels: int
    num_clipped: int

    def __len__(self) -> int:
        return len(self.ids)

    def proxy_rows(self) -> list[int]:
        """Returns the rows of the reduced training set.

        Raises:
            DataError: the folder has no ``image_ids_proxy.txt``.
        """
        if self.proxy_ids is None:
            raise DataError(f"Expected {PROXY} because the proxy training set was asked for.", self.folder)
        row_of = {image_id: row for row, image_id in enumerate(self.ids)}
        return [row_of[image_id] for image_id in self.proxy_ids]


def read_four_file(
    folder: Path, *, kind: Kind = "boxes", need_boxes: bool = True, outside: Outside = "error"
) -> FourFile:
    """Reads one metadata folder and checks that its files agree.

    Args:
        folder: holds the four files.
        kind: what ``localization.txt`` lists; ``labels`` leaves that file closed.
        need_boxes: every image must have a box (or mask line); otherwise images without any are accepted.
        outside: what to do with a box that reaches outside its image: refuse it, clip and count it, or keep it as it
            is. The pseudo-boxes released with the realistic protocol touch ``x1 = W`` and need ``clip``; ``keep``
            repeats published numbers to the last digit.

    Raises:
        DataError: a file is missing or malformed, ids repeat or differ between files, a label is negative, a box is
            reversed or outside its image; with file and line.
    """
    if kind not in get_args(Kind):
        raise unknown_choice("kind", kind, get_args(Kind))
    if outside not in get_args(Outside):
        raise unknown_choice("outside", outside, get_args(Outside))
    if not folder.is_dir():
        raise DataError(
            f"Expected a folder with {IDS}, {LABELS}, {SIZES} and {LOCALIZATION} but it does not exist.", folder
        )
    id_lines = MetadataLines.read(folder / IDS)
    ids = id_lines.ids()
    if not ids:
        raise DataError("Expected at least one image id but the file is empty.", folder / IDS)
    index = {image_id: i for i, image_id in enumerate(ids)}
    sizes = _read_sizes(folder, ids, index)
    boxes, masks, sentinels, clipped = None, None, 0, 0
    if kind == "boxes":
        boxes, sentinels, clipped = read_boxes(
            folder / LOCALIZATION, ids, index, sizes, need_boxes=need_boxes, outside=outside
        )
    elif kind == "masks":
        masks = read_masks(folder / LOCALIZATION, ids, index, need_masks=need_boxes)
    return FourFile(
        folder=folder,
        ids=ids,
        labels=_read_labels(folder, ids, index),
        sizes=sizes,
        boxes=boxes,
        masks=masks,
        proxy_ids=_read_proxy(folder, index),
        num_sentinels=sentinels,
        num_clipped=clipped,
    )


def write_four_file(
    folder: Path,
    *,
    ids: Sequence[str],
    labels: ArrayLike,
    sizes: ArrayLike | None = None,
    boxes: BoxSet | None = None,
    masks: MaskTable | None = None,
    proxy_ids: Sequence[str] | None = None,
    extra: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes one metadata folder, which appears complete or not at all.

    Args:
        folder: the folder to create; parents are made.
        ids: N unique image ids.
        labels: ``[N]`` class indices.
        sizes: ``[N, 2]`` width and height; those of ``boxes`` when not given, an empty file when neither is.
        boxes: boxes of exactly these ids in this order; or
        masks: mask paths of exactly these ids in this order.
        proxy_ids: a subset of ``ids`` for ``image_ids_proxy.txt``.
        extra: more text files by name, for instance ``{"card.yaml": ...}``.
        overwrite: replace a folder that is already there.

    Raises:
        DataError: the parts do not fit together, or ``folder`` exists and ``overwrite`` is off.
    """
    ids = tuple(ids)
    label_array = np.asarray(labels, dtype=np.int64)
    if sizes is None and boxes is not None:
        sizes = boxes.sizes
    size_array = None if sizes is None else np.asarray(sizes, dtype=np.int64)
    _check_parts(folder, ids, label_array, size_array, boxes, masks, proxy_ids)
    files: dict[str, Iterable[str]] = {
        IDS: ids,
        LABELS: (f"{image_id},{label}" for image_id, label in zip(ids, label_array.tolist(), strict=True)),
        SIZES: ()
        if size_array is None
        else (f"{image_id},{w},{h}" for image_id, (w, h) in zip(ids, size_array.tolist(), strict=True)),
        LOCALIZATION: _localization_lines(boxes, masks),
    }
    if proxy_ids is not None:
        files[PROXY] = tuple(proxy_ids)
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in files.items()} | dict(extra or {})
    try:
        with whole_folder(folder, overwrite=overwrite) as unfinished:
            for name, text in texts.items():
                (unfinished / name).write_text(text, encoding="utf-8", newline="\n")
    except FileExistsError:
        raise DataError(
            "Expected a new folder but it exists already; fix: choose another name, or overwrite it.", folder
        ) from None


def _read_labels(folder: Path, ids: tuple[str, ...], index: Mapping[str, int]) -> NDArray[np.int64]:
    lines = MetadataLines.read(folder / LABELS)
    cut = lines.split("id,label")
    values = lines.integers(cut, "id,label")[:, 0]
    negative = np.flatnonzero(values < 0)
    if negative.size:
        lines.fail(int(negative[0]), f"Expected a class label >= 0 but got {values[negative[0]]}.")
    labels = np.empty(len(ids), dtype=np.int64)
    labels[lines.one_row_per_id([fields[0] for fields in cut], ids, index)] = values
    return labels


def _read_sizes(folder: Path, ids: tuple[str, ...], index: Mapping[str, int]) -> NDArray[np.int32] | None:
    if not (folder / SIZES).exists():
        return None
    lines = MetadataLines.read(folder / SIZES)
    if not len(lines):
        return None
    cut = lines.split("id,width,height")
    values = lines.integers(cut, "id,width,height")
    bad = np.flatnonzero((values < 1).any(axis=1))
    if bad.size:
        lines.fail(int(bad[0]), f"Expected width and height >= 1 but got {values[bad[0], 0]},{values[bad[0], 1]}.")
    sizes = np.empty((len(ids), 2), dtype=np.int32)
    sizes[lines.one_row_per_id([fields[0] for fields in cut], ids, index)] = values
    return sizes


def _read_proxy(folder: Path, index: Mapping[str, int]) -> tuple[str, ...] | None:
    if not (folder / PROXY).exists():
        return None
    lines = MetadataLines.read(folder / PROXY)
    ids = lines.ids()
    lines.known_positions(ids, index)
    return ids


def _check_parts(
    folder: Path,
    ids: tuple[str, ...],
    labels: NDArray[np.int64],
    sizes: NDArray[np.int64] | None,
    boxes: BoxSet | None,
    masks: MaskTable | None,
    proxy_ids: Sequence[str] | None,
) -> None:
    for image_id in (*ids, *(masks.masks if masks else ()), *(filter(None, masks.ignore) if masks else ())):
        problem = id_problem(image_id)
        if problem is not None:
            raise DataError(f"Expected paths under the dataset root but got '{image_id}': {problem}.", folder)
    if not ids or len(set(ids)) != len(ids):
        raise DataError(f"Expected unique image ids but got {len(ids)} ids, {len(set(ids))} of them distinct.", folder)
    if labels.shape != (len(ids),) or (labels < 0).any():
        raise DataError(
            f"Expected {len(ids)} class labels >= 0 but got an array {labels.shape}, minimum {labels.min()}.", folder
        )
    if sizes is not None and (sizes.shape != (len(ids), 2) or (sizes < 1).any()):
        raise DataError(f"Expected {len(ids)} x (width, height) >= 1 but got an array of shape {sizes.shape}.", folder)
    if boxes is not None and masks is not None:
        raise DataError("Expected boxes or masks but got both; localization.txt holds one of them.", folder)
    for part in (boxes, masks):
        if part is not None and part.ids != ids:
            raise DataError(f"Expected annotations of the {len(ids)} ids, in their order, but got other ids.", folder)
    if boxes is not None and (boxes.boxes[:, 2:] < boxes.boxes[:, :2]).any():
        raise DataError("Expected boxes with x0 <= x1 and y0 <= y1 but got reversed ones.", folder)
    if masks is not None and any("," in path for path in (*masks.masks, *masks.ignore)):
        raise DataError("Expected mask paths without commas: the format cannot tell them apart.", folder)
    strangers = set(proxy_ids or ()) - set(ids)
    if strangers:
        raise DataError(f"Expected proxy ids among the ids but got '{min(strangers)}'.", folder)


def _localization_lines(boxes: BoxSet | None, masks: MaskTable | None) -> Iterable[str]:
    if boxes is not None:
        owners = np.repeat(np.arange(len(boxes)), np.diff(boxes.offsets)).tolist()
        for owner, (x0, y0, x1, y1) in zip(owners, boxes.boxes.tolist(), strict=True):
            yield f"{boxes.ids[owner]},{x0},{y0},{x1},{y1}"
    if masks is not None:
        for i, image_id in enumerate(masks.ids):
            for k, mask in enumerate(masks.of(i) or ("",)):
                yield f"{image_id},{mask},{masks.ignore[i] if k == 0 else ''}"
