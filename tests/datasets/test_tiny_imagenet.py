from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.annotations.sources import load_boxes
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.datasets.packed import pack
from wsol_bench.datasets.tiny_imagenet import TinyImageNet
from wsol_bench.errors import DataError, FirewallError, UsageError

SAMPLE = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "tiny-imagenet-20"
WNIDS = ("n02", "n01", "n10")
PER_CLASS = 20


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 training and 2 val images in the official layout."""
    root = tmp_path_factory.mktemp("tiny") / "tiny-imagenet-200"
    image = Image.new("RGB", (64, 64), "teal")
    (root / "val" / "images").mkdir(parents=True)
    annotations = []
    for label, wnid in enumerate(WNIDS):
        images = root / "train" / wnid / "images"
        images.mkdir(parents=True)
        boxes = []
        for i in range(PER_CLASS):
            image.save(images / f"{wnid}_{i}.JPEG")
            boxes.append(f"{wnid}_{i}.JPEG\t{i}\t1\t{i + 2}\t60\n")
        (images.parent / f"{wnid}_boxes.txt").write_text("".join(boxes))
        for i in range(2):
            image.save(root / "val" / "images" / f"val_{2 * label + i}.JPEG")
            annotations.append(f"val_{2 * label + i}.JPEG\t{wnid}\t0\t{i}\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    (root / "wnids.txt").write_text("\n".join(WNIDS))
    (root / "words.txt").write_text("n01\tgoose\nn02\tking crab, Alaska crab\nn99\tnever used\n")
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "tiny-imagenet-200"))


@pytest.fixture
def sample() -> Iterator[Path]:
    if not SAMPLE.is_dir():
        pytest.skip("the 20-class sample is not beside this checkout")
    yield SAMPLE


def test_labels_are_ranks_of_sorted_wnids(root: Path) -> None:
    tiny = TinyImageNet(root)
    assert tiny.class_names == ("goose", "king crab", "n10") and tiny.num_classes == 3 and tiny.frame == 64
    assert tiny.split("test").ids[0] == "val/images/val_0.JPEG"
    assert tiny.split("test").labels.tolist() == [1, 1, 0, 0, 2, 2]
    (root / "words.txt").unlink()
    assert TinyImageNet(root).class_names == ("n01", "n02", "n10")


def test_small_classes_give_a_tenth_to_val(root: Path) -> None:
    tiny = TinyImageNet(root)
    train, val = tiny.split("train"), tiny.split("val")
    assert (len(train), len(val)) == (54, 6) and not set(train.ids) & set(val.ids)
    assert np.bincount(val.labels).tolist() == [2, 2, 2]
    assert set(val.ids) != {f"train/{wnid}/images/{wnid}_{i}.JPEG" for wnid in WNIDS for i in range(2)}
    for image_id, label in zip(train.ids, train.labels, strict=True):
        assert image_id.startswith(f"train/{sorted(WNIDS)[label]}/images/")


def test_fewer_training_images_leave_val_and_test_as_they_are(root: Path) -> None:
    whole, small = TinyImageNet(root), open_dataset("tiny-imagenet:train=5", root=root)
    assert len(small.split("train").ids) == 5 * len(WNIDS)
    assert set(small.split("train").ids) < set(whole.split("train").ids)
    assert [small.split(name).ids for name in ("val", "test")] == [whole.split(name).ids for name in ("val", "test")]
    assert small.version != whole.version
    assert TinyImageNet(root, train=1000).version == whole.version
    with pytest.raises(UsageError, match="train to be at least 1 but got 0"):
        TinyImageNet(root, train=0)


def test_unknown_split(root: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'val'"):
        TinyImageNet(root).split("vall")


def test_loads_images(root: Path) -> None:
    tiny = TinyImageNet(root)
    assert tiny.load_image("train", 0).shape == (64, 64, 3)
    packed = pack(tiny, "val", 32)
    assert packed.images.shape == (6, 32, 32, 3)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_ground_truth_is_for_the_judge(root: Path, split: str) -> None:
    tiny = TinyImageNet(root)
    with pytest.raises(FirewallError):
        tiny.ground_truth(split)
    with firewall.judging("a test"), firewall.ledger() as book:
        boxes = tiny.ground_truth(split)
    assert book.supervision() == f"gt:{split}"
    assert boxes.ids == tiny.split(split).ids and len(boxes.boxes) == len(boxes)
    assert (boxes.sizes == 64).all() and boxes.boxes.dtype == np.int32
    if split == "test":
        assert boxes.boxes[1].tolist() == [0, 1, 44, 62]
    else:
        number = int(boxes.ids[3].split("_")[1].removesuffix(".JPEG"))
        assert boxes.of(3).tolist() == [[number, 1, number + 2, 60]]


def test_training_cannot_open_the_box_files(root: Path) -> None:
    tiny = TinyImageNet(root)
    with firewall.training("a greedy method"):
        assert tiny.split("test").labels.size == 6 and tiny.load_image("test", 0).size
        for path in ("train/n01/n01_boxes.txt", "val/val_annotations.txt"):
            with pytest.raises(FirewallError, match="ground-truth file"):
                (root / path).read_text()
        with pytest.raises(FirewallError):
            tiny.ground_truth("val")
        with pytest.raises(FirewallError):
            tiny._read_ground_truth("val")
        with pytest.raises(FirewallError), firewall.judging("a greedy method"):
            tiny.ground_truth("val")
        with pytest.raises(FirewallError):
            load_boxes(tiny, "val", "gt")


def test_reversed_and_flat_boxes_are_put_in_order(root: Path) -> None:
    path = root / "val" / "val_annotations.txt"
    lines = path.read_text().splitlines()
    lines[0] = "val_0.JPEG\tn02\t63\t9\t60\t3"
    lines[1] = "val_1.JPEG\tn02\t5\t7\t5\t7"
    path.write_text("\n".join(lines))
    with firewall.judging("a test"):
        boxes = TinyImageNet(root).ground_truth("test").boxes
    assert boxes[:2].tolist() == [[60, 3, 63, 9], [5, 7, 5, 7]]


@pytest.mark.parametrize("part", ["wnids.txt", "train", "val/images", "val/val_annotations.txt"])
def test_missing_parts_of_the_layout(root: Path, part: str) -> None:
    target = root / part
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    with pytest.raises(DataError, match=f"official layout .*'{part}' is missing.*--root"):
        TinyImageNet(root)


def test_root_one_level_too_high(root: Path) -> None:
    with pytest.raises(DataError, match=f"pass --root {root}"):
        TinyImageNet(root.parent)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("wnids.txt", "n01\nn02\nn01\n", "got 3, 2 distinct"),
        ("wnids.txt", "", "got 0"),
        ("words.txt", "n01\tgoose\nn02 crab\n", r"words.txt:2: Expected 'wnid<TAB>gloss' but got 1 of 2 fields"),
        ("val/val_annotations.txt", "\nval_0.JPEG\tn77\t0\t0\t1\t1\n", r"annotations.txt:2: .* got 'n77'"),
        ("val/val_annotations.txt", "a\tn01\t0\t0\t1\t1\na\tn01\t0\t0\t1\t1\n", r"txt:2: .* got 'val/images/a' again"),
        ("val/val_annotations.txt", "../a\tn01\t0\t0\t1\t1\n", "climbs out"),
        ("val/val_annotations.txt", "a\tn01\t0\t0\t1\n", "5 of 6 fields"),
        ("val/val_annotations.txt", "a\tn01\t0\t0\tx\t1\n", "integers x0 y0 x1 y1 but got '0 0 x 1'"),
        ("val/val_annotations.txt", "a\tn01\t0\t0\t64\t1\n", "within 0..63 but got 0 0 64 1"),
    ],
)
def test_malformed_files(root: Path, file: str, content: str, says: str) -> None:
    (root / file).write_text(content)
    with pytest.raises(DataError, match=says):
        TinyImageNet(root)


def test_not_utf8(root: Path) -> None:
    (root / "words.txt").write_bytes(b"n01\tgo\xffse\n")
    with pytest.raises(DataError, match="UTF-8"):
        TinyImageNet(root)


def test_missing_class_folder_and_empty_class(root: Path) -> None:
    shutil.rmtree(root / "train" / "n10" / "images")
    with pytest.raises(DataError, match="training images of a class"):
        TinyImageNet(root)
    (root / "train" / "n10" / "images").mkdir()
    with pytest.raises(DataError, match="at least 2 training images"):
        TinyImageNet(root)


def test_image_without_a_box(root: Path) -> None:
    path = root / "train" / "n01" / "n01_boxes.txt"
    path.write_text("n01_0.JPEG\t0\t1\t2\t3\n")
    with firewall.judging("a test"), pytest.raises(DataError, match="17 have none, first 'train/n01/images/"):
        TinyImageNet(root).ground_truth("train")


def test_damaged_and_wrong_sized_images(root: Path) -> None:
    tiny = TinyImageNet(root)
    first, second = (root / image_id for image_id in tiny.split("val").ids[:2])
    first.write_bytes(first.read_bytes()[:300])
    Image.new("RGB", (32, 64)).save(second)
    with pytest.raises(DataError, match="truncated"):
        tiny.load_image("val", 0)
    with pytest.raises(DataError, match="64x64 but got 32x64"):
        tiny.load_image("val", 1)
    assert len(pack(tiny, "val", 16, on_bad_image="skip").skipped) == 2


def test_version_follows_the_splits_and_fingerprint_the_files(root: Path) -> None:
    tiny = TinyImageNet(root)
    assert TinyImageNet(root).version == tiny.version and tiny.version.startswith("1-")
    before = tiny.fingerprint("val")
    path = root / tiny.split("val").ids[0]
    path.write_bytes(path.read_bytes() + b"\0")
    assert tiny.fingerprint("val") != before and TinyImageNet(root).version == tiny.version
    (root / tiny.split("train").ids[0]).unlink()
    assert TinyImageNet(root).version != tiny.version


def test_sample_counts(sample: Path) -> None:
    tiny = TinyImageNet(sample)
    for split, per_class in (("train", 450), ("val", 50), ("test", 50)):
        assert np.bincount(tiny.split(split).labels).tolist() == [per_class] * 20
        assert len(set(tiny.split(split).ids)) == 20 * per_class
    assert not set(tiny.split("train").ids) & set(tiny.split("val").ids)
    assert tiny.class_names[:3] == ("European fire salamander", "goose", "snail")


@pytest.mark.parametrize(
    ("split", "digest"), [("train", "ab95fc27ade5f3be"), ("val", "4944164c2496962a"), ("test", "16a2748a5c980931")]
)
def test_sample_split_never_changes(sample: Path, split: str, digest: str) -> None:
    ids = TinyImageNet(sample).split(split).ids
    assert hashlib.sha256("\n".join(ids).encode()).hexdigest().startswith(digest)


def test_sample_ground_truth(sample: Path) -> None:
    tiny = TinyImageNet(sample)
    with firewall.judging("a test"):
        for split in ("train", "val", "test"):
            boxes = tiny.ground_truth(split)
            assert np.diff(boxes.offsets).tolist() == [1] * len(boxes)
            assert boxes.boxes.min() == 0 and boxes.boxes.max() == 63
            assert (boxes.boxes[:, 2:] >= boxes.boxes[:, :2]).all()
