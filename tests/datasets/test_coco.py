from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsol_bench.annotations import firewall
from wsol_bench.annotations.masks import FOREGROUND, IGNORE
from wsol_bench.datasets.coco import Coco
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, FirewallError, UsageError
from wsol_bench.testing.miniatures import BOX, HEIGHT, WIDTH, object_mask, picture

X, Y, W, H = BOX[0], BOX[1], BOX[2] - BOX[0] + 1, BOX[3] - BOX[1] + 1

Write = Callable[..., Path]


def _content(split: str) -> dict[str, Any]:
    """Four images of two classes, one object each."""
    first = {"train": 1, "val": 11, "test": 21}[split]
    images = [
        {"id": first + i, "file_name": f"{split}_{i}.png", "width": WIDTH, "height": HEIGHT, "license": 1}
        for i in range(4)
    ]
    annotations = [
        {"id": first + i, "image_id": first + i, "category_id": 3 + 4 * (i % 2), "bbox": [X, Y, W, H], "iscrowd": 0}
        for i in range(4)
    ]
    return {
        "info": {},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "owl"}, {"id": 3, "name": "wren"}],
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes images and annotation files; a function may change what ``val.json`` holds."""

    def made(change: Callable[[dict[str, Any]], object] | None = None, names: str = "{}.json") -> Path:
        root = tmp_path / "birds"
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        for k, split in enumerate(("train", "val", "test")):
            content = _content(split)
            if split == "val" and change is not None:
                change(content)
            (root / "annotations" / names.format(split)).write_text(json.dumps(content))
            for i in range(4):
                picture(10 * k + i).save(root / f"{split}_{i}.png")
        return root

    return made


def test_labels_are_ranks_of_category_ids(write: Write) -> None:
    birds = open_dataset("coco:name=birds,frame=96", root=write())
    assert (birds.name, birds.frame, birds.class_names) == ("birds", 96, ("wren", "owl"))
    assert birds.split("val").ids == ("val_0.png", "val_1.png", "val_2.png", "val_3.png")
    assert birds.split("val").labels.tolist() == [0, 1, 0, 1]
    assert birds.load_image("test", 3).shape == (HEIGHT, WIDTH, 3) and birds.notes == ()


def test_boxes_are_the_pixels_they_touch_and_for_the_judge(write: Write) -> None:
    birds = Coco(write())
    with pytest.raises(FirewallError):
        birds.ground_truth("val")
    with firewall.training("t"), pytest.raises(FirewallError):
        (birds.root / "annotations" / "val.json").read_text()
    with firewall.judging("a test"):
        assert (birds.ground_truth("val").boxes == BOX).all()


@pytest.mark.parametrize(
    ("box", "corners"),
    [
        ([10, 20, 5, 5], [10, 20, 14, 24]),
        ([10.5, 20.2, 4.1, 4.9], [10, 20, 14, 25]),
        ([10.1, 20, 4.9, 5], [10, 20, 14, 24]),  # 10.1 + 4.9 is a little more than 15
        ([-3, -2, 10, 10], [0, 0, 6, 7]),
        ([30, 20, 50, 50], [30, 20, WIDTH - 1, HEIGHT - 1]),
        ([0, 0, WIDTH, HEIGHT], [0, 0, WIDTH - 1, HEIGHT - 1]),
        ([4.2, 5.3, 0.3, 0.3], [4, 5, 4, 5]),
    ],
)
def test_corners(write: Write, box: list[float], corners: list[int]) -> None:
    birds = Coco(write(lambda content: content["annotations"][0].update(bbox=box)))
    with firewall.judging("a test"):
        assert birds.ground_truth("val").of(0).tolist() == [corners]
        birds.ground_truth("val")
    outside = box[0] < 0 or box[0] + box[2] > WIDTH
    assert birds.notes == (("val: 1 boxes reach outside their image and are clipped",) if outside else ())


def _add(content: dict[str, Any], **fields: Any) -> None:
    content["annotations"].append({"id": 99, "image_id": 11, "category_id": 3, "bbox": [1, 1, 4, 4]} | fields)


def test_crowds_and_flat_boxes_are_no_ground_truth(write: Write) -> None:
    def change(content: dict[str, Any]) -> None:
        _add(content, iscrowd=1)
        _add(content, bbox=[5, 5, 0, 9])
        _add(content, bbox=[6, 6, 2, 2])

    birds = Coco(write(change))
    assert birds.notes == ("val: 1 crowd annotations are no ground truth", "val: 1 boxes without area are left out")
    with firewall.judging("a test"):
        assert birds.ground_truth("val").of(0).tolist() == [list(BOX), [6, 6, 7, 7]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["annotations"][0].update(bbox=[5, 5, 0, 9]), "1 have none, first 'val_0.png'"),
        (lambda c: c["annotations"][0].update(iscrowd=1), "1 have none, first 'val_0.png'"),
        (
            lambda c: c["annotations"][0].update(bbox=[400, 5, 3, 3]),
            r"annotation 11 inside image 11 .*beside it",
        ),
        (lambda c: c["annotations"][0].pop("bbox"), "1 have none"),
    ],
)
def test_images_without_a_usable_box(write: Write, change: Callable[[dict[str, Any]], object], says: str) -> None:
    birds = Coco(write(change))
    with firewall.judging("a test"), pytest.raises(DataError, match=says):
        birds.ground_truth("val")


def test_images_of_several_categories(write: Write) -> None:
    root = write(lambda content: _add(content, category_id=7, bbox=[0, 0, 39, 29]))
    with pytest.raises(DataError, match=r"val.json: .*image 11 \('val_0.png'\) has annotations of wren, owl; fix"):
        Coco(root)
    largest = Coco(root, several="largest")
    assert largest.split("val").labels.tolist() == [1, 1, 0, 1]
    assert largest.notes == ("val: 1 images with several categories take the class of the largest area",)
    with firewall.judging("a test"):
        assert largest.ground_truth("val").of(0).tolist() == [[0, 0, 38, 28]]  # boxes of its class only
    dropped = Coco(root, several="drop")
    assert dropped.split("val").ids == ("val_1.png", "val_2.png", "val_3.png") and "left out" in dropped.notes[0]
    with firewall.judging("a test"):
        assert len(dropped.ground_truth("val")) == 3
    with pytest.raises(UsageError, match="several"):
        Coco(root, several="first")


def test_labels_of_whole_images(write: Write) -> None:
    def change(content: dict[str, Any]) -> None:
        del content["annotations"]
        for i, image in enumerate(content["images"]):
            image["category_id"] = 7 if i else 3

    birds = Coco(write(change))
    assert birds.split("val").labels.tolist() == [0, 1, 1, 1]
    assert not birds.has_ground_truth("val") and birds.has_ground_truth("test")


def test_images_without_any_class_are_left_out_and_noted(write: Write) -> None:
    birds = Coco(write(lambda content: content["annotations"].pop(0)), name="cars")
    assert birds.card() is None  # Called like a dataset of the field, but not it.
    assert len(birds.split("val")) == 3
    assert birds.notes == ("val: 1 images have neither category_id nor annotations and are left out",)


def test_categories_that_nothing_uses(write: Write) -> None:
    root = write()
    for path in (root / "annotations").iterdir():
        content = json.loads(path.read_text())
        content["categories"].insert(0, {"id": 1, "name": "crow"})
        path.write_text(json.dumps(content))
    birds = Coco(root)
    assert birds.class_names == ("wren", "owl") and "first crow" in birds.notes[0]


@pytest.mark.parametrize("names", ["instances_{}2017.json", "{}.json", "my-{}-set.json"])
def test_names_of_annotation_files(write: Write, names: str) -> None:
    assert [len(Coco(write(names=names)).split(split)) for split in ("train", "val", "test")] == [4, 4, 4]


@pytest.mark.parametrize("folder", ["images", "val2017", "images/val"])
def test_folders_of_images(write: Write, folder: str) -> None:
    root = write(names="instances_{}2017.json")
    (root / folder).mkdir(parents=True)
    for i in range(4):
        (root / f"val_{i}.png").rename(root / folder / f"val_{i}.png")
    birds = Coco(root)
    assert birds.split("val").ids[0] == f"{folder}/val_0.png" and birds.load_image("val", 0).size


def test_absent_and_doubtful_files(write: Write, tmp_path: Path) -> None:
    root = write()
    (root / "annotations" / "val.json").unlink()
    with pytest.raises(DataError, match=r"no val.json; found: train, test"):
        Coco(root).split("val")
    (root / "annotations" / "a-val.json").write_text("{}")
    (root / "annotations" / "b_val.json").write_text("{}")
    with pytest.raises(UsageError, match=r"got a-val.json, b_val.json; fix: call the right one val.json"):
        Coco(root)
    with pytest.raises(DataError, match="check --metadata"):
        Coco(root, tmp_path)
    with pytest.raises(DataError, match="check --root"):
        Coco(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["images"].append(c["images"][0]), "every image once but got id 11"),
        (lambda c: c["images"][0].update(file_name="../x.png"), "climbs out"),
        (lambda c: c["images"][0].update(file_name="C:\\x.png"), "backslash"),
        (lambda c: c["images"][0].pop("file_name"), "got None: it is not text"),
        (lambda c: c["images"][0].update(width=0), "above 0 but got 0 and 30"),
        (lambda c: c["images"][0].update(width="40"), "whole number for 'width' of images but got '40'"),
        (lambda c: c["images"][0].update(category_id=5), "known category of image 11 but got 5"),
        (lambda c: c["annotations"][0].update(image_id=77), "annotation 11 to belong to an image but got image_id 77"),
        (lambda c: c["annotations"][0].update(category_id=5), "annotation 11 of a known category but got 5"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), r"bbox of annotation 11 to be \[x, y, width, height\]"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, float("nan")]), "bbox of annotation 11"),
        (lambda c: c["annotations"][0].pop("id"), "'id' of annotations but got None"),
        (lambda c: c["categories"].append({"id": 3}), "every category once but got id 3"),
        (lambda c: c["categories"][0].update(name="hawk"), "categories of train.json but got others"),
        (lambda c: c.update(images=[]), "'images' is empty"),
        (lambda c: c.pop("images"), "'images' to be a list of objects"),
        (lambda c: c.update(annotations=[1]), "'annotations' to be a list of objects"),
    ],
)
def test_malformed_content(write: Write, change: Callable[[dict[str, Any]], object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        Coco(write(change))


@pytest.mark.parametrize(
    ("text", "says"),
    [("<!DOCTYPE html>", "web page"), ("{", "Expected JSON but"), ("[1]", "got a list"), ("", "Expected JSON but")],
)
def test_not_json(write: Write, text: str, says: str) -> None:
    root = write()
    (root / "annotations" / "val.json").write_text(text)
    with pytest.raises(DataError, match=rf"val.json: .*{says}"):
        Coco(root)


def _runs(mask: np.ndarray) -> list[int]:
    """COCO's run lengths: column by column, background first."""
    flat = mask.astype(bool).ravel(order="F")
    counts, last = [0], False
    for value in flat.tolist():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return counts


POLYGON = [[X, Y, X + W, Y, X + W, Y + H, X, Y + H]]


@pytest.mark.parametrize("form", ["polygon", "rle", "compressed"])
def test_segmentations(write: Write, form: str) -> None:
    from pycocotools import mask as coco_mask

    plain = {"size": [HEIGHT, WIDTH], "counts": _runs(object_mask())}
    packed = coco_mask.frPyObjects(plain, HEIGHT, WIDTH)
    shape: Any = {
        "polygon": POLYGON,
        "rle": plain,
        "compressed": {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()},
    }[form]

    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation["segmentation"] = shape
        _add(content, iscrowd=1, segmentation={"size": [HEIGHT, WIDTH], "counts": [0, 5 * HEIGHT, 35 * HEIGHT]})
        _add(content, segmentation=[[30, 2, 36, 2, 36, 8, 30, 8]])

    birds = Coco(write(change), masks=True)
    assert birds.has_masks("val") and not birds.has_masks("test") and not birds.has_ground_truth("val")
    with firewall.judging("a test"), firewall.ledger() as book:
        masks = birds.ground_truth_masks("val")
    assert book.supervision() == "gt:val"
    assert masks.counts.tolist() == [2, 1, 1, 1] and masks.has_ignore.tolist() == [True, False, False, False]
    assert (masks.draw(1, WIDTH, HEIGHT) == object_mask()).all()
    both = masks.draw(0, WIDTH, HEIGHT)
    assert (both[:, :5] == IGNORE).all() and (both[2:8, 30:36] == FOREGROUND).all()
    assert masks.draw(1, 20, 15).shape == (15, 20) and np.unique(masks.draw(0, 20, 15)).tolist() == [0, 1, 255]
    with firewall.judging("a test"), pytest.raises(DataError, match="masks were asked for"):
        birds.ground_truth("val")
    with firewall.judging("a test"), pytest.raises(DataError, match="masks=true"):
        Coco(birds.root).ground_truth_masks("val")


def test_masks_equal_those_of_the_reference_reader(write: Write) -> None:
    """Random polygons and run lengths, drawn by pycocotools' own reader of annotation files."""
    from pycocotools.coco import COCO

    rng = np.random.default_rng(0)

    def change(content: dict[str, Any]) -> None:
        content["annotations"] = []
        for i, image in enumerate(content["images"]):
            for k in range(3):
                points = (rng.random((5, 2)) * (WIDTH, HEIGHT)).round(2).ravel().tolist()
                runs = {"size": [HEIGHT, WIDTH], "counts": _runs(rng.random((HEIGHT, WIDTH)) > 0.9)}
                _add(content, id=10 * i + k, image_id=image["id"], segmentation=runs if k == 2 else [points])

    birds = Coco(write(change), masks=True)
    reference = COCO(str(birds.root / "annotations" / "val.json"))
    with firewall.judging("a test"):
        masks = birds.ground_truth_masks("val")
    for index, image_number in enumerate((11, 12, 13, 14)):
        union = np.zeros((HEIGHT, WIDTH), bool)
        for annotation in reference.loadAnns(reference.getAnnIds(imgIds=[image_number])):
            union |= reference.annToMask(annotation).astype(bool)
        assert union.any() and np.array_equal(masks.draw(index, WIDTH, HEIGHT) == FOREGROUND, union)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ([[1, 2, 3, 4]], "annotation 11 to be polygons or RLE but: a polygon needs at least three points"),
        ({"size": [9, 9], "counts": [0, 81]}, "annotation 11 to be 40x30, as its image, but it is 9x9"),
        ({"counts": [0, 81]}, "annotation 11 to be polygons or RLE"),
        ("polygon", "annotation 11 to be polygons or RLE but: there is none"),
    ],
)
def test_malformed_segmentations(write: Write, shape: Any, says: str) -> None:
    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation["segmentation"] = POLYGON if annotation["id"] > 11 else shape

    with firewall.judging("a test"):
        masks = Coco(write(change), masks=True).ground_truth_masks("val")
    with pytest.raises(DataError, match=says):
        masks.draw(0, WIDTH, HEIGHT)


def test_images_turned_by_exif(write: Write) -> None:
    """The boxes of image 0 are drawn on the turned image, as many labelling tools do."""
    root = write(lambda content: content["images"][0].update(width=HEIGHT, height=WIDTH))
    picture(77).save(root / "val_0.png", exif=_turned())
    with pytest.raises(DataError, match=r"Expected 30x40 pixels, as val.json states, but got 40x30; .*use exif=apply"):
        Coco(root).load_image("val", 0)
    turned = Coco(root, exif="apply")
    assert turned.load_image("val", 0).shape == (WIDTH, HEIGHT, 3)
    assert (turned.load_image("val", 0) == np.rot90(np.asarray(picture(77)), -1)).all()
    assert Coco(root).fingerprint("val") != turned.fingerprint("val")
    with pytest.raises(UsageError, match="exif"):
        Coco(root, exif="yes")


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
