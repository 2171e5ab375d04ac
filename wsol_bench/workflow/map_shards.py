"""Maps in Parquet shards: few large files instead of one small file per image.

Schema, one row per map: ``id`` string, ``height`` int32, ``width`` int32, ``dtype`` string (``float16``, ``float32``,
``float64`` or ``uint8``), ``data`` binary (the pixels row by row, little-endian). Row groups are small, so that readers
hold a few maps at a time whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.atomic import whole_file
from wsol_bench.errors import DataError, UsageError

COLUMNS = ("id", "height", "width", "dtype", "data")
DTYPES = ("float16", "float32", "float64", "uint8")

_ROW_GROUP = 64


def write_map_shards(
    folder: Path, maps: Iterable[tuple[str, NDArray[Any]]], *, maps_per_shard: int = 4096
) -> list[Path]:
    """Writes maps into ``folder/maps-00000.parquet`` and following.

    Args:
        folder: made if needed.
        maps: pairs of image id and map ``[H, W]``; read one at a time.
        maps_per_shard: maps in one file.

    Returns:
        The files written, each of them whole.

    Raises:
        UsageError: a map is not two-dimensional or has another dtype, or ``maps_per_shard`` is not positive.
    """
    if maps_per_shard < 1:
        raise UsageError(f"Expected maps_per_shard to be at least 1 but got {maps_per_shard}.")
    paths: list[Path] = []
    source = iter(maps)
    first = next(source, None)
    while first is not None:
        path = folder / f"maps-{len(paths):05d}.parquet"
        first = _write_shard(path, first, source, maps_per_shard)
        paths.append(path)
    return paths


def shard_ids(path: Path) -> list[list[str]]:
    """Returns the image ids of each row group of a shard, without reading any map.

    Raises:
        DataError: the file is not Parquet, or lacks a column.
    """
    file = _open(path)
    groups = range(file.metadata.num_row_groups)
    return [file.read_row_group(group, columns=["id"]).column("id").to_pylist() for group in groups]


def read_row_group(path: Path, group: int, batch_size: int) -> Iterator[list[tuple[str, NDArray[Any]]]]:
    """Yields the maps of one row group in batches of at most ``batch_size`` pairs of id and map.

    Raises:
        DataError: the file is damaged, or a row contradicts itself.
    """
    import pyarrow

    file = _open(path)
    try:
        for batch in file.iter_batches(batch_size, row_groups=[group], columns=list(COLUMNS), use_threads=False):
            columns = [batch.column(name) for name in COLUMNS]
            yield [_decoded(path, *(column[row] for column in columns)) for row in range(batch.num_rows)]
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"Expected Parquet rows but reading failed: {error}; fix: write the shard again.", path
        ) from error


def _write_shard(
    path: Path, first: tuple[str, NDArray[Any]], rest: Iterator[tuple[str, NDArray[Any]]], limit: int
) -> tuple[str, NDArray[Any]] | None:
    """Writes one file and returns the first pair that no longer fits."""
    import pyarrow as pa
    from pyarrow import parquet

    types = (pa.string(), pa.int32(), pa.int32(), pa.string(), pa.large_binary())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    pending: tuple[str, NDArray[Any]] | None = first
    written = 0
    with whole_file(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while pending is not None and written < limit:
            rows: list[dict[str, Any]] = []
            while pending is not None and len(rows) < min(_ROW_GROUP, limit - written):
                rows.append(_encoded(*pending))
                pending = next(rest, None)
            writer.write_table(pa.Table.from_pylist(rows, schema))
            written += len(rows)
    return pending


def _encoded(image_id: str, values: NDArray[Any]) -> dict[str, Any]:
    if values.ndim != 2 or values.dtype.name not in DTYPES:
        raise UsageError(
            f"Expected the map of '{image_id}' as [H, W] of one of ({', '.join(DTYPES)}) but got {values.dtype} "
            f"{list(values.shape)}."
        )
    height, width = values.shape
    data = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    return dict(zip(COLUMNS, (image_id, height, width, values.dtype.name, data), strict=True))


def _decoded(path: Path, image_id: Any, height: Any, width: Any, dtype: Any, data: Any) -> tuple[str, NDArray[Any]]:
    name, shape = dtype.as_py(), (height.as_py(), width.as_py())
    if name not in DTYPES or None in shape or min(shape) < 1 or data.as_buffer() is None:
        raise DataError(
            f"Expected height and width >= 1 and a dtype among ({', '.join(DTYPES)}) for '{image_id}' but got {shape} "
            f"and '{name}'.",
            path,
        )
    kind = np.dtype(name).newbyteorder("<")
    buffer = data.as_buffer()
    if buffer.size != shape[0] * shape[1] * kind.itemsize:
        raise DataError(
            f"Expected {shape[0]}x{shape[1]} values of {name} for '{image_id}' but got {buffer.size} bytes; fix: write "
            "the shard again.",
            path,
        )
    return image_id.as_py(), np.frombuffer(buffer, dtype=kind).reshape(shape)


def _open(path: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path, memory_map=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"Expected a Parquet file but it cannot be read: {error}; fix: write it again.", path
        ) from error
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise DataError(
            f"Expected the columns {', '.join(COLUMNS)} but {', '.join(missing)} are missing; fix: write maps with "
            "wsol_bench.workflow.map_shards.write_map_shards.",
            path,
        )
    return file
