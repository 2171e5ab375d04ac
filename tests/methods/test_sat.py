from __future__ import annotations

from typing import Any

import pytest
import torch

from wsol_bench.methods import sat
from wsol_bench.methods.base import Batch
from wsol_bench.methods.sat import SAT, smoothing_kernel

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])


def _sat(**values: object) -> Any:
    torch.manual_seed(0)
    method = SAT()
    method.build(3, tuple("abc"), SAT.HParams.from_dict({"weights": "none", "drop_path": 0.0, **values}), 64)
    return method.eval()


def _silenced(method: Any, monkeypatch: pytest.MonkeyPatch, score: float) -> None:
    """Makes the query of the location token say the same of every token."""
    attention = method.tower.attention

    def silent(index: int, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores, values = attention(index, tokens)
        scores = scores.clone()
        scores[:, :, -1] = score
        return scores, values

    monkeypatch.setattr(method.tower, "attention", silent)


def test_a_silent_token_gives_one_half(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _sat(area=0.35)
    _silenced(method, monkeypatch, 0.0)
    with torch.no_grad():
        _, mask = method.masked(IMAGES)
        losses = method.training_step(Batch(IMAGES, LABELS, 1))
    assert torch.equal(mask, torch.full((3, 8, 8), 0.5))
    assert float(losses["area"]) == pytest.approx(0.15, abs=1e-6)
    # The zero padding darkens the border.
    assert 0.23 < float(losses["normalisation"]) < 0.25


def test_an_open_mask_is_plain_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _sat()
    _silenced(method, monkeypatch, 100.0)
    with torch.no_grad():
        semantic, mask = method.masked(IMAGES)
        tokens = method.tower.embed(IMAGES)
        extra = (method.location + method.location_position).expand(3, -1, -1)
        tokens = torch.cat([tokens, extra], dim=1)
        for index in range(method.tower.depth):
            scores, values = method.tower.attention(index, tokens)
            tokens = method.tower.finish(index, tokens, scores.softmax(dim=-1), values)
    assert (mask == 1).all()
    torch.testing.assert_close(semantic, method.semantic_maps(tokens), rtol=1e-3, atol=1e-4)


def test_the_map_is_the_mask_and_knows_no_class() -> None:
    method = _sat()
    with torch.no_grad():
        found, other = method.localize(IMAGES, LABELS), method.localize(IMAGES)
        semantic, mask = method.masked(IMAGES)
    assert torch.equal(found.maps, mask) and torch.equal(found.maps, other.maps)
    assert ((mask > 0) & (mask < 1)).all()
    torch.testing.assert_close(found.logits, semantic.mean(dim=(2, 3)))


def test_the_class_loss_reaches_the_location_token() -> None:
    method = _sat().train()
    method.training_step(Batch(IMAGES, LABELS, 1))["cross_entropy"].backward()
    assert method.location.grad.abs().sum() > 0
    spared = method.param_groups(1e-3)[1]
    assert any(one is method.location for one in spared["params"]) and spared["weight_decay"] == 0


def test_only_the_last_blocks_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = _sat(), []
    finish = method.tower.finish
    monkeypatch.setattr(method.tower, "finish", lambda index, *rest: seen.append(index) or finish(index, *rest))
    with torch.no_grad():
        method.masked(IMAGES)
    depth = method.tower.depth
    assert seen == list(range(depth - sat.MASKED_BLOCKS, depth))


def test_the_kernel_of_the_reference() -> None:
    kernel = smoothing_kernel()[0, 0]
    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(kernel, kernel.T)
    torch.testing.assert_close(kernel, kernel.flip(0))
    assert kernel[1, 1] > kernel[0, 1] > kernel[0, 0] > 0
