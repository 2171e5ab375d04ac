from __future__ import annotations

from pathlib import Path

import pytest

from wsol_bench.annotations import firewall
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotations.masks import MaskTable
from wsol_bench.datasets.glas import Glas
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, UsageError
from wsol_bench.testing.miniatures import glas

SPACES = "Warwick QU Dataset (Released 2016_07_08)"
UNDERSCORES = "Warwick_QU_Dataset_(Released_2016_07_08)"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    glas(tmp_path)
    return tmp_path


def test_both_names_of_the_folder_and_no_folder(root: Path) -> None:
    spaces = Glas(root)
    assert spaces.split("train").ids[0].startswith(f"{UNDERSCORES}/train_")
    inside = Glas(root / SPACES)
    (root / SPACES).rename(root / UNDERSCORES)
    underscores = Glas(root)
    assert spaces.version == inside.version == underscores.version
    assert underscores.load_image("test", 0).size
    with firewall.judging("a test"):
        assert underscores.ground_truth_masks("test").draw(3, 40, 30).max() == 1


def test_a_fold_of_the_field(root: Path) -> None:
    fold = root / "GLAS" / "fold-0"
    parts = {"train": ["train_1", "train_2"], "valcl": ["train_3", "train_4"], "valpx": ["train_4"]}
    parts["test"] = ["testA_1", "testB_2"]
    for part, names in parts.items():
        ids = tuple(f"{UNDERSCORES}/{name}.bmp" for name in names)
        masks = [[f"{UNDERSCORES}/{name}_anno.bmp"] for name in names]
        labels = [(int(name[-1]) + 1) % 2 for name in names]
        table = MaskTable.from_lists(ids, masks, ("",) * len(ids))
        write_four_file(fold / part, ids=ids, labels=labels, masks=table)
    folded = Glas(root, fold)
    assert [len(folded.split(split)) for split in ("train", "val", "test")] == [2, 2, 2]
    few = open_dataset("glas:val=valpx", root=root, metadata=fold)
    assert len(few.split("val")) == 1
    with firewall.judging("a test"):
        assert few.ground_truth_masks("val").draw(0, 40, 30).any()
    with pytest.raises(UsageError, match="valpx"):
        open_dataset("glas:val=masks", root=root)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name,patient", "image,patient", r"Grade.csv:1: .*columns 'name' and 'grade"),
        (" malignant", " grave", r"Grade.csv:3: .*benign or malignant"),
        ("testA_2", "testA_1", r"Grade.csv:3: .*occurs twice"),
        ("testA_2", "../x", r"Grade.csv:3: .*climbs out"),
    ],
)
def test_malformed_grades(root: Path, old: str, new: str, says: str) -> None:
    path = root / SPACES / "Grade.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=says):
        Glas(root)


def test_a_mask_is_missing(root: Path) -> None:
    (root / SPACES / "testA_1_anno.bmp").unlink()
    with firewall.judging("a test"):
        masks = Glas(root).ground_truth_masks("test")
    with pytest.raises(DataError, match=r"testA_1_anno.bmp: .*no such file"):
        masks.draw(0, 40, 30)
