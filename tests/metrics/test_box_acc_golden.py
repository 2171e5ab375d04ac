"""Equality with the reference evaluator on its own cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations.four_file import read_four_file
from wsol_bench.maps.normalise import quantise
from wsol_bench.maps.sweep import sweep_all, sweep_largest
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.box_acc import BoxAccuracy
from wsol_bench.metrics.curve_counts import iou_at_taus
from wsol_bench.metrics.curve_iou import iou_of_contours, iou_of_curves

STEPS = {"001": 0.01, "0001": 0.001}


def test_best_iou_of_every_case_at_every_threshold(golden: Path):
    with np.load(golden / "box_cases.npz") as cases:
        arrays = dict(cases)
    names = sorted({key.split("/")[0] for key in arrays})
    assert len(names) == 58
    for name in names:
        q = quantise(arrays[f"{name}/map"].astype(np.float64))[None]
        gt = arrays[f"{name}/gt"]
        single = iou_of_curves(sweep_largest(q), gt, [0, len(gt)])
        multi = iou_of_contours(sweep_all(q), gt, [0, len(gt)])
        for suffix, step in STEPS.items():
            for mode, curves in (("single", single), ("multi", multi)):
                ours = iou_at_taus(curves, tau_grid(step))[0]
                np.testing.assert_array_equal(
                    ours, arrays[f"{name}/best_iou_{mode}_{suffix}"], err_msg=f"{name} {mode}"
                )


@pytest.mark.parametrize("step", ["0.01", "0.001"])
@pytest.mark.parametrize("contours", ["largest", "all"])
def test_drop_in_folder(golden: Path, step: str, contours: str):
    folder = golden / "dropin"
    expected = json.loads((folder / "expected.json").read_text())[f"interval={step},multi_contour={contours == 'all'}"]
    metadata = read_four_file(folder / "metadata" / "CUB" / "val")
    maps = np.stack([np.load(folder / "scoremaps" / f"{image_id}.npy") for image_id in metadata.ids])
    sweep = sweep_all if contours == "all" else sweep_largest
    metric = BoxAccuracy(tau_grid(float(step)), contours=contours)
    metric.update(sweep(quantise(maps)), metadata.boxes.in_frame(224, 224), metadata.boxes.offsets)
    result = metric.compute()
    assert result.max_box_acc.tolist() == expected["max_box_acc_30_50_70"]
    assert result.best_index.tolist() == expected["best_threshold_index_30_50_70"]
    assert result.max_box_acc_v2 == expected["mean"]
    assert result.hits[0, 1, :20].tolist() == expected["num_correct_at_50_first_20_thresholds"]
