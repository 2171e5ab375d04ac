from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from wsol_bench.annotations import firewall
from wsol_bench.datasets.dogs import Dogs
from wsol_bench.errors import DataError
from wsol_bench.testing.miniatures import dogs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    dogs(tmp_path)
    return tmp_path


def test_lists_and_several_boxes(root: Path) -> None:
    breeds = Dogs(root)
    assert breeds.class_names == ("Chihuahua", "African hunting dog")
    assert [len(breeds.split(split)) for split in ("train", "val", "test")] == [6, 2, 4]
    with firewall.judging("a test"):
        assert np.diff(breeds.ground_truth("test").offsets).tolist() == [1, 2, 1, 2]


def test_lists_in_a_folder_of_their_own_and_no_annotations(root: Path) -> None:
    (root / "lists").mkdir()
    for name in ("train_list.mat", "test_list.mat"):
        (root / name).rename(root / "lists" / name)
    shutil.rmtree(root / "Annotation")
    breeds = Dogs(root)
    assert breeds.load_image("test", 0).size and not breeds.has_ground_truth("test")
    with firewall.judging("a test"), pytest.raises(DataError, match="annotations of 'test'"):
        breeds.ground_truth("test")


@pytest.mark.parametrize(
    ("files", "labels", "says"),
    [
        (["a/1.jpg", "a/2.jpg"], [1], "2 files and 1 labels"),
        (["a/1.jpg", "a/1.jpg"], [1, 1], "it occurs twice"),
        (["../1.jpg", "a/1.jpg"], [1, 1], "climbs out"),
        (["1.jpg", "a/1.jpg"], [1, 1], "Expected '<class>/<image>.jpg'"),
        (["a/2.jpg", "a/1.jpg"], [0, 1], "label from 1 on"),
    ],
)
def test_malformed_lists(root: Path, files: list[str], labels: list[int], says: str) -> None:
    cells = np.array(files, dtype=object).reshape(-1, 1)
    scipy.io.savemat(str(root / "train_list.mat"), {"file_list": cells, "labels": np.array(labels).reshape(-1, 1)})
    with pytest.raises(DataError, match=says):
        Dogs(root)
