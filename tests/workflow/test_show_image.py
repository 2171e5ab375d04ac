from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, UsageError
from wsol_bench.testing.miniatures import BOX, MINIATURES
from wsol_bench.workflow.show_image import find_image, show_image


def test_every_source_that_knows_the_image(tmp_path: Path) -> None:
    MINIATURES["cub"](tmp_path / "cub")
    birds = open_dataset("cub", root=tmp_path / "cub")
    pseudo = tmp_path / "pseudo"
    for name, split in (("ss", "val"), ("clip", "test")):
        ids = birds.split(split).ids
        boxes = BoxSet.from_mapping({image_id: [(1, 2, 11, 12)] for image_id in ids}, dict.fromkeys(ids, (40, 30)))
        write_four_file(pseudo / "cub" / name / split, ids=ids, labels=birds.split(split).labels, boxes=boxes)
    with firewall.ledger() as book:
        facts, rows = show_image(birds, "30107316110.jpg", ["noise:25"], pseudo, tmp_path / "x.png")
    assert book.supervision() == "gt:noise:25+gt:val+pseudo:ss"
    assert (facts["split"], facts["label"], facts["class"]) == ("val", 0, "Black footed Albatross")
    assert (facts["width"], facts["height"], facts["mode"], facts["exif_orientation"]) == (40, 30, "RGB", 1)
    assert [row["source"] for row in rows] == ["gt", "ss", "noise:25"]
    assert list(rows[0].values())[1:] == list(BOX) and list(rows[1].values())[1:] == [1, 2, 11, 12]
    assert np.asarray(Image.open(tmp_path / "x.png")).shape[1] >= 640


def test_masks_are_laid_over_a_second_picture(tmp_path: Path) -> None:
    MINIATURES["openimages"](tmp_path)
    images = open_dataset("openimages", root=tmp_path)
    facts, rows = show_image(images, "val/01226z/0cd9ac0169ec7df0.jpg", [], tmp_path / "none", tmp_path / "x.jpg")
    assert rows == [] and facts["split"] == "val"
    assert np.asarray(Image.open(tmp_path / "x.jpg")).shape[1] > 1280


def test_an_image_without_a_file(tmp_path: Path) -> None:
    critters = open_dataset("critters:train=3,val=3,test=3")
    image_id = critters.split("test").ids[1]
    facts, rows = show_image(critters, image_id, [], tmp_path, tmp_path / "x.png")
    assert facts["file"] is None and facts["mode"] is None and [row["source"] for row in rows] == ["gt"]


def test_finding_images(tmp_path: Path) -> None:
    MINIATURES["openimages"](tmp_path)
    images = open_dataset("openimages", root=tmp_path)
    assert find_image(images, "test/0bt_c3/1cd9ac0169ec7df0.jpg") == ("test", 3)
    with pytest.raises(UsageError, match=r"one image but 2 end in '01226z/0cd9|one image but 3 end in '01226z/0cd9"):
        find_image(images, "01226z/0cd9ac0169ec7df0.jpg")
    with pytest.raises(UsageError, match=r"id of an image of openimages, such as 'train/01226z/.*Did you mean '0cd9"):
        find_image(images, "0cd9ac0169ec7df.jpg")


def test_what_cannot_be_shown(tmp_path: Path) -> None:
    critters = open_dataset("critters:train=3,val=3,test=3")
    image_id = critters.split("test").ids[1]
    with pytest.raises(UsageError, match="suffix"):
        show_image(critters, image_id, [], tmp_path, tmp_path / "x.gif")
    with pytest.raises(UsageError, match="no folder"):
        show_image(critters, image_id, ["no/such"], tmp_path, tmp_path / "x.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="Expected boxes for 'test'"):
        show_image(critters, image_id, [str(tmp_path / "empty")], tmp_path, tmp_path / "x.png")
