from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.datasets.packed import pack
from wsol_bench.errors import DataError
from wsol_bench.testing.miniatures import MINIATURES
from wsol_bench.training.batches import training_side
from wsol_bench.workflow.pack_dataset import pack_splits
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.workspace import Workspace

QUIET = Screen(quiet=True)


def test_what_is_packed_is_what_training_asks_for(tmp_path: Path) -> None:
    MINIATURES["cub"](tmp_path / "cub")
    birds, workspace = open_dataset("cub:frame=32", root=tmp_path / "cub"), Workspace(tmp_path / "w")
    rows = pack_splits(birds, workspace, "error", screen=QUIET)
    assert [(row["split"], row["images"], row["skipped"], row["side"]) for row in rows] == [
        ("train", 12, 0, training_side(32)),
        ("val", 3, 0, 32),
        ("test", 6, 0, 32),
    ]
    calls: list[int] = []
    pack(birds, "train", training_side(32), cache_dir=workspace.packed, progress=lambda done, _: calls.append(done))
    assert calls == []  # The cache answered.


def test_bad_images_and_absent_splits(tmp_path: Path) -> None:
    MINIATURES["ilsvrc"](tmp_path / "ilsvrc")
    imagenet = open_dataset("ilsvrc:frame=16", root=tmp_path / "ilsvrc")
    path = imagenet.image_path("test", 0)
    assert path is not None
    path.write_bytes(b"")
    workspace = Workspace(tmp_path / "w")
    with pytest.raises(DataError, match="empty"):
        pack_splits(imagenet, workspace, "error", screen=QUIET)
    assert pack_splits(imagenet, workspace, "skip", screen=QUIET)[-1]["skipped"] == 1
