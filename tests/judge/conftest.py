"""Records of invented maps: what the judge reads, without any model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.judge.judgement import Judgement, judge_method
from wsol_bench.judge.scoring import RecordedRun, ScoringBoxes
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.maps.sweep import sweep_largest
from wsol_bench.protocol import Protocol, load_protocol
from wsol_bench.records.run_record import RunRecord, write_record

FRAME = 24


def make_maps(rng: np.random.Generator, count: int) -> np.ndarray:
    """Smooth 8-bit maps whose maximum is 255."""
    maps = np.stack([cv2.GaussianBlur(rng.random((FRAME, FRAME)), (0, 0), 2.5) for _ in range(count)])
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return np.floor((maps - low) / (high - low) * 255).astype(np.uint8)


def make_record(rng: np.random.Generator, split: str, count: int) -> tuple[RunRecord, np.ndarray]:
    maps = make_maps(rng, count)
    curves = sweep_largest(maps)
    record = RunRecord(
        ids=tuple(f"{split}/{i}.png" for i in range(count)),
        labels=rng.integers(0, 6, count).astype(np.int16),
        top5=np.stack([rng.permutation(6)[:5] for _ in range(count)]).astype(np.int16),
        top5_scores=rng.random((count, 5)).astype(np.float32),
        peaks=np.zeros((count, 2), np.int16),
        otsu_boxes=otsu_boxes(maps, curves),
        curves=curves,
        frame=FRAME,
    )
    return record, maps


def make_boxes(rng: np.random.Generator, ids: tuple[str, ...]) -> BoxSet:
    """One or two boxes per image, in images of another size than the frame."""
    boxes, sizes = {}, {}
    for image_id in ids:
        width, height = (int(side) for side in rng.integers(30, 60, 2))
        corners = []
        for _ in range(int(rng.integers(1, 3))):
            x0, y0 = int(rng.integers(0, width - 12)), int(rng.integers(0, height - 12))
            corners.append((x0, y0, int(rng.integers(x0 + 5, width)), int(rng.integers(y0 + 5, height))))
        boxes[image_id], sizes[image_id] = corners, (width, height)
    return BoxSet.from_mapping(boxes, sizes)


@pytest.fixture
def study(tmp_path: Path):
    """Two runs of three epochs with their maps, and boxes for every image: (runs, maps, val boxes, test boxes)."""
    rng = np.random.default_rng(7)
    runs, maps = [], {}
    for label in ("cam/0", "cam/1"):
        folder = tmp_path / label.replace("/", "-")
        for epoch in range(3):
            for split, count in (("val", 20), ("test", 30)):
                record, pixels = make_record(rng, split, count)
                write_record(folder / "records" / f"{split}-{epoch:03d}.parquet", record, {"split": split})
                maps[label, split, epoch] = (record, pixels)
        runs.append(RecordedRun(label, folder, (0, 1, 2)))
    ids = {split: maps["cam/0", split, 0][0].ids for split in ("val", "test")}
    return runs, maps, make_boxes(rng, ids["val"]), make_boxes(rng, ids["test"])


REALISTIC = load_protocol("realistic")


@pytest.fixture(scope="session")
def contest(tmp_path_factory) -> tuple[list[Judgement], Protocol, ScoringBoxes]:
    """Two methods with five and four runs of three epochs, judged with three box sources and class labels."""
    rng = np.random.default_rng(11)
    root = tmp_path_factory.mktemp("contest")
    runs: dict[str, list[RecordedRun]] = {}
    for method, count in (("cam", 5), ("acol", 4)):
        for index in range(count):
            folder = root / method / str(index)
            for epoch in range(3):
                for split, images in (("val", 24), ("test", 36)):
                    record, _ = make_record(rng, split, images)
                    write_record(folder / "records" / f"{split}-{epoch:03d}.parquet", record, {})
            runs.setdefault(method, []).append(RecordedRun(f"{method}/{index}", folder, (0, 1, 2)))
    ids = {split: runs["cam"][0].record(split, 0).ids for split in ("val", "test")}
    boxes = ScoringBoxes(
        {"gt": make_boxes(rng, ids["val"]), "ss": make_boxes(rng, ids["val"]), "mine": make_boxes(rng, ids["val"])},
        {"gt": "gt", "ss": "pseudo:ss", "mine": "folder:mine"},
        make_boxes(rng, ids["test"]),
    )
    judged = [
        judge_method(method, several, boxes, ("cls", "gt", "ss", "mine"), REALISTIC, replicates=80)
        for method, several in runs.items()
    ]
    return judged, REALISTIC, boxes
