from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.datasets.four_file_dataset import FourFileDataset
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError
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
            for image_id in ids:
                Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(root / image_id)
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
