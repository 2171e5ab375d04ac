"""A small split on disk: metadata, maps as .npy files, and what the slow way says about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file

FRAME = 32
GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden" / "box_eval"


@dataclass
class Case:
    maps: Path
    metadata: Path
    ids: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    labels: np.ndarray


def make_case(folder: Path, count: int = 12, *, seed: int = 0, split: str = "test") -> Case:
    rng = np.random.default_rng(seed)
    ids = tuple(f"class_{i % 3}/image {i},{i}.jpg" for i in range(count))
    labels = np.arange(count) % 3
    boxes = {}
    arrays = {}
    for image_id in ids:
        corners = np.sort(rng.integers(0, 64, (int(rng.integers(1, 3)), 2, 2)), axis=1)
        boxes[image_id] = corners.reshape(-1, 4).tolist()
        coarse = np.kron(rng.random((8, 8)), np.ones((4, 4)))
        arrays[image_id] = ((coarse - coarse.min()) / (coarse.max() - coarse.min())).astype(np.float32)
    metadata = folder / "metadata" / "TOY" / split
    box_set = BoxSet.from_mapping(boxes, dict.fromkeys(ids, (64, 64)))
    write_four_file(metadata, ids=ids, labels=labels, boxes=box_set)
    maps = folder / "maps"
    for image_id, array in arrays.items():
        save(maps, image_id, array)
    return Case(maps, folder / "metadata", ids, arrays, labels)


def save(maps: Path, image_id: str, array: np.ndarray) -> Path:
    path = maps / f"{image_id}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def row(rows: list[dict], metric: str, **wanted: object) -> dict:
    found = [one for one in rows if one["metric"] == metric and all(one[key] == value for key, value in wanted.items())]
    assert len(found) == 1, (metric, wanted, found)
    return found[0]
