from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_case import FRAME, GOLDEN, row, save

from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotations.masks import MaskTable
from wsol_bench.errors import DataError, UsageError
from wsol_bench.workflow.evaluate import EvaluationResult, evaluate, merge

IDS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images: one object, two overlapping objects with an ignored region, none, one."""
    masks = {"a.png": (0, 16), "b0.png": (0, 8), "b1.png": (4, 20), "d.png": (30, 32)}
    (tmp_path / "masks").mkdir()
    for name, (begin, end) in masks.items():
        mask = np.zeros((FRAME, FRAME), np.uint8)
        mask[:, begin:end] = 255
        cv2.imwrite(str(tmp_path / "masks" / name), mask)
    ignored = np.zeros((2 * FRAME, 2 * FRAME), np.uint8)
    ignored[:, 32:48] = 255
    cv2.imwrite(str(tmp_path / "masks" / "ignore.png"), ignored)
    table = MaskTable(
        IDS, ("a.png", "b0.png", "b1.png", "d.png"), np.array([0, 1, 3, 3, 4]), ("", "ignore.png", "", "")
    )
    write_four_file(tmp_path / "metadata" / "test", ids=IDS, labels=[0, 0, 1, 0], masks=table)
    rng = np.random.default_rng(0)
    for image_id in IDS:
        save(tmp_path / "maps", image_id, rng.random((FRAME, FRAME)).astype(np.float16))
    return tmp_path


def scored(folder: Path, **options: object) -> EvaluationResult:
    settings = {"frame": FRAME, "masks": folder / "masks", "bootstrap": 30} | options
    return evaluate(folder / "maps", folder / "metadata", **settings)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden data are not beside this checkout")
@pytest.mark.parametrize("step", [0.01, 0.001])
def test_golden_folder(step: float):
    golden = GOLDEN / "pxap"
    result = evaluate(
        golden / "scoremaps", golden / "metadata", masks=golden / "masks", tau_step=step, bootstrap=0, contours="all"
    )
    expected = json.loads((golden / "expected.json").read_text())[f"interval={step}"]["px_ap"]
    found = row(result.rows, "px_ap")
    assert found["value"] == pytest.approx(expected, abs=1e-9)
    assert (found["n"], found["evaluator"]) == (24, "px@1")


def test_merge_of_shards_equals_the_whole(folder: Path, tmp_path: Path):
    paths = [tmp_path / f"{k}.npz" for k in range(1, 5)]
    for k, path in enumerate(paths, start=1):
        part = scored(folder, shard=f"{k}/4", save_state=path)
        assert len(part.rows) == (0 if k == 3 else 1)
    assert any("until shards are merged" in note for note in scored(folder, shard="3/4").notes)
    assert merge(paths).rows == scored(folder).rows
    assert merge(paths[::-1]).rows[0]["ci_low"] is not None


def test_objects_win_over_ignored_regions(folder: Path):
    for image_id in IDS:
        image = np.zeros((FRAME, FRAME), np.float32)
        save(folder / "maps", image_id, image)
    for image_id, begin, end in (("a.jpg", 0, 16), ("b.jpg", 0, 20), ("d.jpg", 30, 32)):
        image = np.zeros((FRAME, FRAME), np.float32)
        image[:, begin:end] = 1
        if image_id == "b.jpg":
            image[:, 20:24] = 0.7
        save(folder / "maps", image_id, image)
    assert scored(folder).rows[0]["value"] == 100


def test_csv_and_figure(folder: Path, tmp_path: Path):
    result = scored(folder, per_image=tmp_path / "images.csv", figure=tmp_path / "curve.svg", shard="1/1")
    with (tmp_path / "images.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["id"] for line in lines] == list(IDS)
    assert lines[2]["px_ap"] == "" and 0 < float(lines[0]["px_ap"]) < 100
    assert "<svg" in (tmp_path / "curve.svg").read_text()
    assert result.pixels is not None
    with pytest.raises(UsageError, match="after merging"):
        scored(folder, shard="3/4", figure=tmp_path / "empty.svg")


def test_uint8_maps_and_levels(folder: Path):
    for image_id in IDS:
        values = np.load(folder / "maps" / f"{image_id}.npy")
        save(folder / "maps", image_id, np.round(values.astype(float) * 255) / 255)
    floats = scored(folder, tau_step="levels")
    for image_id in IDS:
        values = np.load(folder / "maps" / f"{image_id}.npy")
        save(folder / "maps", image_id, np.round(values * 255).astype(np.uint8))
    assert scored(folder, tau_step="levels").rows == floats.rows


def test_masks_are_asked_for_and_checked(folder: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"--masks DIR"):
        scored(folder, masks=None)
    with pytest.raises(UsageError, match="check the path of --masks"):
        scored(folder, masks=tmp_path / "nowhere")
    (folder / "masks" / "b1.png").unlink()
    with pytest.raises(DataError, match=r"b1\.png.*no such file"):
        scored(folder)
    (folder / "masks" / "b1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b1\.png.*cannot be read"):
        scored(folder)


def test_a_split_without_any_object_is_an_error(folder: Path):
    for name in ("a.png", "b0.png", "b1.png", "d.png"):
        cv2.imwrite(str(folder / "masks" / name), np.zeros((FRAME, FRAME), np.uint8))
    with pytest.raises(DataError, match="check the folder of masks"):
        scored(folder)
