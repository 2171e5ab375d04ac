from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.annotations import firewall
from wsol_bench.datasets.camelyon16 import Camelyon16
from wsol_bench.errors import UsageError
from wsol_bench.testing.miniatures import camelyon16


@pytest.fixture
def root(tmp_path: Path) -> Path:
    camelyon16(tmp_path)
    return tmp_path


def test_normal_patches_are_background(root: Path) -> None:
    patches = Camelyon16(root)
    assert patches.class_names == ("normal", "tumor") and patches.split("val").labels.tolist() == [1, 0]
    with firewall.judging("a test"):
        masks = patches.ground_truth_masks("val")
    assert masks.draw(0, 40, 30).any() and not masks.draw(1, 40, 30).any()


def test_mask_written_as_none(root: Path) -> None:
    path = root / "metadata" / "test" / "localization.txt"
    path.write_text(path.read_text().replace("512.png,,", "512.png,None,"))
    with firewall.judging("a test"):
        assert Camelyon16(root).ground_truth_masks("test").counts.tolist() == [1, 0]


def test_root_without_the_first_folder(root: Path) -> None:
    inside = Camelyon16(root / "camelyon16", root / "metadata")
    assert inside.load_image("train", 0).size
    with firewall.judging("a test"):
        assert inside.ground_truth_masks("test").draw(0, 40, 30).any()


def test_the_parts_of_a_fold(root: Path) -> None:
    with pytest.raises(UsageError, match="camelyon16:val to be one of"):
        Camelyon16(root, val="val")


def test_patches_of_another_name_stay_open(root: Path) -> None:
    """Only masks are shut while training runs, whatever the images are called."""
    for folder in ("train", "valcl", "test"):
        for path in (root / "metadata" / folder).iterdir():
            path.write_text(path.read_text().replace("/Patch_", "/tile_"))
    for path in sorted(root.rglob("Patch_*.png")):
        path.rename(path.with_name(path.name.replace("Patch_", "tile_")))
    patches = Camelyon16(root)
    with firewall.training("t"):
        assert patches.load_image("train", 0).size
