"""Every kind of bad map has one outcome, is counted, is shown, and is an error in strict mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from evaluation_case import FRAME, Case, make_case, save

from wsol_bench.errors import DataError
from wsol_bench.maps.normalise import resize_map
from wsol_bench.workflow.evaluate import EvaluationResult, evaluate
from wsol_bench.workflow.evaluate_output import render_table
from wsol_bench.workflow.map_checks import prepare_map
from wsol_bench.workflow.map_shards import write_map_shards


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return make_case(tmp_path)


def scored(case: Case, maps: Path | None = None, **options: object) -> EvaluationResult:
    settings = {"frame": FRAME, "tau_step": 0.01, "bootstrap": 0} | options
    return evaluate(maps or case.maps, case.metadata, **settings)


def stretched(array: np.ndarray) -> np.ndarray:
    return array * 7 - 3


def with_nan(array: np.ndarray) -> np.ndarray:
    return np.where(np.arange(array.size).reshape(array.shape) == 5, np.nan, array)


def with_zero(array: np.ndarray) -> np.ndarray:
    return np.where(np.arange(array.size).reshape(array.shape) == 5, 0, array)


@pytest.mark.parametrize(
    ("spoil", "equivalent", "issue"),
    [
        (stretched, lambda array: array, "out_of_range"),
        (with_nan, with_zero, "not_finite"),
        (lambda array: np.where(array == 1, np.inf, array), lambda array: array, "not_finite"),
        (lambda array: np.where(array == 0, -np.inf, array), lambda array: array, "not_finite"),
        (lambda array: np.full_like(array, np.nan), np.zeros_like, "not_finite"),
        (np.zeros_like, np.zeros_like, "constant"),
        (lambda array: np.full_like(array, 0.3), np.ones_like, "constant"),
        (
            lambda array: np.kron(array, np.ones((2, 2), array.dtype)),
            lambda array: resize_map(np.kron(array, np.ones((2, 2), array.dtype)), (FRAME, FRAME)),
            "resized",
        ),
    ],
)
def test_outcome_of_odd_values(case: Case, tmp_path: Path, spoil: Callable, equivalent: Callable, issue: str):
    good = tmp_path / "good"
    for image_id, array in case.arrays.items():
        save(good, image_id, array)
    for image_id in case.ids[:4]:
        save(case.maps, image_id, spoil(case.arrays[image_id].astype(np.float64)))
        save(good, image_id, equivalent(case.arrays[image_id].astype(np.float64)))
    spoiled = scored(case)
    assert spoiled.issues[issue] == 4
    assert any(note.startswith("4 maps ") for note in spoiled.notes)
    expected = scored(case, good)
    for ours, theirs in zip(spoiled.rows, expected.rows, strict=True):
        assert ours["value"] == pytest.approx(theirs["value"], abs=1e-9)
        assert ours["n"] == 12
    with pytest.raises(DataError, match="strict mode"):
        scored(case, strict=True)


def test_missing_maps_are_misses(case: Case, tmp_path: Path):
    zeros = tmp_path / "zeros"
    for i, image_id in enumerate(case.ids):
        save(zeros, image_id, case.arrays[image_id] if i >= 3 else np.zeros((FRAME, FRAME)))
        if i < 3:
            (case.maps / f"{image_id}.npy").unlink()
    result = scored(case)
    assert result.issues == {"missing": 3}
    assert result.rows == scored(case, zeros).rows
    assert "3 maps not found: scored as empty, a miss" in str(render_table(result).caption)
    with pytest.raises(DataError, match=r"missing.*and 2 more"):
        scored(case, strict=True)


def test_extra_maps_are_ignored(case: Case):
    before = scored(case).rows
    save(case.maps, "class_0/stranger.jpg", np.ones((FRAME, FRAME)))
    result = scored(case)
    assert (result.rows, result.issues) == (before, {"extra": 1})
    assert any("class_0/stranger.jpg.npy" in note for note in result.notes)
    with pytest.raises(DataError, match="extra"):
        scored(case, strict=True)


def test_the_first_of_two_maps_counts(case: Case):
    before = scored(case).rows
    save(case.maps, case.ids[3].removesuffix(".jpg"), np.zeros((FRAME, FRAME)))
    write_map_shards(case.maps, [(case.ids[4], np.zeros((FRAME, FRAME), np.float32))])
    result = scored(case)
    assert (result.rows, result.issues) == (before, {"duplicate": 2})
    with pytest.raises(DataError, match="duplicate"):
        scored(case, strict=True)


def test_ids_without_their_suffix_are_understood(case: Case, tmp_path: Path):
    short = tmp_path / "short"
    for image_id, array in case.arrays.items():
        save(short, image_id.removesuffix(".jpg"), array)
    assert scored(case, short).rows == scored(case).rows
    assert scored(case, short).issues == {}


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.longdouble, ">f4", np.uint8])
def test_any_float_and_uint8_are_understood(case: Case, tmp_path: Path, dtype: object):
    levels, typed = tmp_path / "levels", tmp_path / "typed"
    for image_id, array in case.arrays.items():
        exact = np.round(array * 255)
        values = exact if dtype is np.uint8 else exact / 256
        save(levels, image_id, exact / (255 if dtype is np.uint8 else 256))
        save(typed, image_id, np.asfortranarray(values.astype(dtype)))
    result, expected = scored(case, typed), scored(case, levels)
    assert result.issues == {}
    assert result.rows == expected.rows


def test_masks_as_maps(case: Case, tmp_path: Path):
    binary, floats = tmp_path / "binary", tmp_path / "floats"
    for image_id, array in case.arrays.items():
        save(binary, image_id, array > 0.5)
        save(floats, image_id, (array > 0.5).astype(float))
    assert scored(case, binary).rows == scored(case, floats).rows


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, FRAME, FRAME)), r"shape \[1, 32, 32\]"),
        (np.zeros((0, FRAME)), r"shape \[0, 32\]"),
        (np.zeros((FRAME, FRAME), np.int64), "int64"),
        (np.zeros((FRAME, FRAME), complex), "complex"),
    ],
)
def test_what_is_no_map_is_an_error_that_names_the_file(case: Case, array: np.ndarray, message: str):
    path = save(case.maps, case.ids[5], array)
    with pytest.raises(DataError, match=message) as error:
        scored(case)
    assert str(path) in str(error.value)


def test_damaged_files_are_named(case: Case):
    path = case.maps / f"{case.ids[5]}.npy"
    whole = path.read_bytes()
    for content in (whole[:-10], whole[:20], b"", b"not an array"):
        path.write_bytes(content)
        with pytest.raises(DataError) as error:
            scored(case)
        assert str(path) in str(error.value)
    with path.open("wb") as stream:
        np.savez(stream, map=np.zeros((FRAME, FRAME)))
    with pytest.raises(DataError, match=r"\.npz archive"):
        scored(case)
    path.unlink()
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"Expected a whole \.npy file"):
        scored(case)


def test_the_wrong_folder_is_recognised(case: Case, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"\.parquet files but there are none"):
        scored(case, tmp_path / "empty")
    save(tmp_path / "other", "cat.jpg", np.ones((FRAME, FRAME)))
    with pytest.raises(DataError, match=r"none of 12 images has one; there are 1 others, like 'cat\.jpg\.npy'"):
        scored(case, tmp_path / "other")


def test_linked_folders_are_followed_but_not_in_circles(case: Case, tmp_path: Path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for folder in case.maps.iterdir():
        (linked / folder.name).symlink_to(folder)
    (linked / "class_0" / "up").symlink_to(linked)
    assert scored(case, linked).rows == scored(case).rows


def test_rounding_of_interpolation_stays_in_range():
    rng = np.random.default_rng(0)
    for dtype in (np.float16, np.float32, np.float64, np.uint8):
        raw = (rng.random((7, 9)) * (255 if dtype is np.uint8 else 1)).astype(dtype)
        raw[0, 0] = 255 if dtype is np.uint8 else 1
        values, issues = prepare_map(raw, FRAME, "a map")
        assert issues == ["resized"]
        assert values.shape == (FRAME, FRAME)
        assert 0 <= values.min() <= values.max() <= 1
