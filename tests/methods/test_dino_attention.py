from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from wsol_bench.errors import UsageError
from wsol_bench.methods import dino_attention
from wsol_bench.methods.base import Batch
from wsol_bench.methods.dino_attention import DinoAttention
from wsol_bench.models.frozen_vit import candidate_maps

IMAGES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 0])


def _dino(**values: object) -> Any:
    torch.manual_seed(0)
    method = DinoAttention()
    method.build(3, tuple("abc"), DinoAttention.HParams.from_dict(values), 64)
    torch.nn.init.normal_(method.head.weight, std=0.5)
    return method.eval()


def test_the_map_is_one_of_the_candidates() -> None:
    method = _dino()
    with torch.no_grad():
        found = method.localize(IMAGES, LABELS)
        maps = candidate_maps(method.encoder(IMAGES)["attention"], 12)
    assert maps.shape == (4, 1 + method.encoder.heads, 8, 8)
    assert all((maps[row] == found.maps[row]).flatten(1).all(dim=1).any() for row in range(4))
    torch.testing.assert_close(found.logits, method.head(method.encoder(IMAGES)["classes"]))


def test_with_the_mean_alone_the_classifier_does_not_matter() -> None:
    one, other = _dino(heads=0), _dino(heads=0)
    with torch.no_grad():
        other.head.weight.neg_()
        assert torch.equal(one.localize(IMAGES, LABELS).maps, other.localize(IMAGES, LABELS).maps)


def test_without_blur_all_are_alike_and_the_mean_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _dino()
    monkeypatch.setattr(dino_attention, "blurred_images", lambda images, sigma: images)
    with torch.no_grad():
        maps = candidate_maps(method.encoder(IMAGES)["attention"], 12)
        assert method.chosen(IMAGES, maps, LABELS).tolist() == [0, 0, 0, 0]


def test_the_candidate_that_keeps_the_class_wins() -> None:
    method = _dino(blur=60.0)
    maps = torch.zeros(4, 3, 8, 8)
    maps[:, 0, :4], maps[:, 1, 4:], maps[:, 2, 2:6, 2:6] = 1.0, 1.0, 1.0
    with torch.no_grad():
        chosen = method.chosen(IMAGES, maps, LABELS)
        large = F.interpolate(maps, (64, 64), mode="bilinear") > 0.5
        blurred = dino_attention.blurred_images(IMAGES, 60.0 * 64 / 224)
        scores = []
        for index in range(3):
            shown = torch.where(large[:, index : index + 1], IMAGES, blurred)
            scores.append(torch.softmax(method.classify(shown), dim=1)[torch.arange(4), LABELS])
    assert chosen.tolist() == torch.stack(scores).argmax(dim=0).tolist()


def test_flat_candidates_take_no_part() -> None:
    method = _dino()
    maps = torch.ones(4, 3, 8, 8)
    maps[:, 1, :4] = 0.2
    with torch.no_grad():
        assert method.chosen(IMAGES, maps, LABELS).tolist() == [1, 1, 1, 1]
        assert method.chosen(IMAGES, torch.ones(4, 3, 8, 8), LABELS).tolist() == [0, 0, 0, 0]


def test_whose_probability_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    for chosen_by in ("predicted", "true"):
        method = _dino(chosen_by=chosen_by)
        monkeypatch.setattr(
            method, "chosen", lambda images, maps, wanted: seen.append(wanted.tolist()) or torch.zeros_like(wanted)
        )
        with torch.no_grad():
            logits = method.localize(IMAGES, LABELS).logits
        assert seen[-1] == (LABELS if chosen_by == "true" else logits.argmax(dim=1)).tolist()


def test_only_the_probe_is_trained() -> None:
    method = _dino()
    assert {name for name, _ in method.named_parameters()} == {"head.weight", "head.bias"} == set(method.state_dict())
    method.training_step(Batch(IMAGES, LABELS, 1))["cross_entropy"].backward()
    assert method.head.weight.grad.abs().sum() > 0


def test_a_frozen_encoder_needs_weights() -> None:
    with pytest.raises(UsageError, match="weights=none; fix: name them"):
        _dino(weights="none")
