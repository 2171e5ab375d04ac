from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wsol_bench.annotations import firewall
from wsol_bench.datasets.cub import Cub
from wsol_bench.errors import DataError
from wsol_bench.testing.miniatures import BOX, HEIGHT, WIDTH, cub


@pytest.fixture
def root(tmp_path: Path) -> Path:
    cub(tmp_path)
    return tmp_path


def test_the_official_split_is_kept(root: Path) -> None:
    birds = Cub(root)
    assert [len(birds.split(split)) for split in ("train", "val", "test")] == [12, 3, 6]
    assert birds.class_names == ("Black footed Albatross", "Laysan Albatross", "Sooty Albatross")
    assert birds.split("test").ids[0] == "001.Black_footed_Albatross/Black_footed_Albatross_0004_5.jpg"
    assert birds.split("test").labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_opened_inside_the_archive_folder(root: Path) -> None:
    birds = Cub(root / "CUB_200_2011")
    assert birds.load_image("train", 0).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DataError, match=r"CUBV2.tar into CUBV2/ under --root"):
        birds.split("val")


def test_cubv2_without_metadata_has_labels_but_no_boxes(root: Path) -> None:
    shutil.rmtree(root / "metadata")
    birds = Cub(root)
    assert birds.split("val").labels.tolist() == [0, 1, 2] and not birds.has_ground_truth("val")
    with firewall.judging("a test"), pytest.raises(DataError, match=r"CUB/val\) with --metadata"):
        birds.ground_truth("val")


def test_cubv2_mixed_into_the_class_folders(root: Path) -> None:
    apart = Cub(root)
    for photograph in (root / "CUBV2").glob("*/*.jpg"):
        photograph.rename(root / "CUB_200_2011" / "images" / photograph.parent.name / photograph.name)
    mixed = Cub(root)
    assert mixed.version == apart.version and mixed.load_image("val", 2).size
    shutil.rmtree(root / "metadata")
    assert Cub(root).split("val").ids == apart.split("val").ids


def test_the_fields_layout_with_metadata_of_every_split(root: Path) -> None:
    official = Cub(root)
    from wsol_bench.annotations.four_file import write_four_file

    for split in ("train", "test"):
        with firewall.judging("a test"):
            boxes = official.ground_truth(split)
        part = official.split(split)
        write_four_file(root / "metadata" / split, ids=part.ids, labels=part.labels, boxes=boxes)
    (root / "CUB_200_2011" / "images").rename(root / "CUB")
    shutil.rmtree(root / "CUB_200_2011")
    birds = Cub(root)
    assert [birds.split(split).ids for split in ("train", "test")] == [
        official.split(split).ids for split in ("train", "test")
    ]
    assert birds.class_names == ("class 0", "class 1", "class 2") and birds.load_image("test", 5).size
    with firewall.judging("a test"):
        assert (birds.ground_truth("test").boxes == BOX).all()


def test_boxes_are_clipped_to_the_last_pixel(root: Path) -> None:
    path = root / "CUB_200_2011" / "bounding_boxes.txt"
    path.write_text(path.read_text().replace("5 8.0 6.0 19.0 14.0", "5 8.0 6.0 33.0 25.0"))
    birds = Cub(root)
    with firewall.judging("a test"):
        assert birds.ground_truth("test").boxes[0].tolist() == [8, 6, WIDTH - 1, HEIGHT - 1]
        birds.ground_truth("test")
    assert birds.notes == ("test: 1 boxes reach outside their image and are clipped",)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("images.txt", "1 001.Black", "1 ../001.Black", "images.txt:1: .*climbs out"),
        ("images.txt", "2 001.Black", "1 001.Black", "images.txt:2: Expected every image_number once but got '1'"),
        ("image_class_labels.txt", "1 1\n", "", "class 'None'"),
        ("image_class_labels.txt", "1 1\n", "1 9\n", "class '9'"),
        ("train_test_split.txt", "1 1\n", "1 yes\n", "is_training_image 'yes'"),
        ("train_test_split.txt", "1 1\n", "1\n", r"split.txt:1: .*1 of 2 fields"),
        ("classes.txt", "1 001", "1 \xff001", "UTF-8"),
    ],
)
def test_malformed_index(root: Path, file: str, old: str, new: str, says: str) -> None:
    path = root / "CUB_200_2011" / file
    path.write_bytes(path.read_text().replace(old, new, 1).encode("latin-1"))
    with pytest.raises(DataError, match=says):
        Cub(root)


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("5 8.0 6.0 19.0\n", "4 of 5 fields"),
        ("5 8.0 x 19.0 14.0\n", "to be a number but got 'x'"),
        ("5 8.0 nan 19.0 14.0\n", "to be a number but got 'nan'"),
        ("99 8.0 6.0 19.0 14.0\n", "image number of images.txt but got '99'"),
        ("", r"1 have none, first '001.Black"),
        ("5 80.0 6.0 19.0 14.0\n", r"inside the 40x30 pixels of '001.Black.*got 80, 6, 99, 20"),
        ("5 8.0 6.0 -19.0 14.0\n", r"got 8, 6, -11, 20"),
    ],
)
def test_malformed_boxes(root: Path, new: str, says: str) -> None:
    path = root / "CUB_200_2011" / "bounding_boxes.txt"
    path.write_text(path.read_text().replace("5 8.0 6.0 19.0 14.0\n", new, 1))
    with firewall.judging("a test"), pytest.raises(DataError, match=says):
        Cub(root).ground_truth("test")
