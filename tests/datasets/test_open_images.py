from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.annotations.masks import FOREGROUND, IGNORE
from wsol_bench.datasets.open_images import OpenImages
from wsol_bench.errors import DataError
from wsol_bench.testing.miniatures import object_mask, openimages


@pytest.fixture
def root(tmp_path: Path) -> Path:
    openimages(tmp_path)
    return tmp_path


def test_labels_are_ranks_of_folders_and_names_words_where_known(root: Path) -> None:
    assert OpenImages(root).class_names == ("01226z", "0bt_c3")
    (root / "class-descriptions-boxable.csv").write_text("/m/01226z,Football\n/m/0bt_c3,Book, old\n")
    assert OpenImages(root).class_names[0] == "Football"


def test_instances_and_ignore_regions(root: Path) -> None:
    with firewall.judging("a test"):
        masks = OpenImages(root).ground_truth_masks("val")
    assert masks.counts.tolist() == [1, 2, 1, 2] and masks.has_ignore.all()
    drawn = masks.draw(0, 40, 30)
    assert (drawn[object_mask() == 1] == FOREGROUND).all()  # Ignored and object: object.
    assert (drawn[:5] == IGNORE).all() and np.unique(drawn).tolist() == [0, FOREGROUND, IGNORE]
    assert masks.draw(0, 20, 15).shape == (15, 20)


def test_folder_above(root: Path, tmp_path: Path) -> None:
    top = tmp_path / "up"
    top.mkdir()
    for split in ("train", "val", "test"):
        shutil.move(root / split, top / "OpenImages" / split)
    images = OpenImages(top)
    assert images.load_image("val", 0).size
    with firewall.judging("a test"):
        assert images.ground_truth_masks("test").draw(1, 40, 30).any()


def test_images_without_the_annotation_archive(root: Path) -> None:
    for file in root.glob("*/*/*.png"):
        file.unlink()
    images = OpenImages(root)
    assert not images.has_masks("val") and not images.has_ground_truth("val")
    with firewall.judging("a test"), pytest.raises(DataError, match="annotations of 'val'"):
        images.ground_truth_masks("val")


def test_an_image_without_masks(root: Path) -> None:
    next((root / "val" / "01226z").glob("0cd*_m01226z_*.png")).unlink()
    with firewall.judging("a test"), pytest.raises(DataError, match="1 have none, first 'val/01226z/0cd9"):
        OpenImages(root).ground_truth_masks("val")
