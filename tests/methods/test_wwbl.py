from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from wsol_bench.methods import wwbl
from wsol_bench.methods.base import Batch
from wsol_bench.methods.wwbl import WWbL

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])
BATCH = Batch(IMAGES, LABELS, 1)


def _wwbl(**values: object) -> Any:
    torch.manual_seed(0)
    method = WWbL()
    method.build(3, ("fox", "owl", "bee"), WWbL.HParams.from_dict({"backbone": "resnet_tiny", **values}), 64)
    return method.train()


def _masked(method: Any, monkeypatch: pytest.MonkeyPatch, value: float) -> dict[str, torch.Tensor]:
    monkeypatch.setattr(method, "mask", lambda images: torch.full((3, 64, 64), value))
    losses: dict[str, torch.Tensor] = method.training_step(BATCH)
    return losses


def _likeness(method: Any, pixels: torch.Tensor) -> torch.Tensor:
    features = F.normalize(method.clip.tower.encode(method.clip.tower.prepare(pixels)), dim=-1)
    return (features * method.texts[LABELS]).sum(dim=1).mean()


def test_a_full_mask_keeps_the_image_and_an_empty_one_removes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _wwbl()
    pixels = method.pixels(IMAGES)
    grey = torch.full_like(pixels, wwbl.REMOVED)
    losses = _masked(method, monkeypatch, 1.0)
    torch.testing.assert_close(losses["foreground"], -_likeness(method, pixels))
    torch.testing.assert_close(losses["background"], _likeness(method, grey))
    assert float(losses["size"]) == 1.0
    losses = _masked(method, monkeypatch, 0.0)
    torch.testing.assert_close(losses["foreground"], -_likeness(method, grey))
    torch.testing.assert_close(losses["background"], _likeness(method, pixels))
    assert float(losses["size"]) == 0.0


def test_the_relevance_term(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _wwbl()
    relevance = method.relevance(IMAGES, LABELS)["maps"]
    large = F.interpolate(relevance[:, None], (64, 64), mode="bilinear")[:, 0]
    losses = _masked(method, monkeypatch, 0.25)
    torch.testing.assert_close(losses["relevance"], 4 * (large - 0.25).square().mean())


def test_images_without_relevance_teach_nothing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _wwbl()
    relevance = method.relevance(IMAGES, LABELS)["maps"].clone()
    relevance[1] = 0
    monkeypatch.setattr(method.relevance, "forward", lambda images, labels: {"maps": relevance})
    large = F.interpolate(relevance[:, None], (64, 64), mode="bilinear")[:, 0]
    losses = _masked(method, monkeypatch, 0.25)
    torch.testing.assert_close(losses["relevance"], 4 * (large[[0, 2]] - 0.25).square().mean())


def test_only_the_mask_network_is_trained_and_saved() -> None:
    method = _wwbl()
    before = {name: value.clone() for name, value in method.clip.tower.state_dict().items()}
    optimizer = torch.optim.SGD(method.param_groups(0.1), 0.1)
    losses = method.training_step(BATCH)
    assert set(losses) == {"foreground", "background", "relevance", "size"}
    sum(losses.values()).backward()  # type: ignore[union-attr]
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in method.clip.tower.state_dict().items())
    assert {name.partition(".")[0] for name in method.state_dict()} == {"unet"}
    for name in ("foreground", "background", "relevance", "size"):
        assert any(
            one is not None and one.any()
            for one in torch.autograd.grad(
                method.training_step(BATCH)[name], list(method.unet.parameters()), allow_unused=True
            )
        ), name


def test_factors() -> None:
    method, plain = _wwbl(size_weight=0.0, foreground_weight=2.0).eval(), _wwbl().eval()
    with torch.no_grad():
        ours, theirs = method.training_step(BATCH), plain.training_step(BATCH)
    assert float(ours["size"]) == 0.0 and theirs["size"] > 0
    torch.testing.assert_close(ours["foreground"], 2 * theirs["foreground"])


def test_all_pairs_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _wwbl(pairing="all_pairs")
    features = F.normalize(method.clip.tower.encode(method.clip.tower.prepare(method.pixels(IMAGES))), dim=-1)
    losses = _masked(method, monkeypatch, 1.0)
    torch.testing.assert_close(losses["foreground"], 1 - (features @ method.texts[LABELS].T).mean())


def test_words_that_compete(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _wwbl(distractors="sky, grass", word="animal")
    assert len(method.others) == 2 and torch.equal(method.texts[0], method.texts[1])
    losses = _masked(method, monkeypatch, 1.0)
    assert float(losses["foreground"]) > 0, "a cross-entropy"
    losses = _masked(method, monkeypatch, 0.0)
    assert float(losses["background"]) == pytest.approx(1.0, abs=1e-3), "nothing removed: as the whole image"


def test_maps_need_no_text_and_classes_come_from_clip() -> None:
    method = _wwbl().eval()
    with torch.no_grad():
        found, other = method.localize(IMAGES, LABELS), method.localize(IMAGES)
        logits = method.clip.logits(method.clip.tower.prepare(method.pixels(IMAGES)))
    assert found.maps.shape == (3, 64, 64) and torch.equal(found.maps, other.maps)
    assert ((found.maps > 0) & (found.maps < 1)).all()
    torch.testing.assert_close(found.logits, logits)
