from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsol_bench.annotators.base import AnnotatorContext, Fallback
from wsol_bench.annotators.clip import ClipBoxes
from wsol_bench.datasets.critters import Critters
from wsol_bench.errors import UsageError
from wsol_bench.maps.normalise import quantise, score_maps
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.models.clip_prompts import VOC_BACKGROUND

CRITTERS = Critters(train=1, val=12, test=1)
IMAGES = np.stack([CRITTERS.load_image("val", i) for i in range(12)])
SPLIT = CRITTERS.split("val")


def annotator(options: dict[str, Any] | None = None, **context: Any) -> ClipBoxes:
    given = ClipBoxes.options_for("critters", options or {})
    return ClipBoxes(AnnotatorContext(CRITTERS.class_names, **context), given)


def test_boxes_are_the_otsu_boxes_of_the_maps() -> None:
    ticks: list[int] = []
    found = annotator().annotate(IMAGES, SPLIT.labels, SPLIT.ids, lambda: ticks.append(1))
    assert [image.image_id for image in found] == list(SPLIT.ids) and len(ticks) == 12
    for image in found:
        assert image.map is not None and image.map.dtype == np.float16 and image.map.shape == (8, 8)
        assert image.funnel is None
        if image.fallback == Fallback.NONE:
            box = otsu_boxes(quantise(score_maps(image.map[None].astype(np.float32), 64)))[0]
            assert np.abs(box - image.box).max() <= 1, "but for the rounding of the stored map"
        else:
            assert image.fallback == Fallback.EMPTY_MASK and not image.box.any() and not image.map.any()


def test_boxes_are_honest_but_not_blind() -> None:
    """The embedded CLIP finds critters: its boxes overlap with the true ones far more than a centre box would."""
    from wsol_bench.annotations import firewall
    from wsol_bench.metrics.iou import box_iou

    found = annotator().annotate(IMAGES, SPLIT.labels, SPLIT.ids)
    with firewall.judging("a test"):
        truth = CRITTERS.ground_truth("val").boxes
    mean = float(box_iou([image.box for image in found], truth).mean())
    assert 0.45 < mean < 0.9
    assert mean > float(box_iou([10, 10, 53, 53], truth).mean()) + 0.05


def test_batches_change_nothing() -> None:
    one = annotator(batch_size=1).annotate(IMAGES, SPLIT.labels, SPLIT.ids)
    all_ = annotator(batch_size=12).annotate(IMAGES, SPLIT.labels, SPLIT.ids)
    assert [image.box.tolist() for image in one] == [image.box.tolist() for image in all_]


def test_the_class_name_matters() -> None:
    right = annotator().annotate(IMAGES, SPLIT.labels, SPLIT.ids)
    wrong = annotator().annotate(IMAGES, (SPLIT.labels + 5) % 10, SPLIT.ids)
    assert any((a.map != b.map).any() for a, b in zip(right, wrong, strict=True) if a.map is not None)


def test_an_image_without_evidence_has_a_box_that_says_so() -> None:
    blank = np.full((1, 64, 64, 3), 127, np.uint8)
    found = [annotator({"background": word}).annotate(blank, SPLIT.labels[:1], ["blank"])[0] for word in ("none", "x")]
    for image in found:
        assert image.box.any() == (image.fallback == Fallback.NONE)


def test_options_follow_the_dataset_unless_the_user_names_a_model() -> None:
    own = ClipBoxes.options_for("critters", {"box_tau": 0.2})
    assert own["weights"] == "embedded" and own["box_tau"] == 0.2 and "{}" in own["prompt"] and "," in own["background"]
    assert ClipBoxes.options_for("critters", {"weights": "openai"}) == {"weights": "openai"}
    assert ClipBoxes.options_for("cub", {}) == {}
    defaults = ClipBoxes.Options()
    assert defaults.prompt == "a clean origami {}." and defaults.background.split(",") == list(VOC_BACKGROUND)
    assert len(set(VOC_BACKGROUND)) == 25
    assert (defaults.model, defaults.weights) == ("ViT-B-16-quickgelu", "openai")


def test_the_card_knows_what_clip_has_seen() -> None:
    assert "critters" in annotator().supervised_by()
    assert len(annotator().weights()["clip"]) == 64
    assert not ClipBoxes.needs_classifier


def test_a_prompt_without_a_place_for_the_class_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"'prompt' to hold \{\} for the class but got 'a bird'"):
        annotator({"prompt": "a bird"})
