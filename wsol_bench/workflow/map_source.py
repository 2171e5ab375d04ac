"""Where maps come from: a folder of ``<image id>.npy`` files, Parquet shards of maps, or both."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import DataError
from wsol_bench.workflow.map_checks import IssueLog
from wsol_bench.workflow.map_shards import read_row_group, shard_ids


@dataclass(frozen=True)
class RawMap:
    """A map as stored.

    Attributes:
        position: which of the wanted ids it belongs to.
        values: the array.
        where: file, or file and id, for messages.
        missing: there was none; ``values`` is a stand-in.
    """

    position: int
    values: NDArray[Any]
    where: str
    missing: bool = False


@dataclass(frozen=True)
class NpyBatch:
    """Some ``.npy`` files, by position of their image."""

    paths: dict[int, Path]

    def read(self) -> Iterator[list[RawMap]]:
        """Yields the maps as one batch.

        Raises:
            DataError: a file is truncated or no array; names the file.
        """
        yield [RawMap(position, read_npy(path), str(path)) for position, path in self.paths.items()]


@dataclass(frozen=True)
class RowGroup:
    """One row group of a Parquet shard; ``wanted`` maps row numbers to positions."""

    path: Path
    group: int
    wanted: dict[int, int]
    batch_size: int

    def read(self) -> Iterator[list[RawMap]]:
        """Yields the wanted maps in batches.

        Raises:
            DataError: the file is damaged.
        """
        row = 0
        for batch in read_row_group(self.path, self.group, self.batch_size):
            kept = []
            for image_id, values in batch:
                if row in self.wanted:
                    kept.append(RawMap(self.wanted[row], values, f"{self.path} ('{image_id}')"))
                row += 1
            if kept:
                yield kept


@dataclass(frozen=True)
class MissingMaps:
    """Images without a map, by position; maps of zeros stand in for them."""

    positions: Sequence[int]
    frame: int

    def read(self) -> Iterator[list[RawMap]]:
        """Yields the stand-ins as one batch."""
        blank = np.zeros((self.frame, self.frame), dtype=np.uint8)
        yield [RawMap(position, blank, "no map", missing=True) for position in self.positions]


Piece = NpyBatch | RowGroup | MissingMaps


def open_maps(
    maps: Path, ids: Sequence[str], wanted: range, issues: IssueLog, *, frame: int, batch_size: int = 32
) -> list[Piece]:
    """Finds the map of each image and returns pieces that can be read independently, each position in one of them.

    The file of image ``a/b.jpg`` is ``a/b.jpg.npy``, as the reference evaluator writes it, or ``a/b.npy``. Parquet
    files may lie anywhere in the folder; for their schema see :mod:`wsol_bench.workflow.map_shards`.

    Args:
        maps: a folder, or one Parquet file.
        ids: the image ids of the whole split.
        wanted: positions in ``ids`` that are scored (all, or those of one shard).
        issues: takes the missing, extra and duplicate maps.
        frame: side of the stand-ins for missing maps.
        batch_size: maps read at a time.

    Raises:
        DataError: there is no such folder, it holds no maps, or none of the ids.
    """
    if not maps.exists():
        raise DataError(
            "Expected a folder of .npy maps or a Parquet file but there is none; fix: check the path.", maps
        )
    npy, shards = ([], [maps]) if maps.is_file() else _list_files(maps)
    positions = {image_id: position for position, image_id in enumerate(ids)}
    found: dict[int, Path] = {}
    extra: list[str] = []
    duplicate: list[int] = []
    for path, position in _matched(maps, npy, positions, ids):
        if position is None:
            extra.append(str(path.relative_to(maps)))
        elif position in found:
            duplicate.append(position)
        else:
            found[position] = path
    row_groups: list[RowGroup] = []
    in_shards: set[int] = set()
    for shard in shards:
        for group, group_ids in enumerate(shard_ids(shard)):
            rows: dict[int, int] = {}
            for row, image_id in enumerate(group_ids):
                at = positions.get(image_id)
                if at is None:
                    extra.append(f"{shard.name} ('{image_id}')")
                elif at in found or at in in_shards:
                    duplicate.append(at)
                else:
                    in_shards.add(at)
                    if at in wanted:
                        rows[row] = at
            if rows:
                row_groups.append(RowGroup(shard, group, rows, batch_size))
    if not found and not in_shards:
        raise DataError(_nothing_found(npy, shards, ids, extra), maps)
    missing = [position for position in wanted if position not in found and position not in in_shards]
    repeated = sorted({position for position in duplicate if position in wanted})
    if missing:
        issues.note("missing", ids[missing[0]], len(missing))
    if repeated:
        issues.note("duplicate", ids[repeated[0]], len(repeated))
    # Every shard of a split sees the same strangers: the first one reports them for all.
    if extra and 0 in wanted:
        issues.note("extra", extra[0], len(extra))
    files = [position for position in wanted if position in found]
    return [
        *(NpyBatch({position: found[position] for position in batch}) for batch in _batches(files, batch_size)),
        *row_groups,
        *(MissingMaps(batch, frame) for batch in _batches(missing, batch_size)),
    ]


def read_npy(path: Path) -> NDArray[Any]:
    """Reads one array.

    Raises:
        DataError: the file is truncated, pickled or something else; names the file.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"Expected a whole .npy file but reading failed: {error}; fix: save it again.", path) from error
    if not isinstance(values, np.ndarray):
        raise DataError("Expected one array in .npy format but got an .npz archive; fix: use np.save.", path)
    return values


def _batches(positions: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (positions[start : start + size] for start in range(0, len(positions), size))


def _matched(
    maps: Path, files: Sequence[Path], positions: dict[str, int], ids: Sequence[str]
) -> Iterator[tuple[Path, int | None]]:
    """Pairs files with positions; exact names come first, so that they win over shortened ones."""
    stems = [str(PurePosixPath(image_id).with_suffix("")) for image_id in ids]
    often = Counter(stems)
    shortened = {stem: position for position, stem in enumerate(stems) if often[stem] == 1}
    rest = []
    for path in files:
        name = path.relative_to(maps).as_posix().removesuffix(".npy")
        if name in positions:
            yield path, positions[name]
        else:
            rest.append((path, name))
    for path, name in rest:
        yield path, shortened.get(name)


def _list_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the ``.npy`` and ``.parquet`` files under a folder, sorted; follows links, but not in circles."""
    files = sorted(_walk(str(folder), (os.path.realpath(folder),)))
    npy, parquet = ([Path(name) for name in files if name.endswith(suffix)] for suffix in (".npy", ".parquet"))
    return npy, parquet


def _walk(folder: str, above: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                yield entry.path
                continue
            real = os.path.realpath(entry.path)
            if real not in above:
                yield from _walk(entry.path, (*above, real))


def _nothing_found(npy: Sequence[Path], shards: Sequence[Path], ids: Sequence[str], extra: Sequence[str]) -> str:
    if not npy and not shards:
        return f"Expected maps named '<image id>.npy' (like '{ids[0]}.npy') or .parquet files but there are none."
    return (
        f"Expected maps named '<image id>.npy' (like '{ids[0]}.npy') but none of {len(ids)} images has one; there are "
        f"{len(extra)} others, like '{extra[0]}'. Fix: check that maps and metadata belong together."
    )
