from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.errors import UsageError
from wsol_bench.methods.base import Batch, Window
from wsol_bench.methods.ted_loc import TedLoc, anchors, foreground_cross_entropy

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])
NAMES = ("fox", "owl", "bee")


def _ted(**values: object) -> Any:
    torch.manual_seed(0)
    method = TedLoc()
    method.build(3, NAMES, TedLoc.HParams.from_dict({"width": 8, **values}), 64)
    return method.train()


def _batch(**window: Any) -> Batch:
    maps = torch.zeros(3, 8, 8)
    maps[:, 2:5, 2:6] = 1.0
    return Batch(IMAGES, LABELS, 1, Window(**window) if window else Window(), {"teacher": {"maps": maps}})


def _unit(count: int, width: int) -> Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.mark.parametrize("how", ["qr", "polar", "random"])
@pytest.mark.parametrize("count", [1, 10, 200, 512])
def test_anchors_are_orthonormal_as_long_as_that_is_possible(how: str, count: int) -> None:
    found = anchors(_unit(count, 512), how)
    assert found.shape == (count, 512) and found.dtype == torch.float32
    assert (found @ found.T - torch.eye(count)).abs().max() < 1e-5


@pytest.mark.parametrize("how", ["qr", "polar", "random"])
def test_more_classes_than_dimensions_are_nearly_orthogonal(how: str) -> None:
    texts = F.normalize(_unit(200, 64) + 2.0, dim=1)
    found = anchors(texts, how)
    cosines = found @ found.T - torch.eye(200)
    assert found.shape == (200, 64)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(200))
    # No set of 200 unit vectors in 64 dimensions does better than the Welch bound.
    bound = ((200 - 64) / (64 * 199)) ** 0.5
    assert bound <= cosines.square().mean().sqrt() * (200 / 199) ** 0.5 + 1e-6
    assert cosines.abs().mean() < 0.15 < (texts @ texts.T).mean()


def test_gram_schmidt_starts_at_the_first_text_and_the_polar_factor_forgets_the_order() -> None:
    texts = _unit(10, 64)
    torch.testing.assert_close(anchors(texts, "qr")[0], texts[0])
    shuffled = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(anchors(texts[shuffled], "polar"), anchors(texts, "polar")[shuffled])
    assert (anchors(texts[shuffled], "qr") - anchors(texts, "qr")[shuffled]).abs().max() > 0.01
    assert anchors(texts, "off") is texts


def test_random_anchors_follow_the_seed_and_no_text() -> None:
    torch.manual_seed(3)
    first = anchors(_unit(5, 16), "random")
    torch.manual_seed(3)
    torch.testing.assert_close(anchors(_unit(5, 16).roll(1, 0), "random"), first)


def test_weights_of_patches_sum_to_one() -> None:
    method = _ted().eval()
    with torch.no_grad():
        embeddings, judged, whole = method.embedded(IMAGES)
        assert embeddings.shape == (3, method.targets.shape[1], 32, 32) and judged.shape == (3, 2, 32, 32)
        shares = torch.softmax(judged, dim=1)[:, 1]
        expected = (embeddings * shares[:, None]).sum(dim=(2, 3)) / shares.sum(dim=(1, 2))[:, None]
        torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-5)
        method.judge.weight.zero_()
        embeddings, _, whole = method.embedded(IMAGES)
        torch.testing.assert_close(whole, embeddings.mean(dim=(2, 3)), rtol=1e-4, atol=1e-6)


def test_the_image_loss_alone_trains_the_patch_classifier() -> None:
    method = _ted(distil_weight=0.0, patch_weight=0.0)
    losses = method.training_step(_batch())
    assert set(losses) == {"image"}
    losses["image"].backward()
    assert method.judge.weight.grad.abs().sum() > 0
    blind = _ted(distil_weight=0.0, patch_weight=0.0, pooled_by="uniform")
    blind.training_step(_batch())["image"].backward()
    assert blind.judge.weight.grad is None


def test_every_term_can_be_left_out_but_not_all() -> None:
    assert set(_ted().training_step(_batch())) == {"distillation", "patches", "image"}
    assert set(_ted(distil_weight=0.0).training_step(_batch())) == {"patches", "image"}
    with pytest.raises(UsageError, match="all three factors are 0"):
        _ted(distil_weight=0.0, patch_weight=0.0, image_weight=0.0)


def test_only_decoder_and_patch_classifier_are_trained_and_saved() -> None:
    method = _ted()
    names = {name.partition(".")[0] for name, _ in method.named_parameters()}
    assert names == {"decoder", "embed", "judge"}
    assert {name.partition(".")[0] for name in method.state_dict()} == names | {"targets"}


def test_positions_are_drawn_from_the_object_and_from_what_is_surely_not() -> None:
    torch.manual_seed(0)
    method = _ted(positions=10, foreground_share=0.1)
    seeds = method.seeds(_batch(), 32)
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[7:21, 7:25] = True
    assert (seeds == 1).flatten(1).sum(1).tolist() == [10, 10, 10]
    assert (seeds == 0).flatten(1).sum(1).tolist() == [10, 10, 10]
    assert inside.expand(3, -1, -1)[seeds == 1].all() and not inside.expand(3, -1, -1)[seeds == 0].any()


def test_positions_follow_the_crop() -> None:
    torch.manual_seed(0)
    # The crop is the lower right quarter, mirrored: the object's corner comes to its upper right.
    batch = _batch(corners=torch.full((3, 2), 0.5), side=0.5, flips=torch.ones(3, dtype=torch.bool))
    foreground = (_ted(positions=10, foreground_share=0.1).seeds(batch, 32) == 1).nonzero()
    assert len(foreground) == 30
    assert (foreground[:, 1] < 8 + 4).all() and (foreground[:, 2] >= 32 - 16 - 4).all()


def test_distillation_sees_foreground_only() -> None:
    scores = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    seeds = torch.full((2, 3, 3), 255)
    seeds[0, 1, 1], seeds[0, 0, 0], seeds[1, 2, 0] = 1, 0, 1
    picked = torch.stack([scores[0, :, 1, 1], scores[1, :, 2, 0]])
    labels = torch.tensor([3, 1])
    torch.testing.assert_close(foreground_cross_entropy(scores, labels, seeds), F.cross_entropy(picked, labels))
    assert foreground_cross_entropy(scores, labels, torch.zeros_like(seeds)) == 0


@pytest.mark.parametrize("source", ["patches", "anchor"])
def test_maps(source: str) -> None:
    method = _ted(map=source).eval()
    with torch.no_grad():
        embeddings, judged, whole = method.embedded(IMAGES)
        found, unaided = method.localize(IMAGES, LABELS), method.localize(IMAGES)
    torch.testing.assert_close(found.logits, whole @ method.targets.T)
    if source == "patches":
        torch.testing.assert_close(found.maps, judged.softmax(dim=1)[:, 1])
        assert torch.equal(found.maps, unaided.maps)
        return
    predicted = found.logits.argmax(dim=1)
    for maps, wanted in ((found.maps, LABELS), (unaided.maps, predicted)):
        torch.testing.assert_close(maps, torch.einsum("bdhw,bd->bhw", embeddings, method.targets[wanted]))


def test_pseudo_labels_are_those_of_clip_es_for_the_true_class() -> None:
    method = _ted()
    teacher = method.harvest()["teacher"]
    maps = teacher(IMAGES, LABELS)["maps"]
    assert maps.shape == (3, *(method.clip.tower.grid,) * 2) and teacher.by_label
    assert (maps - teacher(IMAGES, LABELS.roll(1))["maps"]).abs().max() > 0.01
