from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.datasets import card as card_module
from wsol_bench.datasets.four_file_dataset import FourFileDataset
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError
from wsol_bench.testing.miniatures import MINIATURES, picture
from wsol_bench.workflow.check_dataset import check, is_sound
from wsol_bench.workflow.progress import Screen

QUIET = Screen(quiet=True)

Make = Callable[..., FourFileDataset]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a dataset of 8 x 6 images; lines of boxes per split, None for no file with boxes."""

    def write(boxes: dict[str, list[str] | None], labels: str = "01") -> FourFileDataset:
        root = tmp_path / "images"
        for split, lines in boxes.items():
            ids = [f"{split}/{name}.png" for name in "ab"]
            folder = root / "metadata" / split
            folder.mkdir(parents=True)
            (root / split).mkdir()
            for i, image_id in enumerate(ids):
                seed = 10 * len(list(root.iterdir())) + i
                pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / image_id)
            (folder / "image_ids.txt").write_text("\n".join(ids))
            pairs = zip(ids, labels, strict=True)
            (folder / "class_labels.txt").write_text("\n".join(f"{image_id},{label}" for image_id, label in pairs))
            (folder / "image_sizes.txt").write_text("\n".join(f"{image_id},8,6" for image_id in ids))
            (folder / "localization.txt").write_text("\n".join(f"{split}/{line}" for line in lines or []))
        return FourFileDataset(root, class_names=["one", "two"] if labels == "01" else None)

    return write


def test_a_sound_dataset_is_counted() -> None:
    rows = check(open_dataset("critters:train=12,val=6,test=5"), screen=QUIET)
    assert [(row["split"], row["images"], row["boxes"]) for row in rows] == [
        ("train", 12, 12),
        ("val", 6, 6),
        ("test", 5, 5),
    ]
    for row in rows:
        assert row["unreadable"] == row["several_boxes"] == row["full_boxes"] == 0 and row["boxes_usable"]
        assert 5 < row["mean_area"] < 95
    assert rows[0]["classes"] == 10 and rows[0]["problems"] == []
    assert rows[2]["classes"] == 5 and "5 of 10 classes have no image, first " in rows[2]["problems"][0]
    assert is_sound(rows)


def test_facts_about_boxes(make: Make) -> None:
    dataset = make({"val": ["a.png,0,0,7,5", "a.png,2,2,2,5", "b.png,0,0,3,2"]})
    (row,) = check(dataset, screen=QUIET)
    assert (row["boxes"], row["several_boxes"], row["full_boxes"], row["thin_boxes"]) == (3, 1, 1, 1)
    assert row["mean_area"] == pytest.approx(100 * (48 + 4 + 12) / 48 / 3)


def test_all_unreadable_images_are_listed(make: Make) -> None:
    dataset = make({"val": ["a.png,0,0,3,3", "b.png,0,0,3,3"], "test": ["a.png,0,0,3,3", "b.png,0,0,3,3"]})
    assert dataset.root is not None
    (dataset.root / "val" / "a.png").write_bytes(b"")
    (dataset.root / "val" / "b.png").unlink()
    (dataset.root / "test" / "b.png").write_bytes((dataset.root / "test" / "b.png").read_bytes()[:30])
    val, test = check(dataset, screen=QUIET)
    assert (val["unreadable"], test["unreadable"]) == (2, 1)
    assert "a.png: " in val["problems"][0] and "does not exist" in val["problems"][1]
    assert not is_sound([test], "error") and is_sound([test], "skip")
    assert not is_sound([val], "skip")  # Nothing is left of this split.


def test_a_long_list_of_problems_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset("critters:train=1,val=30,test=1")

    def unreadable(split: str, index: int) -> None:
        raise DataError("Broken.")

    monkeypatch.setattr(dataset, "load_image", unreadable)
    val = check(dataset, screen=QUIET)[1]
    assert val["unreadable"] == 30 and val["problems"][-1] == "10 more images cannot be read"


def test_training_needs_no_boxes_but_judging_does(make: Make) -> None:
    dataset = make({"train": None, "val": ["a.png,0,0,3,3", "b.png,0,0,9,9"]})
    train, val = check(dataset, screen=QUIET)
    assert not train["boxes_usable"] and "training does not need" in train["problems"][0]
    assert is_sound([train])
    assert not val["boxes_usable"] and "localization.txt:2" in val["problems"][0] and val["mean_area"] is None
    assert not is_sound([train, val])


def test_ground_truth_is_read_as_a_judge_does(make: Make) -> None:
    dataset = make({"val": ["a.png,0,0,3,3", "b.png,0,0,3,3"]})
    with firewall.ledger() as book:
        check(dataset, screen=QUIET)
    assert book.supervision() == "gt:val" and book.accesses[0].reader == "datasets check"


@pytest.mark.parametrize("name", sorted(MINIATURES))
def test_miniatures_are_whole_but_not_the_official_datasets(tmp_path: Path, name: str) -> None:
    MINIATURES[name](tmp_path)
    dataset = open_dataset(name, root=tmp_path)
    rows = check(dataset, screen=QUIET)
    assert [row["split"] for row in rows] == ["train", "val", "test"]
    assert not is_sound(rows) and is_sound(rows, subset=True)
    problems = [problem for row in rows for problem in row["problems"] if "does not need" not in problem]
    assert problems and all(problem.endswith(f"by the card of {name}") for problem in problems)
    few = check(dataset, screen=QUIET, subset=True)
    assert not [problem for row in few for problem in row["problems"] if "does not need" not in problem]
    kind = "masks" if name in ("camelyon16", "glas", "openimages") else "boxes"
    assert all(row[kind] and row["mean_area"] == 25 for row in rows[1:]) or name == "camelyon16"


def test_the_counts_of_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MINIATURES["cars"](tmp_path)
    dataset = open_dataset("cars", root=tmp_path)
    splits = {
        "train+val": {"images": [8], "boxes": 8, "several": 0},
        "test": {"images": [4], "per_class": [2, 2], "boxes": 4, "several": 0},
    }
    known = {"name": "cars", "title": "x", "classes": 2, "annotation": "boxes", "cite": "x", "licence": "x"}

    def check_with(**changes: object) -> tuple[bool, list[str]]:
        card = card_module.Card.model_validate(known | {"splits": splits} | changes)
        monkeypatch.setattr(dataset, "card", lambda: card)
        rows = check(dataset, screen=QUIET)
        return is_sound(rows), [problem for row in rows for problem in row["problems"]]

    assert check_with() == (True, [])
    by_card = ", by the card of cars"
    wrong = splits | {"train+val": {"images": [9, 10], "boxes": 9, "several": 1}}
    assert check_with(splits=wrong) == (
        False,
        [
            f"expected 9 or 10 images but got 8 of train and val{by_card}",
            f"expected 9 boxes but got 8 of train and val{by_card}",
            f"expected 1 images with several of them but got 0 of train and val{by_card}",
        ],
    )
    assert check_with(splits=splits | {"test": {"per_class": [2, 3]}}) == (
        False,
        [f"expected 2 to 3 images of each class but got 2{by_card}"],
    )
    assert check_with(classes=3)[1] == [f"expected 3 classes but got 2{by_card}"] * 3


def test_the_same_picture_in_two_splits(make: Make) -> None:
    boxes = ["a.png,0,0,3,3", "b.png,0,0,3,3"]
    dataset = make({"train": boxes, "val": boxes, "test": boxes})
    assert dataset.root is not None and is_sound(check(dataset, screen=QUIET))
    for name in ("val/b.png", "test/a.png"):
        Image.open(dataset.root / "train" / "a.png").save(dataset.root / name, compress_level=0)  # Another file.
    rows = check(dataset, screen=QUIET)
    assert [row["shared"] for row in rows] == [0, 1, 1]
    assert rows[1]["problems"] == ["1 images are in another split too, first 'val/b.png' = train: 'train/a.png'"]
    assert not is_sound(rows)


def test_notes_about_files(make: Make) -> None:
    dataset = make({"val": ["a.png,0,0,3,3", "b.png,0,0,3,3"]})
    assert dataset.root is not None
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in "ab":
        Image.new("L", (8, 6), 7).save(dataset.root / "val" / f"{name}.png", exif=exif if name == "a" else None)
    (row,) = check(dataset, screen=QUIET)
    assert row["notes"] == [
        "converted to RGB: 2 L (L is grey, P palette)",
        "1 images carry an EXIF rotation, which is not applied; boxes must be drawn accordingly",
        "1 images repeat another of this split, first 'val/b.png' = 'val/a.png'",
    ]
    assert is_sound([row])


def test_a_dataset_without_boxes_is_sound(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(4):
            picture(10 * ord(label) + i).save(tmp_path / label / f"{i}.png")
    (tmp_path / "a" / "x.txt").write_text("")
    rows = check(open_dataset("folder-of-classes", root=tmp_path), screen=QUIET)
    assert is_sound(rows) and all(row["boxes_usable"] is None and row["problems"] == [] for row in rows)
    assert rows[0]["notes"] == ["1 files are no images by their name, first a/x.txt"]


def test_masks_that_cannot_be_used(tmp_path: Path) -> None:
    MINIATURES["openimages"](tmp_path)
    mask = tmp_path / "val" / "01226z" / "0cd9ac0169ec7df0_m01226z_6932e990.png"
    Image.new("1", (40, 30)).save(mask)
    rows = check(open_dataset("openimages", root=tmp_path), screen=QUIET, subset=True)
    assert "those of 1 images are empty, first 'val/01226z/0cd9" in rows[1]["problems"][0] and not is_sound(rows)
    mask.write_text("<html>")
    rows = check(open_dataset("openimages", root=tmp_path), screen=QUIET, subset=True)
    assert mask.name in rows[1]["problems"][0] and rows[2]["boxes_usable"]


def test_notes_of_the_reader_stand_at_their_split(tmp_path: Path) -> None:
    MINIATURES["cub"](tmp_path)
    path = tmp_path / "CUB_200_2011" / "bounding_boxes.txt"
    path.write_text(path.read_text().replace("5 8.0 6.0 19.0 14.0", "5 8.0 6.0 33.0 25.0", 1))
    rows = check(open_dataset("cub", root=tmp_path), screen=QUIET)
    assert [row["notes"] for row in rows] == [[], [], ["1 boxes reach outside their image and are clipped"]]
