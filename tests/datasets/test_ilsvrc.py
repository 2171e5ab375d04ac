from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wsol_bench.annotations import firewall
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.datasets.ilsvrc import Ilsvrc
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError
from wsol_bench.testing.miniatures import BOX, ilsvrc


@pytest.fixture
def root(tmp_path: Path) -> Path:
    ilsvrc(tmp_path)
    return tmp_path


def test_names_of_the_splits(root: Path) -> None:
    imagenet = Ilsvrc(root)
    assert imagenet.split("train").ids[0] == "train/n01440764/n01440764_0.JPEG"
    assert imagenet.split("val").ids == ("val2/0/0.jpeg", "val2/1/0.jpeg", "val2/2/0.jpeg")
    assert imagenet.split("test").ids[0] == "val/ILSVRC2012_val_00000001.JPEG"
    assert imagenet.split("test").labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_files_of_imagenet_v2_named_by_hash(root: Path) -> None:
    assert Ilsvrc(root).image_path("val", 1).name == "1a31041fd.jpeg"
    (root / "metadata" / "val" / "mapping.txt").unlink()
    with pytest.raises(DataError, match=r"1/0.jpeg: .*calls its files '1a31041fd.jpeg' .*mapping.txt of clovaai"):
        Ilsvrc(root).load_image("val", 1)
    for folder in (root / "imagenetv2-threshold0.7-format-val").iterdir():
        next(folder.iterdir()).rename(folder / "0.jpeg")
    (root / "imagenetv2-threshold0.7-format-val").rename(root / "val2")
    assert Ilsvrc(root).load_image("val", 1).size


def test_mapping_that_leaves_the_folder(root: Path) -> None:
    (root / "metadata" / "val" / "mapping.txt").write_text("0/0.jpeg, ../x.jpeg\n")
    with pytest.raises(DataError, match=r"mapping.txt:1: .*climbs out"):
        Ilsvrc(root)


def test_imagenet_v2_without_metadata_takes_labels_from_folders(root: Path) -> None:
    shutil.rmtree(root / "metadata")
    top = root / "imagenetv2-threshold0.7-format-val"
    (top / "2").rename(top / "10")
    for wnid in [f"n1{number:07}" for number in range(8)]:
        (root / "train" / wnid).mkdir()
        shutil.copy(root / "train" / "n01440764" / "n01440764_0.JPEG", root / "train" / wnid / f"{wnid}_0.JPEG")
    imagenet = Ilsvrc(root)
    assert dict(zip(imagenet.split("val").ids, imagenet.split("val").labels.tolist(), strict=True)) == {
        "val2/0/0a31041fd.jpeg": 0,
        "val2/1/1a31041fd.jpeg": 1,
        "val2/10/2a31041fd.jpeg": 10,
    }
    assert not imagenet.has_ground_truth("val")


def test_validation_images_moved_into_class_folders(root: Path) -> None:
    flat = Ilsvrc(root)
    for label, wnid in enumerate(sorted(folder.name for folder in (root / "train").iterdir())):
        (root / "val" / wnid).mkdir()
        for i in range(2):
            name = f"ILSVRC2012_val_{2 * label + i + 1:08}.JPEG"
            (root / "val" / name).rename(root / "val" / wnid / name)
    moved = Ilsvrc(root)
    assert moved.version == flat.version and moved.load_image("test", 3).size
    with firewall.judging("a test"):
        assert len(moved.ground_truth("test").boxes) == 9
    shutil.rmtree(root / "bbox_val")
    assert Ilsvrc(root).split("test").labels.tolist() == flat.split("test").labels.tolist()


def test_both_archives_unpacked_as_val(root: Path) -> None:
    for file in (root / "bbox_val" / "val").iterdir():
        file.rename(root / "val" / file.name)
    shutil.rmtree(root / "bbox_val")
    imagenet = Ilsvrc(root)
    with firewall.judging("a test"):
        boxes = imagenet.ground_truth("test")
    assert boxes.of(1).tolist() == [list(BOX)] * 2
    with firewall.training("t"):
        assert imagenet.load_image("test", 0).size


def test_neither_boxes_nor_metadata(root: Path) -> None:
    shutil.rmtree(root / "bbox_val")
    imagenet = Ilsvrc(root)
    with pytest.raises(DataError, match=r"split 'test' of ilsvrc but its files are not here; found: train, val"):
        imagenet.split("test")


def test_evaluation_only(root: Path) -> None:
    shutil.rmtree(root / "train")
    imagenet = Ilsvrc(root)
    assert imagenet.split("test").labels.tolist() == [0, 0, 1, 1, 2, 2]
    (root / "LOC_synset_mapping.txt").write_text(
        "n02085620 Chihuahua\nn01440764 tench, Tinca tinca\nn01443537 goldfish\n"
    )
    assert Ilsvrc(root).class_names == ("tench", "goldfish", "Chihuahua")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("n01440764", "n09999999", "WordNet ids of the 3 classes but got 'n09999999'"),
        ("<xmin>8", "<xmin>left", "xmin, ymin, xmax, ymax of an object but got .'left'"),
        ("</annotation>", "", "annotation in XML but"),
        ("<object>", "<thing>", "annotation in XML but"),
    ],
)
def test_malformed_annotations(root: Path, old: str, new: str, says: str) -> None:
    path = root / "bbox_val" / "val" / "ILSVRC2012_val_00000001.xml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=says):
        Ilsvrc(root)


def test_an_annotation_is_missing(root: Path) -> None:
    (root / "bbox_val" / "val" / "ILSVRC2012_val_00000002.xml").unlink()
    with pytest.raises(DataError, match=r"00000002.xml: .*does not exist"):
        Ilsvrc(root)


def test_objects_of_two_classes(root: Path) -> None:
    path = root / "bbox_val" / "val" / "ILSVRC2012_val_00000002.xml"
    path.write_text(path.read_text().replace("n01440764", "n01443537", 1))
    with pytest.raises(DataError, match="objects of one class but got"):
        Ilsvrc(root)


def test_the_proxy_training_set(root: Path) -> None:
    with pytest.raises(DataError, match="proxy_train was asked for"):
        Ilsvrc(root, proxy_train=True)
    whole = Ilsvrc(root).split("train")
    write_four_file(
        root / "metadata" / "train", ids=whole.ids, labels=whole.labels, proxy_ids=(whole.ids[1], *whole.ids[4::3])
    )
    few = open_dataset("ilsvrc:proxy_train=true", root=root)
    assert few.split("train").ids == (whole.ids[1], whole.ids[4], whole.ids[7]) and not few.has_ground_truth("train")
    assert few.load_image("train", 2).size and len(Ilsvrc(root).split("train")) == 9
