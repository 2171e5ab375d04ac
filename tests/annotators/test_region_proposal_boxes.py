from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wsol_bench.annotators.base import AnnotatorContext
from wsol_bench.annotators.region_proposals import RegionProposals, pixels_of_edges
from wsol_bench.errors import UsageError
from wsol_bench.models.region_proposals import CONFIG, WEIGHTS, ProposerConfig, build_proposer

LABELS = np.array([0, 1, 0, 1, 0, 1], dtype=np.int64)
IDS = tuple("abcdef")


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    config = ProposerConfig(
        side=64, backbone="resnet_tiny", anchors=(16, 32, 48), ratios=(1.0,), mean=(0.5,) * 3, std=(0.25,) * 3
    )
    (tmp_path / CONFIG).write_text(config.model_dump_json())
    state = build_proposer(config).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / WEIGHTS)
    return str(tmp_path)


def annotate(classifier: Any, photos: Any, **context: Any) -> Any:
    options = context.pop("options")
    with RegionProposals(AnnotatorContext(("red", "blue"), classifier, **context), options) as annotator:
        return annotator.annotate(photos, LABELS, IDS)


def test_proposals_pass_through_the_funnel(colour_classifier: Any, photos: Any, weights: str) -> None:
    found = annotate(colour_classifier, photos, options={"weights": weights})
    assert [image.image_id for image in found] == list(IDS)
    for image in found:
        funnel = image.funnel
        assert funnel is not None and funnel.objectness is not None and funnel.proposed > 10
        assert funnel.top.sum() == np.ceil(0.2 * len(funnel.boxes))
        assert funnel.objectness[funnel.top].min() >= funnel.objectness[~funnel.top].max()
        assert np.isfinite(funnel.scores).sum() <= funnel.top.sum(), "the others need no score"
        assert (image.box == funnel.boxes[funnel.final]).all()


def test_batches_change_nothing(colour_classifier: Any, photos: Any, weights: str) -> None:
    one = annotate(colour_classifier, photos, options={"weights": weights}, batch_size=1)
    all_ = annotate(colour_classifier, photos, options={"weights": weights}, batch_size=6)
    assert [image.box.tolist() for image in one] == [image.box.tolist() for image in all_]


def test_the_card_knows_what_the_detector_has_seen(colour_classifier: Any, weights: str) -> None:
    context = AnnotatorContext(("red", "blue"), colour_classifier)
    annotator = RegionProposals(context, {"weights": weights})
    assert annotator.supervised_by() == "class-agnostic boxes of another dataset"
    assert len(annotator.weights()["detector"]) == 64
    embedded = RegionProposals(context, {"weights": "embedded"})
    assert "critters" in embedded.supervised_by()


def test_critters_take_the_embedded_proposer() -> None:
    assert RegionProposals.options_for("critters", {"keep": 0.1}) == {"weights": "embedded", "keep": 0.1}
    assert RegionProposals.options_for("critters", {"weights": "coco"}) == {"weights": "coco"}
    assert RegionProposals.options_for("cub", {}) == {}


def test_a_classifier_is_needed(weights: str) -> None:
    with pytest.raises(UsageError, match="Expected a classifier for the annotator 'rpn'"):
        RegionProposals(AnnotatorContext(("red", "blue")), {"weights": weights})


def test_edges_become_pixels() -> None:
    edges = np.array([[0, 0, 64, 64], [1.4, 2.5, 9.6, 3.2], [5.0, 5.0, 5.2, 5.2], [63.9, -3, 70, 0]], np.float32)
    expected = [[0, 0, 63, 63], [1, 3, 9, 3], [5, 5, 5, 5], [63, 0, 63, 0]]
    assert pixels_of_edges(edges, 64).tolist() == expected
    assert pixels_of_edges(np.zeros((0, 4), np.float32), 64).shape == (0, 4)
