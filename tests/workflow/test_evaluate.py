from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from evaluation_case import FRAME, GOLDEN, Case, make_case, row, save

from wsol_bench.annotations import firewall
from wsol_bench.annotations.four_file import read_four_file
from wsol_bench.errors import DataError, FirewallError, UsageError
from wsol_bench.maps.normalise import quantise
from wsol_bench.maps.oracle import oracle_all, oracle_largest
from wsol_bench.metrics.iou import best_iou
from wsol_bench.workflow.evaluate import EvaluationResult, evaluate

TAUS = np.arange(0, 1, 0.01)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return make_case(tmp_path)


def scored(case: Case, **options: object) -> EvaluationResult:
    return evaluate(case.maps, case.metadata, **({"frame": FRAME, "tau_step": 0.01, "bootstrap": 0} | options))


def slow_ious(case: Case, contours: str) -> np.ndarray:
    truth = read_four_file(case.metadata / "TOY" / "test").boxes
    boxes = truth.in_frame(FRAME, FRAME)
    ious = np.zeros((len(case.ids), len(TAUS)))
    for i, image_id in enumerate(case.ids):
        q = quantise(case.arrays[image_id])
        own = boxes[truth.offsets[i] : truth.offsets[i + 1]]
        per_cut = [box[None] for box in oracle_largest(q)] if contours == "largest" else oracle_all(q)
        ious[i] = [best_iou(per_cut[int(tau * np.max(q))], own).max() for tau in TAUS]
    return ious


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden data are not beside this checkout")
@pytest.mark.parametrize("step", [0.01, 0.001])
def test_drop_in_folder_equals_the_reference(step: float):
    folder = GOLDEN / "dropin"
    result = evaluate(folder / "scoremaps", folder / "metadata", tau_step=step, contours="both", bootstrap=0)
    expected = json.loads((folder / "expected.json").read_text())
    for contours in ("largest", "all"):
        wanted = expected[f"interval={step},multi_contour={contours == 'all'}"]
        taus = np.arange(0, 1, step)[wanted["best_threshold_index_30_50_70"]]
        for d, threshold in enumerate((0.3, 0.5, 0.7)):
            found = row(result.rows, "max_box_acc", contours=contours, iou_threshold=threshold)
            assert found["value"] == wanted["max_box_acc_30_50_70"][d]
            assert found["tau"] == taus[d]
            assert (found["n"], found["evaluator"]) == (200, "box@1")
        assert row(result.rows, "max_box_acc_v2", contours=contours)["value"] == wanted["mean"]
    assert result.issues == {}
    assert result.supervision == "gt:val"


@pytest.mark.parametrize("contours", ["largest", "all"])
def test_equals_the_slow_way(case: Case, contours: str):
    result = scored(case, contours=contours, iou=(0.1, 0.3))
    ious = slow_ious(case, contours)
    accuracy = np.stack([100 * (ious >= threshold).mean(axis=0) for threshold in (0.1, 0.3)])
    for d, threshold in enumerate((0.1, 0.3)):
        found = row(result.rows, "max_box_acc", iou_threshold=threshold)
        assert found["value"] == pytest.approx(accuracy[d].max())
        assert found["tau"] == TAUS[accuracy[d].argmax()]
        assert (found["contours"], found["tau_source"], found["ci_low"]) == (contours, "best", None)
    assert row(result.rows, "max_box_acc_v2")["value"] == pytest.approx(accuracy.max(axis=1).mean())
    assert row(result.rows, "mean_iou")["value"] == pytest.approx(100 * ious.mean(axis=0).max())


def test_a_frozen_tau_is_reported_beside_the_best(case: Case):
    result = scored(case, tau=0.37, iou=(0.3,))
    ious = slow_ious(case, "largest")[:, 37]
    found = row(result.rows, "box_acc", iou_threshold=0.3)
    assert (found["tau"], found["tau_source"]) == (0.37, "fixed")
    assert found["value"] == pytest.approx(100 * (ious >= 0.3).mean())
    assert row(result.rows, "mean_iou", tau_source="fixed")["value"] == pytest.approx(100 * ious.mean())


def test_percentages_and_shares_mean_the_same(case: Case):
    assert scored(case, iou=(30, 50, 70)).rows == scored(case, iou=(0.3, 0.5, 0.7)).rows


def test_levels_reach_every_cut(case: Case):
    finest, coarse = scored(case, tau_step="levels"), scored(case, tau_step=0.004)
    for threshold in (0.3, 0.5, 0.7):
        best = row(finest.rows, "max_box_acc", iou_threshold=threshold)["value"]
        assert best >= row(coarse.rows, "max_box_acc", iou_threshold=threshold)["value"]


def test_intervals_contain_the_value_of_a_frozen_tau(case: Case):
    result = scored(case, tau=0.5, bootstrap=300)
    for found in result.rows:
        assert found["ci_low"] <= found["ci_high"]
        if found["tau_source"] == "fixed":
            assert found["ci_low"] <= found["value"] <= found["ci_high"]
    assert result.rows == scored(case, tau=0.5, bootstrap=300, threads=1).rows
    assert result.rows != scored(case, tau=0.5, bootstrap=300, seed=1).rows


def test_more_metrics_on_request(case: Case):
    result = scored(case, also=("otsu", "errors", "pointing"), bootstrap=20)
    otsu = row(result.rows, "box_acc", tau_source="otsu", iou_threshold=0.5)
    assert otsu["tau"] is None and otsu["ci_low"] is not None
    errors = [found["value"] for found in result.rows if found["metric"].startswith("error_")]
    assert len(errors) == 6 and sum(errors) == pytest.approx(100)
    best = row(result.rows, "max_box_acc", iou_threshold=0.5)
    assert row(result.rows, "error_lpe")["tau"] == best["tau"]
    assert row(result.rows, "error_cls_wrong")["value"] == 0
    assert row(result.rows, "pointing_15px")["value"] >= row(result.rows, "pointing")["value"]


def test_predictions_give_top_k_localization(case: Case, tmp_path: Path):
    right, near = set(case.ids[::2]), set(case.ids[1::4])
    lines = []
    for image_id, label in zip(case.ids, case.labels.tolist(), strict=True):
        first = label if image_id in right else 9
        fifth = label if image_id in near else 8
        lines.append(f"{image_id},{first},5,6,7,{fifth}")
    file = tmp_path / "predictions.txt"
    file.write_text("\n".join(lines))
    result = scored(case, predictions=file, iou=(0.1,))
    hits = slow_ious(case, "largest") >= 0.1
    best = hits.mean(axis=0).argmax()
    top1 = np.array([image_id in right for image_id in case.ids])
    top5 = top1 | np.array([image_id in near for image_id in case.ids])
    assert row(result.rows, "top1_loc")["value"] == pytest.approx(100 * (hits[:, best] & top1).mean())
    assert row(result.rows, "top5_loc")["value"] == pytest.approx(100 * (hits[:, best] & top5).mean())
    own_best = (hits & top1[:, None]).mean(axis=0).max()
    assert row(result.rows, "max_top1_loc")["value"] == pytest.approx(100 * own_best)
    assert row(result.rows, "top1_acc")["value"] == pytest.approx(100 * top1.mean())

    file.write_text("\n".join(line.rsplit(",", 4)[0] for line in lines))
    only_first = scored(case, predictions=file, iou=(0.1,))
    assert row(only_first.rows, "top1_loc") == row(result.rows, "top1_loc")
    assert not [found for found in only_first.rows if "top5" in found["metric"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "1 have none"),
        (lambda lines: [*lines, lines[0]], ":13: Expected one line"),
        (lambda lines: ["nonsense", *lines], ":1: Expected 'id,class'"),
        (lambda lines: [*lines[:-1], lines[-1] + ".5"], ":12: Expected 'id,class'"),
    ],
)
def test_wrong_predictions_are_refused(case: Case, tmp_path: Path, change, message: str):
    file = tmp_path / "predictions.txt"
    file.write_text("\n".join(change([f"{image_id},1" for image_id in case.ids])))
    with pytest.raises(DataError, match=message):
        scored(case, predictions=file)


def test_csv_of_single_images(case: Case, tmp_path: Path):
    case.arrays[case.ids[2]] = np.full((FRAME, FRAME), 0.5, np.float32)
    save(case.maps, case.ids[2], case.arrays[case.ids[2]])
    target = tmp_path / "images.csv"
    result = scored(case, per_image=target, contours="both", iou=(0.3, 0.5))
    with target.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["id"] for line in lines] == [image_id for image_id in case.ids for _ in range(2)]
    tau = row(result.rows, "max_box_acc", iou_threshold=0.5, contours="largest")["tau"]
    column = int(np.flatnonzero(tau == TAUS)[0])
    for contours, offset in (("largest", 0), ("all", 1)):
        ours = lines[offset::2]
        assert {(line["contours"], float(line["tau"])) for line in ours} == {(contours, tau)}
        np.testing.assert_array_equal([float(line["iou"]) for line in ours], slow_ious(case, contours)[:, column])
    assert lines[4]["map"] == "constant"
    assert [lines[4][name] for name in ("x0", "y0", "x1", "y1")] == ["0", "0", str(FRAME - 1), str(FRAME - 1)]


def test_csv_of_a_shard_at_a_frozen_tau(case: Case, tmp_path: Path):
    scored(case, per_image=tmp_path / "whole.csv", tau=0.4)
    scored(case, per_image=tmp_path / "part.csv", tau=0.4, shard="2/3")
    whole = (tmp_path / "whole.csv").read_text().splitlines()
    assert (tmp_path / "part.csv").read_text().splitlines() == [whole[0], *whole[5:9]]


def test_result_is_plain_json(case: Case):
    result = scored(case, bootstrap=10, also=("otsu", "errors", "pointing"))
    content = json.loads(json.dumps(result.to_json()))
    assert content["rows"] == result.rows
    assert (content["n"], content["maps"], content["supervision"]) == (12, {}, "gt:test")
    needed = {"metric", "iou_threshold", "contours", "tau", "value", "n", "ci_low", "ci_high", "evaluator"}
    assert all(needed <= set(one) for one in content["rows"])


def test_scoring_loads_nothing_it_does_not_need():
    code = "import sys, wsol_bench.workflow.evaluate; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not any(f"'{name}'" in loaded for name in ("torch", "matplotlib", "pyarrow", "optuna"))


def test_figure_of_the_curves(case: Case, tmp_path: Path):
    pytest.importorskip("matplotlib")
    for name in ("curve.png", "curve.pdf"):
        scored(case, figure=tmp_path / name, contours="both", bootstrap=20)
        assert (tmp_path / name).stat().st_size > 1000
    with pytest.raises(UsageError, match=r"curve\.docx"):
        scored(case, figure=tmp_path / "curve.docx")


def test_ground_truth_stays_shut_while_training(case: Case):
    with firewall.training("a method"), pytest.raises(FirewallError):
        scored(case)


def test_several_splits_are_listed_not_guessed(case: Case):
    write_from, write_to = case.metadata / "TOY" / "test", case.metadata / "TOY" / "val"
    write_to.mkdir()
    for file in write_from.iterdir():
        (write_to / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UsageError, match="TOY/test, TOY/val"):
        scored(case)
    assert scored(case, split="val").split == "val"
    assert scored(case, split="val").supervision == "gt:val"
    assert evaluate(case.maps, write_from, frame=FRAME, bootstrap=0).split == "test"


def test_progress_counts_every_image(case: Case):
    seen: list[tuple[int, int]] = []
    lock = threading.Lock()

    def note(done: int, total: int) -> None:
        with lock:
            seen.append((done, total))

    (case.maps / f"{case.ids[0]}.npy").unlink()
    scored(case, progress=note)
    assert seen[-1] == (12, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contours": "bigest"}, "all, both, largest"),
        ({"tau_step": "fine"}, "a number or 'levels'"),
        ({"tau_step": 2}, "tau step"),
        ({"iou": ()}, "IoU thresholds"),
        ({"iou": (0.5, 50)}, "different IoU thresholds"),
        ({"iou": (150,)}, "IoU thresholds"),
        ({"also": ("otso",)}, "Did you mean 'otsu'"),
        ({"also": ("errors",), "contours": "all"}, "largest box"),
        ({"tau": 1.0}, r"tau in \[0, 1\)"),
        ({"level": 95}, r"0\.95 means 95"),
        ({"bootstrap": -1}, "replicates"),
        ({"frame": 0}, "frame and threads"),
        ({"shard": "0/4"}, "like 2/4"),
        ({"shard": "1/400"}, "at most 12 shards"),
        ({"shard": "1/4", "per_image": Path("x.csv")}, "frozen tau"),
        ({"masks": Path()}, "lists boxes"),
        ({"masks": Path(), "also": ("otsu",)}, "but got masks"),
    ],
)
def test_options_that_do_not_fit_are_refused(case: Case, options: dict, message: str):
    with pytest.raises(UsageError, match=message):
        scored(case, **options)


def test_missing_folders_are_named(case: Case, tmp_path: Path):
    with pytest.raises(DataError, match="nowhere"):
        evaluate(tmp_path / "nowhere", case.metadata)
    with pytest.raises(DataError, match=r"image_ids\.txt"):
        evaluate(case.maps, tmp_path / "nowhere")
