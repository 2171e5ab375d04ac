from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wsol_bench.errors import RecordError, WsolBenchError
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.records.run_record import NO_CLASS, RECORD_VERSION, RunRecord, read_record, write_record

CONTEXT = {"trial": "abc", "split": "val", "epoch": "3"}


def _record(images: int = 12, *, maps: bool = False, seed: int = 0) -> RunRecord:
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (images, 16, 16), dtype=np.uint8)
    # The extremes: no foreground at any cut, and a single box at every cut.
    levels[:1] = 0
    levels[1:2] = 255
    return RunRecord(
        ids=tuple(f"val/{i:03d} ü.png" for i in range(images)),
        labels=rng.integers(0, 30000, images).astype(np.int16),
        top5=rng.integers(NO_CLASS, 30000, (images, 5)).astype(np.int16),
        top5_scores=rng.random((images, 5)).astype(np.float32),
        peaks=rng.integers(-1, 16, (images, 2)).astype(np.int16),
        otsu_boxes=rng.integers(0, 16, (images, 4)).astype(np.int16),
        curves=sweep_largest(levels, threads=1),
        frame=16,
        maps=rng.random((images, 3, 5)).astype(np.float16) if maps else None,
    )


def _assert_same(one: RunRecord, other: RunRecord) -> None:
    for part, expected in ((one, other), (one.curves, other.curves)):
        for item in dataclasses.fields(part):
            value, wanted = getattr(part, item.name), getattr(expected, item.name)
            if isinstance(wanted, np.ndarray):
                assert value.dtype == wanted.dtype, item.name
                assert value.shape == wanted.shape, item.name
                assert value.tobytes() == wanted.tobytes(), item.name
            elif not isinstance(wanted, BoxCurves):
                assert value == wanted, item.name


@pytest.mark.parametrize("images", [0, 1, 2, 12])
@pytest.mark.parametrize("maps", [False, True])
def test_round_trip_bit_by_bit(tmp_path: Path, images: int, maps: bool) -> None:
    record = _record(images, maps=maps)
    write_record(tmp_path / "records" / "val-003.parquet", record, CONTEXT)
    _assert_same(read_record(tmp_path / "records" / "val-003.parquet", with_maps=True), record)
    _assert_same(read_record(tmp_path / "records" / "val-003.parquet"), dataclasses.replace(record, maps=None))


def test_equal_records_are_equal_bytes(tmp_path: Path) -> None:
    write_record(tmp_path / "a.parquet", _record(maps=True), CONTEXT)
    write_record(tmp_path / "b.parquet", _record(maps=True), CONTEXT)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_empty_curves_answer_zero_boxes(tmp_path: Path) -> None:
    write_record(tmp_path / "a.parquet", _record(), CONTEXT)
    curves = read_record(tmp_path / "a.parquet").curves
    assert curves.max_levels[0] == 0
    assert (curves.boxes_at(range(255))[0] == 0).all()


def test_provenance_travels_in_the_metadata(tmp_path: Path) -> None:
    write_record(tmp_path / "a.parquet", _record(), CONTEXT)
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(tmp_path / "a.parquet").metadata.items()}
    assert metadata == CONTEXT | {"record_version": str(RECORD_VERSION), "frame": "16"}


def test_hits() -> None:
    record = dataclasses.replace(
        _record(3),
        labels=np.array([4, 7, 9], np.int16),
        top5=np.array([[4, 1, 2, 3, 0], [1, 2, 3, 0, 7], [1, 2, NO_CLASS, NO_CLASS, NO_CLASS]], np.int16),
    )
    assert record.top1_hits.tolist() == [True, False, False]
    assert record.top5_hits.tolist() == [True, True, False]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"val-000\.parquet: the record does not exist; fix: delete the folder"):
        read_record(tmp_path / "val-000.parquet")


@pytest.mark.parametrize("version", ["0", str(RECORD_VERSION + 1)])
def test_another_version(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.parquet"
    write_record(path, _record(), CONTEXT)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"record_version": version.encode()}), path)
    with pytest.raises(RecordError, match=f"expected record version {RECORD_VERSION} but got {version}"):
        read_record(path)


def test_a_foreign_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(RecordError, match=f"expected record version {RECORD_VERSION} but got None"):
        read_record(tmp_path / "a.parquet")


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_truncated(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.parquet"
    write_record(path, _record(), CONTEXT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RecordError, match=r"a\.parquet: damaged record .*fix: delete"):
        read_record(path)


def test_a_flipped_bit_is_noticed_wherever_it_lies_in_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_record(path, _record(200), CONTEXT)
    whole = path.read_bytes()
    metadata = pq.read_metadata(path)
    columns = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    for column in columns:
        damaged = bytearray(whole)
        damaged[column.data_page_offset + column.total_compressed_size // 2] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(RecordError, match="damaged record"):
            read_record(path)


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(RecordError, match="damaged record"):
        read_record(tmp_path / "a.parquet")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("not a folder")
    with pytest.raises(WsolBenchError, match="the system refused"):
        write_record(tmp_path / "records" / "a.parquet", _record(), CONTEXT)
