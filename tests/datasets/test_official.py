"""What all readers of official archives share, on the miniature of each dataset."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotations.masks import FOREGROUND
from wsol_bench.annotations.sources import load_boxes
from wsol_bench.datasets.card import read_card
from wsol_bench.datasets.cub import Cub
from wsol_bench.datasets.official import OfficialDataset
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.datasets.packed import pack
from wsol_bench.errors import DataError, FirewallError, UsageError
from wsol_bench.registry import DATASETS
from wsol_bench.testing.miniatures import BOX, HEIGHT, MINIATURES, WIDTH, object_mask

NAMES = sorted(MINIATURES)
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def minis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, OfficialDataset]:
    top = tmp_path_factory.mktemp("minis")
    opened = {}
    for name, write in MINIATURES.items():
        write(top / name)
        dataset = open_dataset(name, root=top / name)
        assert isinstance(dataset, OfficialDataset)
        opened[name] = dataset
    return opened


@pytest.mark.parametrize("name", NAMES)
def test_splits_and_images(minis: dict[str, OfficialDataset], name: str) -> None:
    dataset = minis[name]
    seen: set[str] = set()
    for split in SPLITS:
        part = dataset.split(split)
        assert len(part) and not seen & set(part.ids)
        seen |= set(part.ids)
        assert set(part.labels.tolist()) == set(range(dataset.num_classes))
        assert dataset.load_image(split, 0).shape == (HEIGHT, WIDTH, 3)
        assert dataset.image_path(split, 0).is_file()
        assert dataset.image_sizes(split).tolist() == [[WIDTH, HEIGHT]] * len(part)
    assert dataset.name == name and dataset.frame == 224
    assert pack(dataset, "test", 16).images.shape[1:] == (16, 16, 3)


@pytest.mark.parametrize("name", NAMES)
def test_the_annotation_is_exact_and_for_the_judge_only(minis: dict[str, OfficialDataset], name: str) -> None:
    dataset = minis[name]
    for split in ("val", "test"):
        assert dataset.has_masks(split) == dataset.masks and dataset.has_ground_truth(split) != dataset.masks
        read = dataset.ground_truth_masks if dataset.masks else dataset.ground_truth
        with pytest.raises(FirewallError):
            read(split)
        with firewall.judging("a test"), firewall.ledger() as book:
            truth = read(split)
        assert book.supervision() == f"gt:{split}" and truth.ids == dataset.split(split).ids
    if not dataset.masks:
        assert (truth.boxes == BOX).all() and truth.boxes.dtype == np.int32  # type: ignore[union-attr]
    else:
        index = int(np.flatnonzero(truth.counts)[0])  # type: ignore[union-attr]
        drawn = truth.draw(index, WIDTH, HEIGHT)  # type: ignore[union-attr]
        assert ((drawn == FOREGROUND) == (object_mask() == 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_boxes_or_masks_asked_of_the_wrong_kind(minis: dict[str, OfficialDataset], name: str) -> None:
    dataset = minis[name]
    with firewall.judging("a test"), pytest.raises(DataError, match="score PxAP" if dataset.masks else "score boxes"):
        (dataset.ground_truth if dataset.masks else dataset.ground_truth_masks)("test")


@pytest.mark.parametrize("name", NAMES)
def test_no_annotation_file_opens_while_training(minis: dict[str, OfficialDataset], name: str) -> None:
    dataset = minis[name]
    files = {
        "aircraft": "fgvc-aircraft-2013b/data/images_box.txt",
        "camelyon16": "camelyon16/w-512xh-512/metastatic-patches/testing/tumor/tumor_009/"
        "mask_test_metastatic_1.0_w_512_h_512.png",
        "cars": "cars_test_annos_withlabels.mat",
        "cub": "CUB_200_2011/bounding_boxes.txt",
        "dogs": "Annotation/n02085620-Chihuahua/n02085620_4",
        "glas": "Warwick QU Dataset (Released 2016_07_08)/testA_1_anno.bmp",
        "ilsvrc": "bbox_val/val/ILSVRC2012_val_00000001.xml",
        "openimages": "test/01226z/0cd9ac0169ec7df0_m01226z_6932e990.png",
    }
    path = dataset.root / files[name]
    assert path.is_file()
    lists = [folder / "localization.txt" for folder in dataset._folders.values()]
    with firewall.training("a greedy method"):
        assert dataset.load_image("train", 0).size and dataset.load_image("test", 0).size
        for shut in (path, *lists):
            with pytest.raises(FirewallError):
                shut.read_bytes()
        with pytest.raises(FirewallError):
            load_boxes(dataset, "test", "gt")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_there(tmp_path: Path, name: str) -> None:
    says = "split files" if name == "camelyon16" else rf"{name} in its official layout .* datasets prepare {name}"
    with pytest.raises(DataError, match=says):
        open_dataset(name, root=tmp_path)
    with pytest.raises(DataError, match="check --root"):
        open_dataset(name, root=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="--root DIR"):
        open_dataset(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_image_is_named(tmp_path: Path, name: str) -> None:
    MINIATURES[name](tmp_path)
    dataset = open_dataset(name, root=tmp_path)
    assert isinstance(dataset, OfficialDataset)
    path = dataset.image_path("test", 1)
    path.unlink()
    with pytest.raises(DataError, match=re.escape(str(path))):
        dataset.load_image("test", 1)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="web page"):
        dataset.load_image("test", 1)


@pytest.mark.parametrize("name", NAMES)
def test_every_dataset_has_a_card(name: str) -> None:
    card = read_card(name)
    dataset_class = DATASETS.get(name)
    assert issubclass(dataset_class, OfficialDataset)
    assert card is not None and card.name == name and card.pitfalls
    assert (card.annotation == "masks") == dataset_class.masks


def test_metadata_replaces_the_archive_split_by_split(tmp_path: Path) -> None:
    MINIATURES["cub"](tmp_path)
    whole = Cub(tmp_path)
    ids = whole.split("test").ids[:3]
    write_four_file(tmp_path / "elsewhere" / "CUB" / "test", ids=ids, labels=whole.split("test").labels[:3])
    partial = Cub(tmp_path, tmp_path / "elsewhere")
    assert partial.split("test").ids == ids and partial.split("train").ids == whole.split("train").ids
    assert not partial.has_ground_truth("test") and not partial.has_ground_truth("val")
    with firewall.judging("a test"), pytest.raises(DataError, match=r"CUB/test.* with --metadata"):
        partial.ground_truth("test")
    with pytest.raises(DataError, match="check --metadata"):
        Cub(tmp_path, tmp_path / "CUBV2")


def test_the_version_follows_ids_and_labels(tmp_path: Path) -> None:
    MINIATURES["cub"](tmp_path)
    before = Cub(tmp_path)
    assert Cub(tmp_path).version == before.version
    fingerprint = before.fingerprint("train")
    before.image_path("train", 0).write_bytes(before.image_path("train", 1).read_bytes())
    assert before.fingerprint("train") != fingerprint


@pytest.mark.parametrize("name", ["cub", "ilsvrc", "openimages"])
def test_what_macos_leaves_in_archives_is_no_image(tmp_path: Path, name: str) -> None:
    MINIATURES[name](tmp_path)
    before = open_dataset(name, root=tmp_path)
    for split in SPLITS:
        image = before.image_path(split, 0)
        assert image is not None
        image.with_name(f"._{image.name}").write_bytes(b"\0")
    assert open_dataset(name, root=tmp_path).version == before.version
