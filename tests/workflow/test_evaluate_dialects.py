"""Dialects against a slow, obvious computation: one map, one tau, one box at a time."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from evaluation_case import Case, make_case, row, save

from wsol_bench.annotations.four_file import read_four_file
from wsol_bench.errors import DataError, UsageError
from wsol_bench.maps.dialect_curves import dialect_curves
from wsol_bench.maps.dialects import get_dialect
from wsol_bench.maps.thresholds import cuts_of_taus
from wsol_bench.metrics.iou import best_iou
from wsol_bench.workflow.evaluate import EvaluationResult, evaluate, merge

FRAME = 224
LEVELS = (0.2, 0.4, 0.5)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Maps of all types that are stored, some of them empty, touching the border, or nowhere above SAT's threshold."""
    case = make_case(tmp_path, 9)
    for i, image_id in enumerate(case.ids):
        values = np.kron(case.arrays[image_id], np.ones((7, 7)))
        values *= (1.0, 1.0, 0.3)[i % 3]
        dtype = (np.float32, np.float16, np.float64)[i % 3]
        case.arrays[image_id] = np.zeros((FRAME, FRAME)) if i == 4 else values.astype(dtype)
        if i == 5:
            case.arrays[image_id] = (values * 255).astype(np.uint8)
        save(case.maps, image_id, case.arrays[image_id])
    return case


def scored(case: Case, dialect: str, **options: object) -> EvaluationResult:
    return evaluate(case.maps, case.metadata, **({"dialect": dialect, "bootstrap": 0, "iou": LEVELS} | options))


def slow_ious(case: Case, name: str, taus: list[float]) -> np.ndarray:
    truth = read_four_file(case.metadata / "TOY" / "test").boxes
    ious = np.zeros((len(case.ids), len(taus)))
    for i, image_id in enumerate(case.ids):
        targets = []
        for box in truth.of(i).tolist():
            if name == "sat":
                width, height = truth.sizes[i].tolist()
                scaled = [c * 256 / side - 16 for c, side in zip(box, (width, height) * 2, strict=True)]
                targets.append([int(min(max(c, 0), 223)) for c in scaled])
            else:
                targets.append([int(c * FRAME / side) for c, side in zip(box, (64, 64, 64, 64), strict=True)])
        for t, tau in enumerate(taus):
            box = get_dialect(name).box_at(case.arrays[image_id], tau)
            ious[i, t] = best_iou([box], targets)[0]
    return ious


@pytest.mark.parametrize(("name", "taus"), [("ts_cam", [0.1, 0.12]), ("sat", [0.4])])
def test_published_thresholds(case: Case, name: str, taus: list[float]):
    result = scored(case, name)
    ious = slow_ious(case, name, taus)
    for level in LEVELS:
        hits = ious > level if name == "ts_cam" else ious >= level
        accuracy = 100 * hits.mean(axis=0)
        found = row(result.rows, "max_box_acc", iou_threshold=level)
        assert found["value"] == pytest.approx(accuracy.max())
        assert found["tau"] == taus[accuracy.argmax()]
        assert found["contours"] == "largest"
    assert row(result.rows, "mean_iou")["value"] == pytest.approx(100 * ious.mean(axis=0).max())
    assert {one["evaluator"] for one in result.rows} == {f"box-{name}@1"}


@pytest.mark.parametrize("name", ["ts_cam", "sat"])
def test_a_grid_and_a_frozen_tau(case: Case, name: str):
    result = scored(case, name, tau_step=0.05, tau=0.33)
    ious = slow_ious(case, name, np.arange(0, 1, 0.05).tolist())
    assert row(result.rows, "mean_iou", tau_source="best")["value"] == pytest.approx(100 * ious.mean(axis=0).max())
    frozen = slow_ious(case, name, [0.33])
    assert row(result.rows, "mean_iou", tau_source="fixed")["value"] == pytest.approx(100 * frozen.mean())
    hits = frozen > 0.4 if name == "ts_cam" else frozen >= 0.4
    assert row(result.rows, "box_acc", iou_threshold=0.4)["value"] == pytest.approx(100 * hits.mean())


@pytest.mark.parametrize("name", ["choe2020", "ts_cam", "sat"])
def test_curves_hold_the_boxes_of_the_dialect(case: Case, name: str):
    maps, taus = list(case.arrays.values()), [0.0, 0.1, 0.35, 0.9]
    curves = dialect_curves(get_dialect(name), maps, taus)
    boxes = curves.boxes_at(cuts_of_taus(taus, curves.max_levels))
    for i, values in enumerate(maps):
        for t, tau in enumerate(taus):
            assert tuple(boxes[i, t]) == get_dialect(name).box_at(values, tau)


@pytest.mark.parametrize(("name", "value"), [("choe2020", 100), ("ts_cam", 0), ("sat", 100)])
def test_an_iou_of_exactly_the_threshold(tmp_path: Path, name: str, value: float):
    case = make_case(tmp_path, 1)
    # The box of 111 columns ends one past them: it covers 112 of 224, an IoU of one half.
    folder = case.metadata / "TOY" / "test"
    (folder / "localization.txt").write_text(f"{case.ids[0]},0,0,223,223\n")
    (folder / "image_sizes.txt").write_text(f"{case.ids[0]},224,224\n")
    values = np.zeros((FRAME, FRAME), dtype=np.float32)
    values[:223, :111] = 1
    save(case.maps, case.ids[0], values)
    result = evaluate(case.maps, case.metadata, dialect=name, iou=(0.5,), bootstrap=0)
    assert row(result.rows, "mean_iou")["value"] == pytest.approx(50)
    assert row(result.rows, "max_box_acc")["value"] == value


def test_choe2020_is_the_default(case: Case):
    assert scored(case, "choe2020").rows == evaluate(case.maps, case.metadata, iou=LEVELS, bootstrap=0).rows


def test_shards_and_single_images(case: Case, tmp_path: Path):
    whole = scored(case, "sat", per_image=tmp_path / "images.csv")
    for k in (1, 2):
        scored(case, "sat", shard=f"{k}/2", save_state=tmp_path / f"{k}.npz")
    assert merge([tmp_path / "1.npz", tmp_path / "2.npz"]).rows == whole.rows
    with (tmp_path / "images.csv").open(newline="") as lines:
        ious = [float(line["iou"]) for line in csv.DictReader(lines)]
    np.testing.assert_allclose(ious, slow_ious(case, "sat", [0.4])[:, 0])


def test_shards_of_different_dialects_do_not_add_up(case: Case, tmp_path: Path):
    scored(case, "choe2020", tau_step=0.1, shard="1/2", save_state=tmp_path / "1.npz")
    scored(case, "ts_cam", tau_step=0.1, shard="2/2", save_state=tmp_path / "2.npz")
    with pytest.raises(DataError, match="dialect"):
        merge([tmp_path / "1.npz", tmp_path / "2.npz"])


def test_error_types_of_a_dialect(case: Case):
    rows = scored(case, "ts_cam", also=("errors",)).rows
    shares = [one["value"] for one in rows if one["metric"].startswith("error_")]
    assert sum(shares) == pytest.approx(100)
    tau = row(rows, "max_box_acc", iou_threshold=0.5)["tau"]
    right = 100 * (slow_ious(case, "ts_cam", [tau]) > 0.5).mean()
    assert row(rows, "error_right")["value"] == pytest.approx(right)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "tscam"}, "Did you mean 'ts_cam'"),
        ({"dialect": "sat", "contours": "all"}, "--contours all"),
        ({"dialect": "ts_cam", "contours": "both"}, "--contours all"),
        ({"dialect": "ts_cam", "also": ("otsu",)}, "--also otsu"),
        ({"dialect": "sat", "also": ("pointing", "errors")}, "--also pointing"),
        ({"dialect": "sat", "masks": Path("masks")}, "--masks"),
        ({"dialect": "sat", "tau_step": 0.001}, "1/255 apart"),
        ({"dialect": "sat", "tau": 0.4001}, "1/255 apart"),
        ({"dialect": "sat", "frame": 256}, "frame of 224"),
        ({"dialect": "ts_cam", "iou": (1.0,)}, "below 1"),
    ],
)
def test_options_that_make_no_sense(case: Case, options: dict, message: str):
    with pytest.raises(UsageError, match=message):
        evaluate(case.maps, case.metadata, **options)


def test_command_line(case: Case, capsys: pytest.CaptureFixture[str]):
    from wsol_bench.cli.app import main

    folders = ["--maps", str(case.maps), "--metadata", str(case.metadata)]
    assert main(["evaluate", *folders, "--dialect", "sat", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {one["evaluator"] for one in rows} == {"box-sat@1"}
