"""Plain folders and tables of images and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.datasets.csv_labels import CsvLabels
from wsol_bench.datasets.folder_of_classes import FolderOfClasses
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.datasets.packed import pack
from wsol_bench.datasets.unannotated import split_by_digest
from wsol_bench.errors import DataError, UsageError
from wsol_bench.testing.miniatures import picture


def _fill(top: Path, classes: dict[str, int]) -> None:
    for k, (name, count) in enumerate(classes.items()):
        (top / name).mkdir(parents=True)
        for i in range(count):
            picture(100 * k + i).save(top / name / f"{i:02}.png")


def test_a_folder_per_class_is_shared_out(tmp_path: Path) -> None:
    _fill(tmp_path, {"wren, small": 20, "owl": 10, "Auk": 3})
    birds = open_dataset("folder-of-classes:name=birds,frame=64", root=tmp_path)
    assert (birds.name, birds.frame, birds.class_names) == ("birds", 64, ("Auk", "owl", "wren, small"))
    counts = {split: np.bincount(birds.split(split).labels).tolist() for split in ("train", "val", "test")}
    assert counts == {"train": [1, 8, 16], "val": [1, 1, 2], "test": [1, 1, 2]}
    assert birds.split("val").ids == open_dataset("folder-of-classes", root=tmp_path).split("val").ids
    assert pack(birds, "test", 16).images.shape == (4, 16, 16, 3)
    without = FolderOfClasses(tmp_path, val=0.2, test=0.0)
    assert np.bincount(without.split("val").labels).tolist() == [1, 2, 4]
    with pytest.raises(DataError, match="'test' but it is not there; found: train, val"):
        without.split("test")


def test_no_boxes_at_all(tmp_path: Path) -> None:
    _fill(tmp_path, {"a": 4, "b": 4})
    birds = FolderOfClasses(tmp_path)
    assert not birds.annotated and not birds.has_ground_truth("test") and not birds.has_masks("test")
    with firewall.judging("a test"), pytest.raises(DataError, match=r"images and labels only: .*Fix: give boxes"):
        birds.ground_truth("test")


def test_split_folders(tmp_path: Path) -> None:
    _fill(tmp_path / "train", {"a": 20, "b": 12})
    _fill(tmp_path / "testing", {"b": 2, "a": 1})
    birds = FolderOfClasses(tmp_path)
    assert [len(birds.split(split)) for split in ("train", "val", "test")] == [29, 3, 3]
    _fill(tmp_path / "valid", {"a": 2, "b": 2})
    birds = FolderOfClasses(tmp_path)
    assert [len(birds.split(split)) for split in ("train", "val", "test")] == [32, 4, 3]
    assert birds.split("test").ids == ("testing/a/00.png", "testing/b/00.png", "testing/b/01.png")


def test_other_files_are_noted_and_hidden_ones_are_not(tmp_path: Path) -> None:
    _fill(tmp_path, {"a": 4, "b": 4})
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / ".DS_Store").write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / "more").mkdir()
    picture(1).save(tmp_path / "a" / "more" / "deep.JPG", format="JPEG")
    birds = FolderOfClasses(tmp_path)
    assert birds.notes == ("1 files are no images by their name, first a/notes.txt",)
    assert sum(len(birds.split(split)) for split in ("train", "val", "test")) == 9


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder of images for each class"):
        FolderOfClasses(tmp_path)
    _fill(tmp_path, {"a": 4, "b": 2})
    with pytest.raises(DataError, match=r"at least 3 images of each class.*'b/0.\.png' has 2"):
        FolderOfClasses(tmp_path)
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match=r"c: Expected images of a class"):
        FolderOfClasses(tmp_path)
    with pytest.raises(DataError, match="check --root"):
        FolderOfClasses(tmp_path / "nowhere")


@pytest.mark.parametrize(("val", "test"), [(0.0, 0.1), (0.5, 0.5), (1.0, 0.0), (0.1, -0.1), (float("nan"), 0.1)])
def test_shares_that_will_not_do(val: float, test: float) -> None:
    with pytest.raises(UsageError, match="shares val and test"):
        split_by_digest({"a": 0, "b": 0, "c": 0}, val, test)


def _table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    (root / "labels.csv").write_bytes(text.encode(encoding))
    for i in range(6):
        picture(i).save(root / f"{i}.png")
    return root


ROWS = ("0.png,owl,train", "1.png,wren,train", "2.png,owl,val", "3.png,wren,val", "4.png,owl,test", "5.png,wren,test")
TABLE = "".join(f"{row}\n" for row in ("image,label,split", *ROWS))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["image,label,split", "File_Name,Class,Subset"])
def test_a_table(tmp_path: Path, separator: str, header: str) -> None:
    text = TABLE.replace("image,label,split", header).replace(",", separator).replace("\n", "\r\n")
    birds = open_dataset("csv:name=birds", root=_table(tmp_path, text, "utf-8-sig"))
    assert birds.name == "birds" and birds.class_names == ("owl", "wren")
    assert birds.split("val").ids == ("2.png", "3.png") and birds.split("val").labels.tolist() == [0, 1]
    assert birds.load_image("test", 1).size and not birds.has_ground_truth("val")


def test_a_table_without_splits_and_numbers_as_labels(tmp_path: Path) -> None:
    lines = [f"{i}.png,{(9, 10)[i % 2]}\n" for i in range(6)]
    birds = CsvLabels(_table(tmp_path, "image,label\n" + "".join(lines)))
    assert birds.class_names == ("9", "10")
    assert [len(birds.split(split)) for split in ("train", "val", "test")] == [2, 2, 2]


def test_quotes_and_another_place(tmp_path: Path) -> None:
    root = _table(tmp_path, TABLE)
    (root / "0.png").rename(root / "a, b.png")
    (tmp_path / "labels.csv").rename(tmp_path / "other.csv")
    (tmp_path / "other.csv").write_text(TABLE.replace("0.png", '"a, b.png"'))
    birds = CsvLabels(root, file=str(tmp_path / "other.csv"))
    assert birds.split("train").ids[0] == "a, b.png"
    with pytest.raises(DataError, match=r"labels.csv: .*fix: csv:file="):
        CsvLabels(root)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("image,label,split", "name,kind,split", r"labels.csv:1: .*header with the columns image and label"),
        ("1.png,wren,train", "1.png,wren", r"labels.csv:3: Expected 'image,label,split' but got '1.png,wren'"),
        ("1.png,wren,train", "1.png,,train", r"labels.csv:3: "),
        ("1.png,wren,train", "0.png,wren,train", r"labels.csv:3: .*listed twice"),
        ("1.png,wren,train", "/1.png,wren,train", r"labels.csv:3: .*absolute path"),
        ("1.png,wren,train", "1.png,wren,dev", r"labels.csv:3: Expected a split of \(train, val, test\) but got 'dev'"),
    ],
)
def test_malformed_tables(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        CsvLabels(_table(tmp_path, TABLE.replace(old, new)))


def test_empty_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got ''"):
        CsvLabels(_table(tmp_path, ""))
    with pytest.raises(DataError, match="lines below the header"):
        CsvLabels(_table(tmp_path, "image,label\n"))
