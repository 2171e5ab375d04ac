from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotations.sources import load_source
from wsol_bench.datasets.four_file_dataset import FourFileDataset
from wsol_bench.datasets.packed import pack
from wsol_bench.errors import DataError, FirewallError, UsageError

SIZES = {"train": (30, 20), "val": (20, 30), "test": (25, 25)}
METADATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "wsol-metadata"


def _ids(split: str) -> tuple[str, ...]:
    return tuple(f"{split}/a bird, or two/{i}.png" for i in range(4))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "birds"
    for split, (width, height) in SIZES.items():
        ids = _ids(split)
        boxes = BoxSet.from_mapping(
            {image_id: [(i, 1, 10, 12)] for i, image_id in enumerate(ids)}, dict.fromkeys(ids, (width, height))
        )
        proxy = ids[1:3] if split == "train" else None
        write_four_file(root / "metadata" / split, ids=ids, labels=[0, 1, 2, 1], boxes=boxes, proxy_ids=proxy)
        for image_id in ids:
            (root / image_id).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (width, height), 77).save(root / image_id)
    return root


def test_reads_splits_and_images(root: Path) -> None:
    birds = FourFileDataset(root, name="birds")
    assert (birds.name, birds.frame, birds.num_classes) == ("birds", 224, 3)
    assert birds.class_names == ("class 0", "class 1", "class 2")
    assert birds.split("val").ids == _ids("val") and birds.split("val").labels.tolist() == [0, 1, 2, 1]
    assert birds.load_image("val", 2).shape == (30, 20, 3)
    assert pack(birds, "test", 16).images.shape == (4, 16, 16, 3)
    assert FourFileDataset(root, root / "metadata").name == "folder"


def test_class_names(root: Path) -> None:
    assert FourFileDataset(root, class_names=["x", "y", "z"]).class_names == ("x", "y", "z")
    (root / "metadata" / "class_names.txt").write_text("wren\n\nrobin\nowl\n")
    assert FourFileDataset(root).class_names == ("wren", "robin", "owl")
    with pytest.raises(DataError, match=r"0..3 to be used, and no others, but label 3 does not occur"):
        FourFileDataset(root, class_names=["x", "y", "z", "q"])
    with pytest.raises(DataError, match="but label 2 does"):
        FourFileDataset(root, class_names=["x", "y"])


def test_gap_in_labels(root: Path) -> None:
    for split in SIZES:
        (root / "metadata" / split / "class_labels.txt").write_text(
            "".join(f"{image_id},{label}\n" for image_id, label in zip(_ids(split), (0, 1, 3, 1), strict=True))
        )
    with pytest.raises(DataError, match="label 2 does not occur"):
        FourFileDataset(root)


def test_ground_truth_is_for_the_judge(root: Path) -> None:
    birds = FourFileDataset(root, name="birds")
    with pytest.raises(FirewallError):
        birds.ground_truth("val")
    with firewall.judging("a test"), firewall.ledger() as book:
        boxes = birds.ground_truth("val")
    assert boxes.of(3).tolist() == [[3, 1, 10, 12]] and boxes.sizes.tolist() == [[20, 30]] * 4
    assert book.supervision() == "gt:val"
    with firewall.training("a greedy method"), pytest.raises(FirewallError):
        (root / "metadata" / "val" / "localization.txt").read_text()


def test_the_own_metadata_folder_given_as_pseudo_boxes_is_ground_truth(root: Path) -> None:
    birds = FourFileDataset(root, name="birds")
    with pytest.raises(FirewallError):
        load_source(birds, "val", str(root / "metadata"))
    with firewall.judging("a test"), firewall.ledger() as book:
        load_source(birds, "val", str(root / "metadata" / "val"))
    assert book.supervision() == "gt:val"


def test_opening_leaves_localization_closed(root: Path) -> None:
    for split in SIZES:
        (root / "metadata" / split / "localization.txt").unlink()
    birds = FourFileDataset(root)
    with firewall.judging("a test"), pytest.raises(DataError, match=r"localization.txt: .* does not exist"):
        birds.ground_truth("test")


def test_masks_are_no_boxes(root: Path) -> None:
    (root / "metadata" / "val" / "localization.txt").write_text("".join(f"{i},m.png,\n" for i in _ids("val")))
    with firewall.judging("a test"), pytest.raises(DataError, match=r"localization.txt:1: .*masks"):
        FourFileDataset(root).ground_truth("val")


def test_masks(root: Path) -> None:
    for name, rows in (("m", slice(0, 10)), ("i", slice(5, 15))):
        mask = np.zeros((30, 20), np.uint8)
        mask[rows] = 255
        Image.fromarray(mask).save(root / f"{name}.png")
    lines = "".join(f"{image_id},m.png,i.png\n" for image_id in _ids("val"))
    (root / "metadata" / "val" / "localization.txt").write_text(lines)
    birds = FourFileDataset(root)
    assert birds.has_masks("val") and not birds.has_ground_truth("val") and not birds.has_masks("test")
    with pytest.raises(FirewallError):
        birds.ground_truth_masks("val")
    with firewall.judging("a test"):
        masks = birds.ground_truth_masks("val")
        with pytest.raises(DataError, match="boxes"):
            birds.ground_truth_masks("test")
    assert masks.ids == _ids("val") and masks.draw(0, 20, 30)[:, 0].tolist() == [1] * 10 + [255] * 5 + [0] * 15


def test_asking_for_ground_truth_reads_none(root: Path) -> None:
    (root / "metadata" / "val" / "localization.txt").unlink()
    (root / "metadata" / "test" / "localization.txt").write_text("")
    birds = FourFileDataset(root)
    with firewall.training("t"):
        assert [birds.has_ground_truth(split) for split in ("train", "val", "test")] == [True, False, False]


def test_proxy_training_set(root: Path) -> None:
    birds = FourFileDataset(root, proxy_train=True, class_names=None)
    assert birds.split("train").ids == _ids("train")[1:3] and birds.split("train").labels.tolist() == [1, 2]
    assert birds.load_image("train", 1).shape == (20, 30, 3)
    with firewall.judging("a test"):
        assert birds.ground_truth("train").boxes[:, 0].tolist() == [1, 2]
    (root / "metadata" / "train" / "image_ids_proxy.txt").unlink()
    with pytest.raises(DataError, match="proxy"):
        FourFileDataset(root, proxy_train=True)


def test_absent_splits(root: Path) -> None:
    (root / "metadata" / "val").rename(root / "metadata" / "elsewhere")
    birds = FourFileDataset(root)
    assert len(birds.split("test")) == 4
    with pytest.raises(DataError, match=r"split 'val' .* found: train, test"):
        birds.split("val")
    with pytest.raises(UsageError, match="split"):
        birds.split("dev")
    with pytest.raises(DataError, match="check --metadata"):
        FourFileDataset(root, root / _ids("train")[0].split("/")[0])
    with pytest.raises(DataError, match="check --root"):
        FourFileDataset(root / "nowhere", root / "metadata")


def test_splits_must_not_share_images(root: Path) -> None:
    ids = _ids("train")
    write_four_file(root / "metadata" / "val", ids=ids, labels=[0, 1, 2, 1], overwrite=True)
    with pytest.raises(DataError, match=r"'train/a bird, or two/0.png' is in 'train' and 'val'"):
        FourFileDataset(root)


def test_damaged_and_wrong_sized_images(root: Path) -> None:
    birds = FourFileDataset(root)
    (root / _ids("val")[0]).unlink()
    Image.new("RGB", (30, 20)).save(root / _ids("val")[1])
    with pytest.raises(DataError, match="does not exist"):
        birds.load_image("val", 0)
    with pytest.raises(DataError, match=r"Expected 20x30 pixels, .* but got 30x20"):
        birds.load_image("val", 1)
    assert len(pack(birds, "val", 8, on_bad_image="skip").skipped) == 2


def test_without_sizes_any_image_will_do(root: Path) -> None:
    (root / "metadata" / "val" / "image_sizes.txt").write_text("")
    Image.new("RGB", (31, 20)).save(root / _ids("val")[1])
    assert FourFileDataset(root).load_image("val", 1).shape == (20, 31, 3)


def test_names_that_cannot_be_part_of_a_file_name(root: Path) -> None:
    for name in ("", "a/b", "..", "a b"):
        with pytest.raises(UsageError, match="dataset name"):
            FourFileDataset(root, name=name)
    with pytest.raises(UsageError, match="frame"):
        FourFileDataset(root, frame=0)


def test_version_and_fingerprint(root: Path) -> None:
    birds = FourFileDataset(root)
    before = birds.fingerprint("val")
    assert FourFileDataset(root).version == birds.version and FourFileDataset(root).fingerprint("val") == before
    Image.new("L", (20, 30), 3).save(root / _ids("val")[0], compress_level=0)
    assert birds.fingerprint("val") != before


@pytest.mark.skipif(not METADATA.is_dir(), reason="the field's metadata is not beside this checkout")
def test_cub_opens_without_its_images(tmp_path: Path) -> None:
    cub = FourFileDataset(tmp_path, METADATA / "CUB", name="cub")
    assert [len(cub.split(name)) for name in ("train", "val", "test")] == [5994, 1000, 5794]
    assert cub.num_classes == 200
    with firewall.judging("a test"):
        boxes = cub.ground_truth("val")
    assert np.diff(boxes.offsets).max() == 1 and boxes.in_frame(224, 224).max() <= 223
    with pytest.raises(DataError, match="does not exist"):
        pack(cub, "val", 8)
