"""A judged study whose every name is hostile, made without training: records of invented maps, boxes in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.datasets.base import Dataset, Split
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.records.run_record import RunRecord, write_record
from wsol_bench.training.trial_folder import dataset_slug
from wsol_bench.workflow.judge_plan import judge_plan
from wsol_bench.workflow.selection_plan import PlannedRun, SelectionPlan
from wsol_bench.workflow.selection_tables import Study
from wsol_bench.workflow.workspace import Workspace

BREAK = "</script><script>document.title='owned'</script>"
TAG = '"><img src=x onerror="document.title=1">'
METHODS = (f"cam{BREAK}", "has_$x^{2$ & 'co' {{ 7*7 }}")
FRAME, COUNTS = 24, {"val": 12, "test": 15}


class Hostile(Dataset):
    """Noise in images that are wider than high."""

    name = f"set{TAG}"
    version = "1<b>"
    frame = FRAME
    class_names = (f"cat{BREAK}", f"dog{TAG}", "a -->", "b <!--", "\u2028 line", "%s {x} {% raw %}")

    def __init__(self) -> None:
        self._boxes = {split: _boxes(self.ids(split), seed) for seed, split in enumerate(COUNTS)}

    def ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"{split}/{i}{TAG}.png" for i in range(COUNTS.get(split, 0)))

    def split(self, name: str) -> Split:
        ids = self.ids(name)
        return Split(name, ids, np.arange(len(ids)) % len(self.class_names))

    def load_image(self, split: str, index: int) -> NDArray[np.uint8]:
        return np.random.default_rng(index).integers(0, 256, (30, 40, 3)).astype(np.uint8)

    def _read_ground_truth(self, split: str) -> BoxSet:
        return self._boxes[split]


def hostile_study(root: Path, *, maps: bool = True) -> Study:
    """Writes two methods with two runs of two epochs each, and judges them by labels, manual boxes and two folders."""
    dataset, place = Hostile(), Workspace(root / "work")
    folders = []
    for seed, name in ((5, "ss<i>&"), (6, "rpn';--")):
        folders.append(root / name)
        boxes = _boxes(dataset.ids("val"), seed)
        split = dataset.split("val")
        write_four_file(folders[-1] / "val", ids=boxes.ids, labels=split.labels, sizes=boxes.sizes, boxes=boxes)
    runs = [
        PlannedRun(label=f"{method}/{index}", method=method, trial=f"{index}" * 12, status="complete", epochs=(0, 1))
        for method in METHODS
        for index in range(2)
    ]
    plan = SelectionPlan(
        dataset="hostile",
        dataset_version=dataset.version,
        protocol="realistic",
        sources=("cls", "gt", *map(str, folders)),
        replicates=20,
        runs=tuple(runs),
    )
    rng = np.random.default_rng(3)
    for run in runs:
        folder = place.root / "trials" / "hostile" / dataset_slug(run.method) / run.trial
        for epoch in run.epochs:
            for split in COUNTS:
                write_record(
                    folder / "records" / f"{split}-{epoch:03d}.parquet", _record(rng, dataset, split, maps), {}
                )
        lines = [json.dumps({"epoch": epoch, "loss": None}) for epoch in run.epochs]
        (folder / "epochs.jsonl").write_text("\n".join(lines) + "\n")
    return Study(dataset, plan, place, judge_plan(dataset, plan, place))


def _record(rng: np.random.Generator, dataset: Hostile, split: str, keep: bool) -> RunRecord:
    count = COUNTS[split]
    soft = np.stack([cv2.GaussianBlur(rng.random((FRAME, FRAME)), (0, 0), 2.5) for _ in range(count)])
    low, high = soft.min(axis=(1, 2), keepdims=True), soft.max(axis=(1, 2), keepdims=True)
    soft = (soft - low) / (high - low)
    maps = np.floor(soft * 255).astype(np.uint8)
    maps[0] //= 2  # A map whose largest value is not 255, and one that is empty.
    maps[1] = 0
    curves = sweep_largest(maps)
    return RunRecord(
        ids=dataset.ids(split),
        labels=dataset.split(split).labels.astype(np.int16),
        top5=np.stack([rng.permutation(6)[:5] for _ in range(count)]).astype(np.int16),
        top5_scores=rng.random((count, 5)).astype(np.float32),
        peaks=np.zeros((count, 2), np.int16),
        otsu_boxes=otsu_boxes(maps, curves),
        curves=curves,
        frame=FRAME,
        maps=soft[:, ::3, ::3].astype(np.float16) if keep else None,
    )


def _boxes(ids: tuple[str, ...], seed: int) -> BoxSet:
    """One or two boxes per image of 40 x 30 pixels."""
    rng = np.random.default_rng(seed)
    boxes = {}
    for image_id in ids:
        x, y = (int(one) for one in rng.integers(0, 14, 2))
        boxes[image_id] = [(x, y, x + int(rng.integers(8, 25)), y + int(rng.integers(6, 15)))]
        if seed < 2 and rng.random() < 0.3:
            boxes[image_id].append((0, 0, 12, 12))
    return BoxSet.from_mapping(boxes, dict.fromkeys(ids, (40, 30)))
