from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.datasets.base import SPLITS
from wsol_bench.datasets.critters import Critters
from wsol_bench.datasets.critters.anatomy import PART_NAMES
from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.marks import SPECIES
from wsol_bench.datasets.critters.scene import Scene
from wsol_bench.errors import FirewallError, UsageError

# Exact, and checked with numpy 1.26 and 2.4, with and without vector instructions: the drawing uses only operations
# that IEEE 754 rounds in one way. A change here needs a new REVISION of the dataset.
SHA256 = {
    # One of each ground at 64 px, and other sizes.
    (64, "train", 0): "fdf0d855d885199d",
    (64, "train", 1199): "7cba14d1a9e6dd64",
    (64, "val", 0): "00347d32a8cff37b",
    (64, "val", 1): "c8af621e99393721",
    (64, "val", 2): "7540438364ff90b2",
    (64, "val", 4): "9844d62f7b9b3e45",
    (64, "val", 5): "0682a174564439c4",
    (64, "val", 6): "ca2b4b6f1dec5c10",
    (64, "val", 11): "749ac157fef7c069",
    (64, "val", 17): "666acf832a428330",
    (64, "val", 18): "980267cc4d68ee05",
    (64, "val", 26): "10f911cf401e4bae",
    (100, "test", 6): "91a0c006bd1f3c78",
    (224, "test", 8): "cfd6d8eadc49de6e",
}


@pytest.fixture(scope="module")
def critters() -> Critters:
    return Critters(train=40, val=120, test=20)


def extents(mask: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())


def test_splits_have_ids_and_balanced_labels() -> None:
    critters = Critters()
    for name, count in zip(SPLITS, (1200, 200, 400), strict=True):
        split = critters.split(name)
        assert len(split) == count
        assert split.ids[12] == f"{name}/00012.png"
        assert len(set(split.ids)) == count
        assert split.labels.dtype == np.int64
        assert set(np.bincount(split.labels, minlength=critters.num_classes)) == {count // critters.num_classes}
    assert not np.array_equal(critters.split("val").labels, critters.split("test").labels[:200])


def test_odd_counts_are_balanced_within_one() -> None:
    counts = np.bincount(Critters(val=37).split("val").labels, minlength=10)
    assert counts.max() - counts.min() == 1


@pytest.mark.parametrize("size", [64, 101, 224])
def test_images_are_square_rgb_bytes(size: int) -> None:
    critters = Critters(size=size)
    image = critters.load_image("test", 3)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5
    assert critters.frame == size


def test_an_image_depends_on_seed_split_and_index_only(critters: Critters) -> None:
    many = Critters()
    for name in SPLITS:
        few = critters.split(name)
        assert many.split(name).ids[: len(few)] == few.ids[: len(many.split(name))]
        assert np.array_equal(many.split(name).labels[:20], few.labels[:20])
        assert np.array_equal(many.load_image(name, 17), critters.load_image(name, 17))
    images = [critters.load_image("train", 0), critters.load_image("val", 0), critters.load_image("train", 1)]
    images.append(Critters(seed=1).load_image("train", 0))
    assert len({image.tobytes() for image in images}) == 4


@pytest.mark.parametrize(("size", "split", "index"), SHA256)
def test_pixels_owners_and_captions_stay_as_they_are(size: int, split: str, index: int) -> None:
    critters = Critters(size=size)
    label = int(critters.split(split).labels[index])
    scene = Scene.compose((0, SPLITS.index(split), index), label)
    picture = scene.render(size)
    digest = hashlib.sha256(picture.image.tobytes() + picture.owner.tobytes() + scene.caption().encode())
    assert digest.hexdigest()[:16] == SHA256[size, split, index]
    assert np.array_equal(critters.load_image(split, index), picture.image)


@pytest.mark.parametrize("index", range(6))
def test_every_size_shows_the_same_scene(index: int) -> None:
    scene = Scene.compose((0, 1, index), index)
    small, large = scene.render(64), scene.render(192)
    shrunk = large.image.reshape(64, 3, 64, 3, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small.image).mean() < 8
    assert np.abs(np.subtract(extents(large.owner), np.multiply(extents(small.owner), 3))).max() <= 6


def test_a_box_is_the_extents_of_its_mask(critters: Critters) -> None:
    with firewall.judging("test"):
        boxes, drawn = critters.ground_truth("val"), critters.ground_truth_masks("val")
    assert drawn.ids == boxes.ids and drawn.counts.tolist() == [1] * 120
    masks = np.stack([drawn.draw(index, 64, 64) for index in range(len(drawn))])
    assert masks.shape == (120, 64, 64)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 1}
    assert boxes.ids == critters.split("val").ids
    assert (boxes.sizes == 64).all()
    for index, mask in enumerate(masks):
        assert [tuple(box) for box in boxes.of(index)] == [extents(mask)]


def test_parts_lie_in_the_box_and_span_it(critters: Critters) -> None:
    with firewall.judging("test"):
        boxes, parts = critters.ground_truth("val"), critters.part_boxes("val")
    assert tuple(parts) == boxes.ids
    for index, by_name in enumerate(parts.values()):
        found = np.array(list(by_name.values()))
        assert set(by_name) <= set(PART_NAMES)
        assert {"body", "head", "mark"} <= set(by_name)
        assert tuple(boxes.of(index)[0]) == (*found[:, :2].min(axis=0), *found[:, 2:].max(axis=0))


def test_the_mark_is_small_but_visible_and_the_boxes_vary(critters: Critters) -> None:
    with firewall.judging("test"):
        boxes, parts = critters.ground_truth("val").boxes, critters.part_boxes("val")
    marks = np.array([by_name["mark"] for by_name in parts.values()])
    area = _areas(boxes)
    assert area.min() / 64**2 > 0.08
    assert area.max() / 64**2 < 0.6
    assert 0.25 < area.mean() / 64**2 < 0.31
    assert (_areas(marks) / area).mean() < 0.2
    assert (marks[:, 2:] - marks[:, :2] + 1).min() >= 4


@pytest.mark.parametrize("index", range(12))
def test_the_label_changes_the_mark_and_nothing_else(index: int) -> None:
    scene = Scene.compose((0, 0, index), 0)
    x, y, radius = scene.mark_circle()
    centres = (np.arange(64) + 0.5) / 64
    outside = (centres[None, :] - x) ** 2 + (centres[:, None] - y) ** 2 > (radius + 0.03) ** 2
    first = scene.render(64)
    for label in range(1, len(SPECIES)):
        twin = Scene.compose((0, 0, index), label)
        assert (twin.pose, twin.ground, twin.mark_height) == (scene.pose, scene.ground, scene.mark_height)
        other = twin.render(64)
        assert np.array_equal(first.image[outside], other.image[outside])
        assert np.array_equal(first.owner[outside], other.owner[outside])
        assert not np.array_equal(first.image, other.image)


def test_nothing_covers_the_mark() -> None:
    mark = PART_NAMES.index("mark") + 1
    visible = [(Scene.compose((0, 2, i), i % 10).render(64).owner == mark).sum() for i in range(60)]
    assert min(visible) >= 8


def test_neither_kind_nor_colour_alone_decides_the_class() -> None:
    assert len({(species.kind, species.colour) for species in SPECIES}) == len(SPECIES)
    for species in SPECIES:
        assert sum(species.kind == other.kind for other in SPECIES) == 2
        assert sum(species.colour == other.colour for other in SPECIES) == 2


def test_captions_are_free_and_true_to_the_class(critters: Critters) -> None:
    with firewall.training("test"):
        captions = critters.captions("train")
    split = critters.split("train")
    assert tuple(captions) == split.ids
    for image_id, label in zip(split.ids, split.labels, strict=True):
        caption = captions[image_id]
        assert [s.adjective in caption for s in SPECIES].index(True) == label
        assert sum(s.adjective in caption for s in SPECIES) == 1
        assert "critter" in caption
    assert len(set(captions.values())) > 35


@pytest.mark.parametrize("reader", ["ground_truth", "ground_truth_masks", "part_boxes"])
def test_ground_truth_opens_to_the_judge_only(critters: Critters, reader: str) -> None:
    with pytest.raises(FirewallError):
        getattr(critters, reader)("val")
    with firewall.judging("judge"), firewall.training("method"), pytest.raises(FirewallError):
        getattr(critters, reader)("val")
    with firewall.ledger() as ledger, firewall.judging("judge"):
        getattr(critters, reader)("test")
    assert ledger.supervision() == "gt:test"


def test_a_caller_may_write_into_an_image(critters: Critters) -> None:
    image = critters.load_image("val", 5)
    before = image.copy()
    image[:] = 0
    assert np.array_equal(critters.load_image("val", 5), before)


def test_pickling_leaves_the_pictures_behind(critters: Critters) -> None:
    image = critters.load_image("val", 7)
    again = pickle.loads(pickle.dumps(critters))
    assert len(pickle.dumps(critters)) < 50_000
    assert np.array_equal(again.load_image("val", 7), image)


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from wsol_bench.datasets.critters import dataset

    monkeypatch.setattr(dataset, "_CACHE_BYTES", 3 * 64 * 64 * 4)
    critters = Critters(val=6)
    first = [critters.load_image("val", i) for i in range(6)]
    assert len(critters._pictures) == 3
    assert all(np.array_equal(critters.load_image("val", i), image) for i, image in enumerate(first))


def test_the_version_names_what_differs_from_the_default() -> None:
    assert Critters().version == "critters-64@1"
    assert Critters(size=128, seed=3, train=100).version == "critters-128@1+seed=3+train=100"


def test_options_come_as_text() -> None:
    critters = Critters.from_spec({"size": "96", "seed": "2", "val": "30"})
    assert (critters.frame, critters.seed, len(critters.split("val"))) == (96, 2, 30)
    with pytest.raises(UsageError, match=r"Did you mean 'size'"):
        Critters.from_spec({"sise": "96"})
    with pytest.raises(UsageError, match="whole number but got 'big'"):
        Critters.from_spec({"size": "big"})


@pytest.mark.parametrize(
    "bad", [{"size": 32}, {"size": 448}, {"size": 64.0}, {"seed": -1}, {"train": 0}, {"val": True}, {"test": -3}]
)
def test_arguments_out_of_range_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"'{next(iter(bad))}' to be a whole number from"):
        Critters(**bad)


def test_unknown_splits_and_indices_are_refused(critters: Critters) -> None:
    with pytest.raises(UsageError, match="Did you mean 'test'"):
        critters.split("tests")
    for index in (-1, 20):
        with pytest.raises(UsageError, match="between 0 and 19"):
            critters.load_image("test", index)


def test_needs_numpy_only() -> None:
    code = (
        "import sys, wsol_bench.datasets.critters as c; c.Critters().load_image('val', 0); "
        "sys.exit(bool({'torch', 'cv2', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_draws_are_made_of_raw_bits() -> None:
    draws = Draws(0, 1, 2)
    assert [draws.integer(0, 999) for _ in range(5)] == [618, 686, 911, 84, 153]
    assert sorted(draws.shuffled(range(20))) == list(range(20))
    array = draws.array(50, 3)
    assert array.dtype == np.float32
    assert array.shape == (50, 3)
    assert 0 <= array.min() < 0.05 < 0.95 < array.max() < 1


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
