"""The record of one run, epoch and split: what the model predicted on each image, stored once as Parquet.

Per image: id, label, the top-5 classes with their softmax scores, the peak of the map, the largest value of the 8-bit
map, the box of the per-image Otsu threshold, and the box curve (:class:`~wsol_bench.maps.curves.BoxCurves`). Maps are
those of the ground-truth class, in the dataset's square frame. No box of the dataset is ever part of a record.

Box curves are most of a record, and the judge reads thousands of records: each image's steps are stored as raw
little-endian numbers in binary columns (``cuts`` uint8; ``x0``, ``y0``, ``x1``, ``y1`` int16), one coordinate after the
other, which takes half of the space of nested lists and a quarter of their time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wsol_bench.atomic import whole_file
from wsol_bench.errors import RecordError
from wsol_bench.maps.curves import BoxCurves

RECORD_VERSION = 2
"""Raised when the layout or the meaning of a column changes; older files are refused, not guessed at."""

NO_CLASS = -1
"""Fills ``top5`` where a dataset has fewer than five classes."""


@dataclass(frozen=True)
class RunRecord:
    """Predictions of one epoch on one split of N images.

    Attributes:
        ids: N image ids, in the order of the split.
        labels: ``[N]`` int16 ground-truth classes.
        top5: ``[N, 5]`` int16 predicted classes, best first, lower index first on ties, :data:`NO_CLASS` where absent.
        top5_scores: ``[N, 5]`` float32 softmax scores of ``top5``.
        peaks: ``[N, 2]`` int16 x and y of the map's first maximum in the frame; -1, -1 for a constant map.
        otsu_boxes: ``[N, 4]`` int16 box at the image's own Otsu threshold.
        curves: box curves of the N maps.
        frame: side of the square frame in pixels.
        maps: ``[N, h, w]`` float16 in [0, 1], the maps at the method's own resolution, stretched by their minimum and
            maximum; or None.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int16]
    top5: NDArray[np.int16]
    top5_scores: NDArray[np.float32]
    peaks: NDArray[np.int16]
    otsu_boxes: NDArray[np.int16]
    curves: BoxCurves
    frame: int
    maps: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def top1_hits(self) -> NDArray[np.bool_]:
        """``[N]`` whether the best class is the label."""
        hits: NDArray[np.bool_] = self.top5[:, 0] == self.labels
        return hits

    @property
    def top5_hits(self) -> NDArray[np.bool_]:
        """``[N]`` whether the label is among the five best classes."""
        hits: NDArray[np.bool_] = (self.top5 == self.labels[:, None]).any(axis=1)
        return hits


def write_record(path: Path, record: RunRecord, context: dict[str, str]) -> None:
    """Writes a record whole; equal records with equal contexts give equal bytes.

    Args:
        path: the ``.parquet`` file.
        record: what to write.
        context: provenance kept in the file's metadata (trial id, dataset version, split, epoch, ...).

    Raises:
        WsolBenchError: the folder cannot be written, or the disk is full.
    """
    columns: dict[str, pa.Array] = {
        "id": pa.array(record.ids, pa.string()),
        "label": pa.array(record.labels, pa.int16()),
        "top5": _fixed(record.top5),
        "top5_score": _fixed(record.top5_scores),
        "peak": _fixed(record.peaks),
        "otsu_box": _fixed(record.otsu_boxes),
        "max_level": pa.array(record.curves.max_levels),
        "cuts": _raw(record.curves.cuts, record.curves.offsets),
        **{
            name: _raw(record.curves.boxes[:, place].astype("<i2"), record.curves.offsets)
            for place, name in enumerate(_COORDINATES)
        },
    }
    if record.maps is not None:
        columns["map"] = pa.array([one.tobytes() for one in record.maps], pa.binary())
        context = context | {"map_shape": f"{record.maps.shape[1]}x{record.maps.shape[2]}"}
    metadata = context | {"record_version": str(RECORD_VERSION), "frame": str(record.frame)}
    table = pa.table(columns).replace_schema_metadata(metadata)
    plain = [name for name in columns if name not in ("cuts", "map", *_COORDINATES)]
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True, use_dictionary=plain)


def read_record(path: Path, *, with_maps: bool = False) -> RunRecord:
    """Reads a record.

    Args:
        path: the ``.parquet`` file.
        with_maps: also read the maps, where they were kept.

    Raises:
        RecordError: the file is missing, damaged, or of another record version.
    """
    try:
        # One opening for schema and columns: the judge reads thousands of files.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = _metadata(path, file)
            table = file.read(None if with_maps else _COLUMNS, use_threads=False).combine_chunks()
    except FileNotFoundError as error:
        raise missing_record(path) from error
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path}: damaged record ({error}); {_FIX}") from error
    cuts, offsets = _numbers(table, "cuts", np.dtype(np.uint8))
    planes = np.empty((4, len(cuts)), dtype=np.int16)
    for place, name in enumerate(_COORDINATES):
        planes[place], own_offsets = _numbers(table, name, np.dtype("<i2"))
        if not np.array_equal(own_offsets, offsets):
            raise RecordError(f"{path}: damaged record (the column '{name}' does not fit 'cuts'); {_FIX}")
    curves = BoxCurves(
        max_levels=_column(table, "max_level").to_numpy(zero_copy_only=False),
        cuts=cuts,
        boxes=planes.T,
        offsets=offsets,
    )
    return RunRecord(
        ids=tuple(table.column("id").to_pylist()),
        labels=_column(table, "label").to_numpy(zero_copy_only=False),
        top5=_matrix(table, "top5", 5),
        top5_scores=_matrix(table, "top5_score", 5),
        peaks=_matrix(table, "peak", 2),
        otsu_boxes=_matrix(table, "otsu_box", 4),
        curves=curves,
        frame=int(metadata["frame"]),
        maps=_maps(table, metadata) if with_maps else None,
    )


def has_maps(path: Path) -> bool:
    """Tells whether a record holds maps, from its schema alone.

    Raises:
        RecordError: the file is missing, damaged, or of another record version.
    """
    try:
        with pq.ParquetFile(path) as file:
            _metadata(path, file)
            return "map" in file.schema_arrow.names
    except FileNotFoundError as error:
        raise missing_record(path) from error
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path}: damaged record ({error}); {_FIX}") from error


def missing_record(path: Path) -> RecordError:
    """Returns the error for a record that is not there."""
    return RecordError(f"{path}: the record does not exist; {_FIX}")


_COORDINATES = ("x0", "y0", "x1", "y1")
_COLUMNS = ["id", "label", "top5", "top5_score", "peak", "otsu_box", "max_level", "cuts", *_COORDINATES]
_FIX = "fix: delete the folder of its trial (the one with config.yaml) and run 'wsol-bench sweep' again."


def _metadata(path: Path, file: pq.ParquetFile) -> dict[str, str]:
    raw = file.schema_arrow.metadata or {}
    metadata = {key.decode(): value.decode(errors="replace") for key, value in raw.items()}
    version = metadata.get("record_version")
    if version != str(RECORD_VERSION):
        raise RecordError(
            f"{path}: expected record version {RECORD_VERSION} but got {version}; fix: run the trial again in another "
            "--workspace, or use the version of wsol-bench that wrote it."
        )
    return metadata


def _fixed(matrix: NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).reshape(-1)), matrix.shape[1])


def _raw(numbers: NDArray[Any], offsets: NDArray[np.int64]) -> pa.Array:
    """Stores the numbers of each image as bytes."""
    places = pa.py_buffer((offsets * numbers.itemsize).astype(np.int32))
    return pa.Array.from_buffers(
        pa.binary(), len(offsets) - 1, [None, places, pa.py_buffer(np.ascontiguousarray(numbers))]
    )


def _numbers(table: pa.Table, name: str, kind: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Returns all numbers of a binary column and the ``[N + 1]`` offsets of the images."""
    column = _column(table, name)
    if not len(column):
        return np.zeros(0, dtype=kind), np.zeros(1, dtype=np.int64)
    _, places, numbers = column.buffers()
    ends = np.frombuffer(places, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    taken = memoryview(numbers)[ends[0] : ends[-1]] if numbers is not None else b""
    return np.frombuffer(taken, dtype=kind), (ends - ends[0]).astype(np.int64) // kind.itemsize


def _column(table: pa.Table, name: str) -> Any:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _matrix(table: pa.Table, name: str, width: int) -> NDArray[Any]:
    values: NDArray[Any] = _column(table, name).flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, width)


def _maps(table: pa.Table, metadata: dict[str, str]) -> NDArray[np.float16] | None:
    if "map" not in table.column_names:
        return None
    height, width = (int(side) for side in metadata["map_shape"].split("x"))
    return np.frombuffer(b"".join(table.column("map").to_pylist()), dtype=np.float16).reshape(-1, height, width)
