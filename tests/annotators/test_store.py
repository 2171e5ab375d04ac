from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from wsol_bench.annotations.four_file import read_four_file
from wsol_bench.annotators.base import AnnotatedImage, Annotator, AnnotatorContext, AnnotatorOptions, Fallback
from wsol_bench.annotators.card import CARD, Recipe, add_quality, problem_with, read_card
from wsol_bench.annotators.selective_search import SelectiveSearch
from wsol_bench.annotators.store import (
    PseudoBoxWriter,
    annotate_split,
    read_annotated,
    split_folder,
    trace_folder,
)
from wsol_bench.errors import DataError

N = 10
IDS = tuple(f"val/{i}.png" for i in range(N))
LABELS = np.arange(N, dtype=np.int64) % 3
SIZES = np.array([[500 + i, 300 + 7 * i] for i in range(N)], dtype=np.int32)
IMAGES = np.random.default_rng(0).integers(0, 255, (N, 64, 64, 3)).astype(np.uint8)


class KilledError(Exception):
    """Stands for a process that dies."""


class Corner(Annotator):
    """Boxes made of an image's first pixel; can die at a chosen image; remembers which it saw."""

    name, version, supervision = "corner", "1", "none"

    class Options(AnnotatorOptions):
        side: int = 20

    options: Options

    def __init__(self, options: dict[str, Any] | None = None, die_at: str | None = None) -> None:
        super().__init__(AnnotatorContext(("a", "b", "c")), options)
        self.die_at = die_at
        self.seen: list[str] = []

    def annotate(self, images: Any, labels: Any, ids: Sequence[str], on_image: Any = None) -> list[AnnotatedImage]:
        annotated = []
        for image, image_id in zip(images, ids, strict=True):
            if image_id == self.die_at:
                raise KilledError
            x, y = (int(value) % 40 for value in image[0, 0, :2])
            box = np.array([x, y, x + self.options.side, y + self.options.side], dtype=np.int32)
            self.seen.append(image_id)
            annotated.append(AnnotatedImage(image_id, box))
            if on_image is not None:
                on_image()
        return annotated


def recipe_of(annotator: Annotator, version: str = "7", count: int = N) -> Recipe:
    return Recipe.of(
        annotator,
        dataset="toys",
        dataset_version=version,
        split="val",
        ids=IDS[:count],
        labels=LABELS[:count],
        frame=64,
    )


def make(root: Path, annotator: Annotator, **options: Any) -> Any:
    folder = split_folder(root, "toys", annotator.name, "val")
    return annotate_split(annotator, folder, recipe_of(annotator), IMAGES, LABELS, IDS, SIZES, chunk_size=3, **options)


def contents(root: Path) -> dict[str, bytes]:
    folder = root / "toys" / "corner" / "val"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_boxes_and_card_are_published(tmp_path: Path) -> None:
    card = make(tmp_path, Corner())
    folder = tmp_path / "toys" / "corner" / "val"
    assert sorted(contents(tmp_path)) == [
        CARD,
        "class_labels.txt",
        "image_ids.txt",
        "image_sizes.txt",
        "localization.txt",
    ]
    read = read_four_file(folder)
    assert read.ids == IDS
    np.testing.assert_array_equal(read.labels, LABELS)
    np.testing.assert_array_equal(read.sizes, SIZES)
    assert read.boxes is not None
    np.testing.assert_array_equal(read.boxes.in_frame(64, 64), [image.box for image in read_annotated(folder)])
    assert card == read_card(folder)
    assert card.recipe.annotator_version == "1"
    assert card.recipe.classifier is None
    assert card.fallbacks["none"] == N
    assert card.quality is None
    assert problem_with(folder, recipe_of(Corner()).model_dump()) is None


def test_card_of_a_funnel_counts_its_steps(tmp_path: Path, colour_classifier: Any, photos: Any) -> None:
    annotator = SelectiveSearch(AnnotatorContext(("red", "blue"), colour_classifier))
    labels, sizes = LABELS[:6] % 2, np.full((6, 2), 64, dtype=np.int32)
    recipe = Recipe.of(
        annotator, dataset="toys", dataset_version="1", split="val", ids=IDS[:6], labels=labels, frame=64
    )
    card = annotate_split(annotator, tmp_path / "val", recipe, photos, labels, IDS[:6], sizes)
    assert card.recipe.classifier == "colour@1"
    assert card.recipe.options["keep"] == 0.2
    steps = card.boxes_per_image
    assert list(steps) == ["proposed", "cleaned", "pool", "top", "survivors"]
    assert steps["proposed"] >= steps["cleaned"] >= steps["pool"] > steps["top"] >= steps["survivors"]
    assert 0.2 <= card.keep_rates["top"] < 0.3
    assert sum(card.fallbacks.values()) == 6
    funnels = [image.funnel for image in read_annotated(tmp_path / "val")]
    assert steps["pool"] == pytest.approx(np.mean([len(f.boxes) for f in funnels if f is not None]), abs=1e-3)
    assert yaml.safe_load((tmp_path / "val" / CARD).read_text())["recipe"]["options"]["mode"] == "fast"


def test_a_killed_run_goes_on_and_ends_with_the_same_files(tmp_path: Path) -> None:
    make(tmp_path / "whole", Corner())
    with pytest.raises(KilledError):
        make(tmp_path / "killed", Corner(die_at=IDS[7]))
    folder = tmp_path / "killed" / "toys" / "corner" / "val"
    assert not folder.exists()
    assert problem_with(folder) is not None
    again = Corner()
    ticks: list[tuple[int, int]] = []
    make(tmp_path / "killed", again, progress=lambda done, total: ticks.append((done, total)))
    assert again.seen == list(IDS[6:])
    assert ticks[0] == (6, N)
    assert ticks[-1] == (N, N)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    card = make(tmp_path, Corner())
    again = Corner()
    assert make(tmp_path, again) == card
    assert again.seen == []


def test_a_damaged_chunk_is_made_again(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        make(tmp_path, Corner(die_at=IDS[9]))
    chunk = sorted(trace_folder(tmp_path / "toys" / "corner" / "val").glob("chunk-*"))[1]
    chunk.write_bytes(chunk.read_bytes()[:50])
    again = Corner()
    make(tmp_path, again)
    assert again.seen == [*IDS[3:6], IDS[9]]


def test_other_options_start_anew(tmp_path: Path) -> None:
    make(tmp_path, Corner())
    other = Corner({"side": 5})
    folder = tmp_path / "toys" / "corner" / "val"
    assert problem_with(folder, {"options": {"side": 5}}) == "made with options {'side': 20}, not {'side': 5}"
    card = make(tmp_path, other)
    assert other.seen == list(IDS)
    assert card.recipe.options == {"side": 5}
    assert problem_with(folder, {"options": {"side": 5}, "dataset_version": "7"}) is None
    assert "dataset_version" in (problem_with(folder, {"dataset_version": "8"}) or "")


def test_edited_boxes_are_noticed(tmp_path: Path) -> None:
    make(tmp_path, Corner())
    path = tmp_path / "toys" / "corner" / "val" / "localization.txt"
    path.write_text(path.read_text().replace(IDS[0], IDS[0], 1) + "\n")
    assert "changed" in (problem_with(path.parent) or "")
    path.unlink()
    assert problem_with(path.parent) is not None


def test_a_folder_without_card_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path, Corner())
    folder = tmp_path / "toys" / "corner" / "val"
    (folder / CARD).unlink()
    assert "card" in (problem_with(folder) or "")
    (folder / CARD).write_text("just: text\n")
    assert "card" in (problem_with(folder) or "")
    with pytest.raises(DataError, match=CARD):
        read_card(folder)
    make(tmp_path, Corner())
    assert problem_with(folder) is None


def test_quality_is_added_to_the_card(tmp_path: Path) -> None:
    card = make(tmp_path, Corner())
    folder = tmp_path / "toys" / "corner" / "val"
    add_quality(folder, {"mean_iou": 41.5, "stages": {"final": {"n": 10}}})
    assert read_card(folder).quality == {"mean_iou": 41.5, "stages": {"final": {"n": 10}}}
    assert read_card(folder).recipe == card.recipe
    assert problem_with(folder, recipe_of(Corner()).model_dump()) is None


def test_a_misbehaving_annotator_is_reported(tmp_path: Path) -> None:
    annotator = Corner()
    writer = PseudoBoxWriter(tmp_path / "val", recipe_of(annotator), IDS, LABELS, SIZES, chunk_size=3)
    chunk = writer.pending()[0]
    good = annotator.annotate(IMAGES[chunk], LABELS[chunk], IDS[chunk])
    with pytest.raises(DataError, match="'corner' to return one box for each of 3"):
        writer.write(chunk, good[:2])
    outside = AnnotatedImage(IDS[0], np.array([0, 0, 64, 10], dtype=np.int32))
    with pytest.raises(DataError, match=r"frame of 64 pixels.*'val/0\.png'"):
        writer.write(chunk, [outside, *good[1:]])
    writer.write(chunk, good)
    assert len(writer.pending()) == 3
    with pytest.raises(DataError, match="goes on where it stopped"):
        writer.finish()


def test_numbers_of_images_must_agree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"as many ids, labels and sizes"):
        PseudoBoxWriter(tmp_path / "val", recipe_of(Corner()), IDS, LABELS, SIZES[:-1])


def test_steps_that_were_never_made_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="annotate again"):
        list(read_annotated(tmp_path / "val"))


def test_sentinels_are_counted(tmp_path: Path) -> None:
    writer = PseudoBoxWriter(tmp_path / "val", recipe_of(Corner(), count=1), IDS[:1], LABELS[:1], SIZES[:1])
    writer.write(slice(0, 1), [AnnotatedImage(IDS[0], np.zeros(4, np.int32), Fallback.EMPTY_MASK)])
    assert writer.finish().fallbacks["empty_mask"] == 1
    assert read_four_file(tmp_path / "val").num_sentinels == 1
