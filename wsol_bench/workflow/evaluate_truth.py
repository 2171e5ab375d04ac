"""What maps are scored against: boxes or masks from a metadata folder, read by the judge only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.four_file import IDS, LOCALIZATION, FourFile, read_four_file
from wsol_bench.annotations.localization import listed_kind
from wsol_bench.annotations.masks import MaskFiles, MaskTable
from wsol_bench.errors import DataError, UsageError
from wsol_bench.maps.dialects import SAT_FRAME, sat_ground_truth
from wsol_bench.metrics.bootstrap import image_keys


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of a split in the square frame.

    Attributes:
        folder: the metadata folder.
        split: its name, for the ledger and results.
        ids: N image ids.
        keys: ``[N]`` uint64, one key per id.
        labels: ``[N]`` class indices.
        frame: side of the frame in pixels.
        boxes: ``[M, 4]`` int32 in the frame, empty for masks.
        offsets: ``[N + 1]`` int64.
        masks: mask files, None for boxes.
        mask_root: folder of the mask files.
        num_clipped: boxes that reached outside their image and were cut to it.
    """

    folder: Path
    split: str
    ids: tuple[str, ...]
    keys: NDArray[np.uint64]
    labels: NDArray[np.int64]
    frame: int
    boxes: NDArray[np.int32]
    offsets: NDArray[np.int64]
    masks: MaskTable | None
    mask_root: Path | None
    num_clipped: int

    def boxes_of(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Returns boxes and offsets of some images, in that order."""
        parts = [self.boxes[self.offsets[p] : self.offsets[p + 1]] for p in positions]
        counts = np.asarray([len(part) for part in parts], dtype=np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return np.concatenate([np.zeros((0, 4), np.int32), *parts]), offsets

    def mask_of(self, position: int) -> NDArray[np.uint8]:
        """Returns the mask ``[frame, frame]`` of an image: 1 object, 0 background, 255 ignore.

        See :meth:`wsol_bench.annotations.masks.MaskSet.draw`.

        Raises:
            DataError: a mask file is missing or no image; names the file.
        """
        if self.masks is None or self.mask_root is None:
            raise UsageError("Expected mask files but this split has boxes; fix: pass masks=DIR (--masks).")
        root = self.mask_root
        return MaskFiles(self.masks, lambda name: root / name).draw(position, self.frame, self.frame)

    def digest(self) -> str:
        """Returns a short text that differs between splits, label or box sets, and frames."""
        content = hashlib.blake2b(digest_size=8)
        for array in (self.keys, self.labels, self.boxes, self.offsets, np.asarray(self.frame)):
            content.update(np.ascontiguousarray(array).tobytes())
        if self.masks is not None:
            content.update("\n".join((*self.masks.masks, *self.masks.ignore)).encode())
        return content.hexdigest()


def read_truth(
    metadata: Path, *, masks: Path | None, frame: int, split: str | None = None, dialect: str = "choe2020"
) -> Truth:
    """Reads the ground truth of one split; must be called inside :func:`wsol_bench.annotations.firewall.judging`.

    Args:
        metadata: a folder in the four-file format, or a folder above it.
        masks: root of the mask files if ``localization.txt`` lists masks (OpenImages); None for boxes.
        frame: side of the frame in pixels.
        split: which of several folders to take.
        dialect: ``sat`` takes boxes into the central crop, every other one into the whole image.

    Raises:
        DataError: files are missing or malformed.
        UsageError: several folders fit, or ``masks`` does not fit the content.
    """
    folder = find_metadata(metadata, split)
    _check_kind(folder, masks)
    firewall.read("gt", folder.name)
    file = read_four_file(folder, kind="boxes" if masks is None else "masks", outside="clip")
    return Truth(
        folder=folder,
        split=folder.name,
        ids=file.ids,
        keys=image_keys(file.ids),
        labels=file.labels,
        frame=frame,
        boxes=_boxes(file, frame, dialect),
        offsets=np.zeros(len(file) + 1, np.int64) if file.boxes is None else file.boxes.offsets,
        masks=file.masks,
        mask_root=masks,
        num_clipped=file.num_clipped,
    )


def find_metadata(metadata: Path, split: str | None = None) -> Path:
    """Returns the folder that holds ``image_ids.txt``: ``metadata`` itself or the only one below it.

    Args:
        metadata: where to look, up to three levels deep (``<dataset>/<split>/``).
        split: name of the folder, where there are several.

    Raises:
        DataError: there is none.
        UsageError: there are several; lists them.
    """
    if (metadata / IDS).is_file():
        return metadata.resolve()
    found = sorted({path.parent for depth in ("*", "*/*", "*/*/*") for path in metadata.glob(f"{depth}/{IDS}")})
    fitting = [folder for folder in found if split is None or folder.name == split]
    if len(fitting) == 1:
        return fitting[0].resolve()
    if not found:
        raise DataError(
            f"Expected a metadata folder with {IDS} here or below but there is none; fix: give the folder of one "
            "split, like metadata/CUB/test.",
            metadata,
        )
    listed = ", ".join(str(folder.relative_to(metadata)) for folder in found)
    raise UsageError(
        f"Expected one metadata folder{f' named {split!r}' if split else ''} under {metadata} but {len(fitting)} of "
        f"these fit: {listed}; fix: give the one you mean, or its split (--split)."
    )


def _check_kind(folder: Path, masks: Path | None) -> None:
    kind = listed_kind(folder / LOCALIZATION)
    if kind == "masks" and masks is None:
        raise UsageError(
            f"Expected boxes in {folder / LOCALIZATION} but it lists mask files; fix: pass their root folder as "
            "masks=DIR (--masks DIR) to score PxAP."
        )
    if kind == "boxes" and masks is not None:
        raise UsageError(
            f"Expected mask files in {folder / LOCALIZATION} because masks were given, but it lists boxes; fix: leave "
            "out --masks."
        )
    if masks is not None and not masks.is_dir():
        raise UsageError(f"Expected a folder of masks but there is no {masks}; fix: check the path of --masks.")


def _boxes(file: FourFile, frame: int, dialect: str) -> NDArray[np.int32]:
    if file.boxes is None:
        return np.zeros((0, 4), np.int32)
    if dialect != "sat":
        return file.boxes.in_frame(frame, frame)
    if frame != SAT_FRAME:
        raise UsageError(f"Expected a frame of {SAT_FRAME} for the dialect 'sat', its crop, but got {frame}.")
    sizes = np.repeat(file.boxes.sizes, np.diff(file.boxes.offsets), axis=0).tolist()
    cropped = [
        sat_ground_truth(tuple(box), tuple(size)) for box, size in zip(file.boxes.boxes.tolist(), sizes, strict=True)
    ]
    return np.asarray(cropped, dtype=np.int32).reshape(-1, 4)
