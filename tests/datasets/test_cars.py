from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from wsol_bench.annotations import firewall
from wsol_bench.datasets.cars import Cars
from wsol_bench.errors import DataError
from wsol_bench.testing.miniatures import BOX, cars


@pytest.fixture
def root(tmp_path: Path) -> Path:
    cars(tmp_path)
    return tmp_path


def _rows(path: Path) -> np.ndarray:
    return scipy.io.loadmat(str(path), squeeze_me=True)["annotations"]


def test_a_tenth_is_held_out_the_same_every_time(root: Path) -> None:
    first, second = Cars(root), Cars(root)
    assert first.split("val").ids == second.split("val").ids
    assert np.bincount(first.split("val").labels).tolist() == [1, 1]
    assert len(first.split("train")) == 6 and first.class_names[1] == "Ram C/V Cargo Van Minivan 2012"


def test_the_merged_layout(root: Path) -> None:
    files = []
    for split, test in (("train", 0), ("test", 1)):
        path = root / ("devkit/cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat")
        files += [(*(row[i] for i in range(5)), test, f"car_ims/{test}{row[5]}") for row in _rows(path)]
        (root / "car_ims").mkdir(exist_ok=True)
        for image in (root / f"cars_{split}").iterdir():
            image.rename(root / "car_ims" / f"{test}{image.name}")
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test", "relative_im_path"]
    rows = np.empty((1, len(files)), dtype=[(field, object) for field in fields])
    for i, row in enumerate(files):
        rows[0, i] = row
    names = scipy.io.loadmat(str(root / "devkit" / "cars_meta.mat"))["class_names"]
    scipy.io.savemat(str(root / "cars_annos.mat"), {"annotations": rows, "class_names": names})
    merged = Cars(root)
    assert [len(merged.split(split)) for split in ("train", "val", "test")] == [6, 2, 4]
    assert merged.load_image("test", 0).size
    with firewall.judging("a test"):
        assert (merged.ground_truth("val").boxes == BOX).all()


def test_coordinates_count_from_one_and_are_clipped(root: Path) -> None:
    path = root / "cars_test_annos_withlabels.mat"
    rows = _rows(path)
    rows["bbox_x1"][0], rows["bbox_x2"][0], rows["bbox_y2"][0] = 1, 40, 45
    scipy.io.savemat(str(path), {"annotations": rows.reshape(1, -1)})
    with firewall.judging("a test"):
        assert Cars(root).ground_truth("test").boxes[0].tolist() == [0, 6, 39, 29]


def test_the_test_file_without_labels_is_not_enough(root: Path) -> None:
    (root / "cars_test_annos_withlabels.mat").rename(root / "devkit" / "cars_test_annos.mat")
    with pytest.raises(DataError, match=r"cars_test_annos.mat has no labels"):
        Cars(root)
    (root / "devkit" / "cars_test_annos.mat").rename(root / "devkit" / "cars_test_annos_withlabels.mat")
    assert len(Cars(root).split("test")) == 4


def test_malformed_files(root: Path) -> None:
    path = root / "devkit" / "cars_train_annos.mat"
    rows = _rows(path)
    rows["class"][1] = 9
    scipy.io.savemat(str(path), {"annotations": rows.reshape(1, -1)})
    with pytest.raises(DataError, match=r"cars_train/00002.jpg': its class is 9 of 2"):
        Cars(root)
    rows["class"][1], rows["fname"][1] = 1, "00001.jpg"
    scipy.io.savemat(str(path), {"annotations": rows.reshape(1, -1)})
    with pytest.raises(DataError, match="it occurs twice"):
        Cars(root)
    scipy.io.savemat(str(path), {"annotations": {"class": 1, "fname": "00001.jpg"}})
    with pytest.raises(DataError, match="bbox_x1, bbox_y1, bbox_x2, bbox_y2 is missing"):
        Cars(root)
    scipy.io.savemat(str(path), {"something": np.zeros(3)})
    with pytest.raises(DataError, match="'annotations' but the file holds: something"):
        Cars(root)
    path.write_bytes(b"<html>404</html>" * 20)
    with pytest.raises(DataError, match=r"cars_train_annos.mat: Expected a MATLAB file"):
        Cars(root)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"Expected a MATLAB file"):
        Cars(root)
    path.unlink()
    with pytest.raises(DataError, match=r"cars_train_annos.mat: .*does not exist"):
        Cars(root)


def test_archives_unpacked_into_folders_of_their_own_name(root: Path) -> None:
    plain = Cars(root)
    for name, inner in (("cars_train", "cars_train"), ("cars_test", "cars_test"), ("devkit", "car_devkit/devkit")):
        (root / name).rename(root / "moving")
        target = root / (inner if "/" in inner else f"{name}/{inner}")
        target.parent.mkdir()
        (root / "moving").rename(target)
    nested = Cars(root)
    assert nested.version == plain.version and nested.load_image("train", 0).size and nested.load_image("test", 0).size
