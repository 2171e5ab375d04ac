from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from wsol_bench.annotators.base import AnnotatorContext
from wsol_bench.annotators.selective_search import SelectiveSearch, propose
from wsol_bench.errors import UsageError
from wsol_bench.registry import ANNOTATORS

LABELS = np.array([0, 1, 0, 1, 0, 1])
IDS = [f"{i}.png" for i in range(6)]


def test_boxes_are_the_same_at_every_run(photos: Any) -> None:
    for image in photos:
        first = propose(image).boxes
        np.testing.assert_array_equal(first, propose(image).boxes)
        np.testing.assert_array_equal(first, np.unique(first, axis=0))
        assert len(first) > 5
        assert first.min() >= 0
        assert first.max() < 64
        assert (first[:, 2:] >= first[:, :2]).all()


def test_quality_finds_more(photos: Any) -> None:
    assert sum(len(propose(image, "quality")) for image in photos) > sum(len(propose(image)) for image in photos)


def test_a_plain_square_is_found(square_image: Any) -> None:
    for side in (64, 100, 128, 224):
        boxes = propose(square_image((16, 20, 39, 47)), search_side=side).boxes
        assert np.abs(boxes - [16, 20, 39, 47]).max(axis=1).min() <= 1


def test_annotate_returns_a_box_per_image(colour_classifier: Any, photos: Any) -> None:
    seen: list[int] = []
    with SelectiveSearch(AnnotatorContext(("red", "blue"), colour_classifier)) as annotator:
        annotated = annotator.annotate(photos, LABELS, IDS, lambda: seen.append(1))
    assert [image.image_id for image in annotated] == IDS
    assert len(seen) == 6
    for image in annotated:
        assert image.funnel is not None
        assert image.box.tolist() == image.funnel.box.tolist()
        assert image.box.dtype == np.int32


def test_annotate_finds_the_object(colour_classifier: Any, square_image: Any) -> None:
    images = np.stack([square_image((16, 20, 39, 47)), square_image((5, 30, 40, 60), channel=2)])
    options = {"outside": "zero", "keep": 1.0}
    annotated = SelectiveSearch(AnnotatorContext(("red", "blue"), colour_classifier), options).annotate(
        images, LABELS[:2], IDS[:2]
    )
    for image, expected in zip(annotated, [(16, 20, 39, 47), (5, 30, 40, 60)], strict=True):
        assert np.abs(image.box - expected).max() <= 1


def test_any_number_of_workers_gives_the_same_boxes(colour_classifier: Any, photos: Any) -> None:
    results = []
    for workers in (1, 2):
        context = AnnotatorContext(("red", "blue"), colour_classifier, workers=workers)
        with SelectiveSearch(context) as annotator:
            results.append(
                annotator.annotate(photos, LABELS, IDS) + annotator.annotate(photos[:2], LABELS[:2], IDS[:2])
            )
    for one, two in zip(*results, strict=True):
        assert one.funnel is not None
        assert two.funnel is not None
        np.testing.assert_array_equal(one.funnel.boxes, two.funnel.boxes)
        np.testing.assert_array_equal(one.funnel.scores, two.funnel.scores)
        assert one.box.tolist() == two.box.tolist()


def test_closing_twice_is_fine(colour_classifier: Any) -> None:
    annotator = SelectiveSearch(AnnotatorContext(("red", "blue"), colour_classifier))
    annotator.close()
    annotator.close()


def test_registry_knows_it() -> None:
    assert ANNOTATORS.get("ss") is SelectiveSearch
    assert SelectiveSearch.supervision == "none"
    assert SelectiveSearch.needs_classifier


def test_a_classifier_is_needed() -> None:
    with pytest.raises(UsageError, match="classifier for the annotator 'ss'"):
        SelectiveSearch(AnnotatorContext(("red", "blue")))


def test_an_unknown_mode_is_refused(colour_classifier: Any) -> None:
    with pytest.raises(UsageError, match="mode"):
        SelectiveSearch(AnnotatorContext(("red", "blue"), colour_classifier), {"mode": "slow"})


def test_workers_import_no_deep_learning_stack() -> None:
    code = (
        "import sys, wsol_bench.annotators.selective_search;"
        "print([name for name in ('torch', 'matplotlib', 'numba', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
