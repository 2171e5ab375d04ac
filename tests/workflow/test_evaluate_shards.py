"""Shards: of the split, scored apart and merged; and of the maps, in Parquet files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from evaluation_case import FRAME, Case, make_case, save
from pyarrow import parquet

from wsol_bench.errors import DataError, UsageError
from wsol_bench.workflow.evaluate import EvaluationResult, evaluate, merge
from wsol_bench.workflow.map_shards import read_row_group, shard_ids, write_map_shards


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return make_case(tmp_path, 13)


def scored(case: Case, maps: Path | None = None, **options: object) -> EvaluationResult:
    settings = {"frame": FRAME, "tau_step": 0.01, "bootstrap": 50, "contours": "both"} | options
    return evaluate(maps or case.maps, case.metadata, **settings)


def states(case: Case, folder: Path, count: int, **options: object) -> list[Path]:
    paths = [folder / f"state{k}.npz" for k in range(1, count + 1)]
    for k, path in enumerate(paths, start=1):
        scored(case, shard=f"{k}/{count}", save_state=path, **options)
    return paths


def test_merge_of_shards_equals_the_whole(case: Case, tmp_path: Path):
    save(case.maps, case.ids[9], np.full((FRAME, FRAME), np.nan))
    (case.maps / f"{case.ids[0]}.npy").unlink()
    save(case.maps, "stranger", np.ones((2, 2)))
    options = {"also": ("otsu", "errors", "pointing"), "tau": 0.123}
    whole = scored(case, **options)
    paths = states(case, tmp_path, 4, **options)
    merged = merge([paths[2], paths[0], paths[3], paths[1]])
    assert merged.rows == whole.rows
    assert (merged.n, merged.total, merged.split) == (13, 13, "test")
    assert merged.issues == whole.issues == {"missing": 1, "extra": 1, "not_finite": 1, "constant": 1}
    assert merged.supervision == "gt:test"


def test_sums_can_be_merged_further(case: Case, tmp_path: Path):
    paths = states(case, tmp_path, 3)
    half = tmp_path / "half.npz"
    merge(paths[:2], save_state=half)
    assert merge([half, paths[2]]).rows == merge(paths).rows


def test_shards_without_predictions_do_not_mix_with_shards_with(case: Case, tmp_path: Path):
    file = tmp_path / "predictions.txt"
    file.write_text("\n".join(f"{image_id},0" for image_id in case.ids))
    paths = states(case, tmp_path, 2, predictions=file)
    assert merge(paths).rows == scored(case, predictions=file).rows
    scored(case, shard="2/2", save_state=paths[1])
    with pytest.raises(DataError, match=r"same settings .*ranks"):
        merge(paths)


def test_part_of_the_shards_is_said_to_be_one(case: Case, tmp_path: Path):
    paths = states(case, tmp_path, 3)
    result = merge(paths[1:])
    assert (result.n, result.total) == (9, 13)
    assert result.issues["not_scored"] == 4
    with pytest.raises(DataError, match="not_scored"):
        merge(paths[1:], strict=True)


def test_an_image_never_counts_twice(case: Case, tmp_path: Path):
    paths = states(case, tmp_path, 3)
    with pytest.raises(DataError, match=r"state2\.npz.*merge each shard once"):
        merge([paths[0], paths[1], paths[1]])


def test_shards_of_other_settings_or_splits_are_refused(case: Case, tmp_path: Path):
    first, second = states(case, tmp_path, 2)
    scored(case, shard="2/2", save_state=second, seed=9)
    with pytest.raises(DataError, match=r"same settings .*\(seed\)"):
        merge([first, second])
    other = make_case(tmp_path / "other", 13, seed=5)
    scored(other, shard="2/2", save_state=second)
    with pytest.raises(DataError, match=r"same origin .*\(truth\)"):
        merge([first, second])


def test_damaged_states_are_named(case: Case, tmp_path: Path):
    (path,) = states(case, tmp_path, 1)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nonsense"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"state1\.npz"):
            merge([path])
    with path.open("wb") as stream:
        np.savez(stream, about=np.asarray(json.dumps({"format": "something else"})))
    with pytest.raises(DataError, match="something else"):
        merge([path])
    with pytest.raises(UsageError, match="at least one saved state"):
        merge([])


def test_parquet_equals_npy(case: Case, tmp_path: Path):
    folder = tmp_path / "shards"
    paths = write_map_shards(folder, case.arrays.items(), maps_per_shard=5)
    assert [path.name for path in paths] == ["maps-00000.parquet", "maps-00001.parquet", "maps-00002.parquet"]
    assert scored(case, folder).rows == scored(case).rows
    assert scored(case, folder).issues == {}
    states_of_parquet = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for k, path in enumerate(states_of_parquet, start=1):
        evaluate(folder, case.metadata, frame=FRAME, shard=f"{k}/2", save_state=path, bootstrap=0)
    assert merge(states_of_parquet).rows == evaluate(folder, case.metadata, frame=FRAME, bootstrap=0).rows


def test_a_single_parquet_file_may_be_given(case: Case, tmp_path: Path):
    (path,) = write_map_shards(tmp_path / "shards", case.arrays.items())
    assert scored(case, path).rows == scored(case).rows


def test_parquet_rows_may_be_missing_extra_or_double(case: Case, tmp_path: Path):
    rows = [*list(case.arrays.items())[1:], ("stranger", np.ones((2, 2), np.uint8)), (case.ids[1], np.zeros((3, 3)))]
    folder = tmp_path / "shards"
    write_map_shards(folder, rows)
    assert scored(case, folder).issues == {"missing": 1, "extra": 1, "duplicate": 1}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_maps_come_back_as_they_were_written(tmp_path: Path, dtype: str):
    rng = np.random.default_rng(0)
    maps = [(f"id{i}", (rng.random((3 + i % 4, 5)) * 200).astype(dtype)) for i in range(150)]
    (path,) = write_map_shards(tmp_path, maps)
    assert [len(group) for group in shard_ids(path)] == [64, 64, 22]
    read = [pair for group in range(3) for batch in read_row_group(path, group, 10) for pair in batch]
    assert [image_id for image_id, _ in read] == [image_id for image_id, _ in maps]
    for (_, ours), (_, theirs) in zip(read, maps, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_no_maps_make_no_shard(tmp_path: Path):
    assert write_map_shards(tmp_path / "none", []) == []


def test_damaged_parquet_files_are_named(case: Case, tmp_path: Path):
    folder = tmp_path / "shards"
    (path,) = write_map_shards(folder, case.arrays.items())
    whole = path.read_bytes()
    for content in (whole[:-100], b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"maps-00000\.parquet"):
            scored(case, folder)
    parquet.write_table(pa.table({"id": ["a"], "pixels": [b"x"]}), path)
    with pytest.raises(DataError, match="height, width, dtype, data are missing"):
        scored(case, folder)
    columns = {"id": [case.ids[0]], "height": [4], "width": [4], "dtype": ["float32"], "data": [b"short"]}
    parquet.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=r"4x4 values of float32 .* 5 bytes"):
        scored(case, folder)
    parquet.write_table(pa.table(columns | {"dtype": ["int7"]}), path)
    with pytest.raises(DataError, match="int7"):
        scored(case, folder)


def test_only_maps_are_written(tmp_path: Path):
    with pytest.raises(UsageError, match="int64"):
        write_map_shards(tmp_path, [("a", np.zeros((2, 2), np.int64))])
    with pytest.raises(UsageError, match="maps_per_shard"):
        write_map_shards(tmp_path, [], maps_per_shard=0)
    assert list(tmp_path.iterdir()) == []
