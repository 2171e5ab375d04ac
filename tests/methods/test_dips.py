from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wsol_bench.methods.base import Batch, Window
from wsol_bench.methods.dips import CLASSIFIER, LOCALIZER, DiPS, TokenDecoder, box_masks, component_boxes

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])


def _dips(stage: str = LOCALIZER, **values: object) -> Any:
    torch.manual_seed(0)
    method = DiPS()
    method.build(3, tuple("abc"), DiPS.HParams.from_dict(values), 64)
    torch.nn.init.normal_(method.head.weight)
    method.enter_stage(stage)
    return method.train()


def _batch(method: Any, **window: Any) -> Batch:
    proposals = method.harvest()["proposals"](IMAGES, LABELS)
    return Batch(IMAGES, LABELS, 1, Window(**window) if window else Window(), {"proposals": proposals})


def test_decoder_of_the_paper() -> None:
    decoder = TokenDecoder(384, 14, 224)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 1_308_620
    assert sum(parameter.numel() for parameter in torch.nn.Linear(4 * 384, 200).parameters()) == 307_400
    with torch.no_grad():
        out = decoder.eval()(torch.randn(1, 384, 14, 14))
    assert out.shape == (1, 2, 224, 224) and out.min() < 0, "logits may be negative"


@pytest.mark.parametrize(("width", "grid", "frame"), [(96, 8, 64), (16, 37, 518), (8, 64, 64)])
def test_the_decoder_reaches_any_frame(width: int, grid: int, frame: int) -> None:
    with torch.no_grad():
        assert TokenDecoder(width, grid, frame).eval()(torch.zeros(1, width, grid, grid)).shape == (1, 2, frame, frame)


def test_stages_train_one_part_each() -> None:
    method = _dips(CLASSIFIER)
    assert [(one.name, one.epochs) for one in method.stages(10)] == [(CLASSIFIER, 4), (LOCALIZER, 6)]
    assert set(method.training_step(Batch(IMAGES, LABELS, 1))) == {"cross_entropy"} and method.harvest() == {}
    trained = {name.partition(".")[0] for name, one in method.named_parameters() if one.requires_grad}
    assert trained == {"head"}
    method.enter_stage(LOCALIZER)
    trained = {name.partition(".")[0] for name, one in method.named_parameters() if one.requires_grad}
    assert trained == {"localizer"}
    assert set(method.training_step(_batch(method))) == {"seeds", "crf"}


def test_terms_and_versions() -> None:
    without = _dips(crf_weight=0.0)
    assert set(without.training_step(_batch(without))) == {"seeds"}
    workshop = _dips(version="workshop")
    losses = workshop.training_step(_batch(workshop))
    assert set(losses) == {"seeds", "crf", "classifier"}
    losses["classifier"].backward()
    assert any(one.grad is not None and one.grad.any() for one in workshop.localizer.parameters()), (
        "the classifier sees the masked image, so its loss reaches the localizer"
    )
    assert workshop.head.weight.grad is None


def test_proposals_are_ranked_by_what_the_class_keeps() -> None:
    method = _dips(smallest=0.01)
    found = method.harvest()["proposals"](IMAGES, LABELS)
    for row in range(3):
        count = int(found["count"][row])
        scores = found["score"][row, :count]
        assert 1 <= count <= 10 and (scores.diff() <= 0).all() and scores.min() >= 0
        assert (found["boxes"][row, :count] >= 0).all() and (found["boxes"][row, :count] <= 1).all()
        assert not found["boxes"][row, count:].any()
    assert found["map"].max() <= 4, "the mean of the heads and the first four"
    other = method.harvest()["proposals"](IMAGES, LABELS.roll(1))
    assert not torch.equal(other["score"], found["score"])


def test_proposals_are_known_by_classifier_and_settings() -> None:
    method = _dips()
    identity = method.harvest()["proposals"].identity
    assert method.harvest()["proposals"].identity == identity
    assert _dips(smallest=0.2).harvest()["proposals"].identity != identity
    with torch.no_grad():
        method.head.bias.add_(1.0)
    assert method.harvest()["proposals"].identity != identity


def test_pixels_lie_in_one_of_the_best_boxes_or_outside_all() -> None:
    method = _dips(pixels=1000, boxes=3)
    method.rule = replace(method.rule, dilate=1)
    boxes = torch.zeros(3, 10, 4)
    boxes[:, 0] = torch.tensor([0.0, 0.0, 0.25, 0.25])
    boxes[:, 1] = torch.tensor([0.5, 0.5, 1.0, 0.75])
    boxes[:, 2] = torch.tensor([0.75, 0.0, 1.0, 0.25])
    boxes[:, 3] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    proposals = {"boxes": boxes, "map": torch.zeros(3, 10, dtype=torch.int8), "count": torch.tensor([4, 2, 1])}
    attention = torch.rand(3, 3, 8, 8)
    inside = box_masks(boxes[:, :3], 64)
    considered, used = (3, 2, 1), set()
    for seed in range(20):
        torch.manual_seed(seed)
        seeds = method._seeds(Batch(IMAGES, LABELS, 1, Window(), {"proposals": proposals}), attention, 64)
        for row in range(3):
            foreground = seeds[row] == 1
            (index,) = [i for i in range(3) if inside[row, i][foreground].all()]
            used.add((row, index))
            excluded = inside[row, : considered[row]].any(dim=0)
            assert foreground.any() and not excluded[seeds[row] == 0].any()
    assert used == {(row, index) for row in range(3) for index in range(considered[row])}


def test_pixels_scale_with_the_frame() -> None:
    assert _dips(pixels=100).rule.foreground == 8
    assert _dips(pixels=1).rule.foreground == 1


def test_maps_know_no_class() -> None:
    method = _dips().eval()
    with torch.no_grad():
        found, other = method.localize(IMAGES, LABELS), method.localize(IMAGES)
    assert found.maps.shape == (3, 64, 64) and torch.equal(found.maps, other.maps)
    assert ((found.maps >= 0) & (found.maps <= 1)).all()
    torch.testing.assert_close(
        found.logits, F.linear(method.encoder(IMAGES)["classes"], method.head.weight, method.head.bias)
    )


def test_boxes_of_components() -> None:
    region = np.zeros((2, 20, 20), dtype=bool)
    region[0, 2:8, 3:13] = True
    region[0, 15:17, 15:17] = True
    region[1, 0:3, 0:3] = True
    boxes, source = component_boxes(region, 0.1)
    assert boxes.tolist() == [[3, 2, 13, 8]] and source.tolist() == [0]
    boxes, source = component_boxes(region, 0.0)
    assert boxes.tolist() == [[3, 2, 13, 8], [15, 15, 17, 17], [0, 0, 3, 3]] and source.tolist() == [0, 0, 1]
    boxes, _ = component_boxes(region, 0.9)
    assert boxes.tolist() == [[3, 2, 13, 8]], "none is large enough: the largest stays"
    boxes, source = component_boxes(np.zeros((2, 20, 20), dtype=bool), 0.1)
    assert boxes.tolist() == [[0, 0, 20, 20]] and source.tolist() == [0]


def test_masks_of_boxes_count_pixel_centres() -> None:
    masks = box_masks(torch.tensor([[[0.25, 0.5, 0.75, 1.0], [0.3, 0.0, 0.3, 1.0]]]), 4)
    assert masks[0, 0].nonzero().tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert not masks[0, 1].any()
