from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from wsol_bench.datasets.base import SPLITS, Dataset
from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, WsolBenchError
from wsol_bench.testing.miniatures import MINIATURES
from wsol_bench.workflow.pack_dataset import pack_dataset
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.sweep import load_trial_data
from wsol_bench.workflow.workspace import Workspace

QUIET = Screen(quiet=True)


def _critters() -> Critters:
    return Critters(size=64, train=6, val=4, test=5)


def test_every_split_at_its_side(tmp_path: Path) -> None:
    rows = pack_dataset(_critters(), Workspace(tmp_path), screen=QUIET)
    assert [(row["split"], row["side"], row["images"]) for row in rows] == [
        ("train", 73, 6), ("val", 64, 4), ("test", 64, 5),
    ]  # fmt: skip
    assert [row["megabytes"] for row in rows] == [6 * 73 * 73 * 3 / 1e6, 4 * 64 * 64 * 3 / 1e6, 5 * 64 * 64 * 3 / 1e6]
    assert all(row["made"] and not row["skipped"] for row in rows)


def test_a_sweep_finds_what_was_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Workspace(tmp_path)
    pack_dataset(_critters(), place, screen=QUIET)
    again = pack_dataset(_critters(), place, screen=QUIET)
    assert not any(row["made"] for row in again)

    def decodes(*_: object) -> None:
        raise AssertionError("an image is decoded again")

    monkeypatch.setattr(Critters, "load_image", decodes)
    assert len(load_trial_data(_critters(), place, "error", QUIET).train) == 6


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Workspace(tmp_path / "not" / "there" / "yet")
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=1000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(WsolBenchError, match=r"0\.0 GB left; fix: free some, or choose another --workspace"):
        pack_dataset(_critters(), place, screen=QUIET)
    assert asked == [tmp_path], "the folder that is there"
    assert not (tmp_path / "not").exists()


def test_what_is_packed_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack_dataset(_critters(), Workspace(tmp_path), screen=QUIET)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert len(pack_dataset(_critters(), Workspace(tmp_path), screen=QUIET)) == 3


def test_splits_that_are_not_here_are_left_out(tmp_path: Path) -> None:
    MINIATURES["ilsvrc"](tmp_path / "ilsvrc")
    imagenet = open_dataset("ilsvrc:frame=16", root=tmp_path / "ilsvrc")
    rows = pack_dataset(imagenet, Workspace(tmp_path / "w"), screen=QUIET)
    assert [row["split"] for row in rows] == [name for name in SPLITS if _has(imagenet, name)]


def _has(dataset: Dataset, split: str) -> bool:
    try:
        return bool(dataset.split(split))
    except DataError:
        return False


def test_bad_images_stop_it_or_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Critters.load_image

    def one_is_bad(self: Critters, split: str, index: int) -> object:
        if (split, index) == ("val", 2):
            raise DataError("damaged")
        return load(self, split, index)

    monkeypatch.setattr(Critters, "load_image", one_is_bad)
    with pytest.raises(DataError, match="damaged"):
        pack_dataset(_critters(), Workspace(tmp_path / "a"), screen=QUIET)
    rows = pack_dataset(_critters(), Workspace(tmp_path / "b"), on_bad_image="skip", screen=QUIET)
    assert [(row["images"], row["skipped"]) for row in rows] == [(6, 0), (3, 1), (5, 0)]
