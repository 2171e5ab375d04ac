from __future__ import annotations

from typing import Any

import pytest
import torch

from wsol_bench.methods.base import Batch
from wsol_bench.methods.scm import SCM, START, Diffusion, grid_laplacian
from wsol_bench.methods.ts_cam import TSCAM

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])
SEMANTIC = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(1))
ATTENTION = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(2))


def _scm() -> Any:
    torch.manual_seed(0)
    method = SCM()
    method.build(3, tuple("abc"), SCM.HParams.from_dict({"weights": "none", "drop_path": 0.0}), 64)
    return method


def test_prediction_is_ts_cam_with_stretched_attention() -> None:
    method, plain = _scm().eval(), TSCAM()
    plain.build(3, tuple("abc"), TSCAM.HParams.from_dict({"weights": "none"}), 64)
    plain.load_state_dict({name: one for name, one in method.state_dict().items() if not name.startswith("layers")})
    with torch.no_grad():
        ours, theirs = method.localize(IMAGES, LABELS), plain.eval().localize(IMAGES, LABELS)
        semantic, attention = plain.attended_maps(IMAGES)
    torch.testing.assert_close(ours.logits, theirs.logits)
    low, high = attention.amin(dim=(1, 2), keepdim=True), attention.amax(dim=(1, 2), keepdim=True)
    stretched = (attention - low) / (high - low)
    torch.testing.assert_close(ours.maps, stretched * semantic[torch.arange(3), LABELS], rtol=1e-4, atol=1e-5)


def test_all_scalars_learn_from_the_first_step() -> None:
    method = _scm().train()
    method.training_step(Batch(IMAGES, LABELS, 1))["cross_entropy"].backward()
    for layer in method.layers:
        assert layer.rate.grad.abs() > 0 and layer.threshold.grad.abs() > 0
    assert method.tower.vit.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_class_maps_change_by_factors_only() -> None:
    semantic = SEMANTIC.clone()
    semantic[:, 1] = 0
    changed, attention = Diffusion(4, 4)(semantic, ATTENTION)
    assert (changed[:, 1] == 0).all()
    factors = changed[:, 0] / semantic[:, 0]
    torch.testing.assert_close(changed[:, 3] / semantic[:, 3], factors)
    assert factors.min() >= 1 - 1e-6 and factors.max() <= 2 + 1e-5
    assert (attention >= ATTENTION).all()


def test_the_layer_step_by_step() -> None:
    layer = Diffusion(4, 3)
    flat = SEMANTIC[0].flatten(1).double()
    unit = flat / flat.norm(dim=0)
    matrix = grid_laplacian(4).double() * (unit.T @ unit - 1)
    inverse = START * matrix.T
    for _ in range(3):
        inverse = inverse @ (2 * torch.eye(16) - matrix @ inverse)
    spread = inverse.T @ ATTENTION[0].flatten().double() / (0.5 * ATTENTION[0].max())
    shrunk = spread - spread.tanh()
    shrunk = (shrunk - shrunk.min()) / (shrunk.max() - shrunk.min())
    changed, attention = layer(SEMANTIC, ATTENTION)
    expected = (SEMANTIC[0].flatten(1) * (1 + shrunk)).view(5, 4, 4)
    torch.testing.assert_close(changed[0].double(), expected, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(attention[0].double(), ATTENTION[0] + shrunk.view(4, 4), rtol=2e-3, atol=2e-3)


def test_at_first_only_neighbours_that_differ_are_joined() -> None:
    # Rate 1: similarity of a patch with itself is 1, so that the diagonal vanishes (spec, pitfall 2).
    unit = torch.nn.functional.normalize(SEMANTIC[0].flatten(1), dim=0)
    matrix = grid_laplacian(4) * (unit.T @ unit - 1)
    assert matrix.diagonal().abs().max() < 1e-5
    assert (matrix >= -1e-6).all() and matrix[0, 1] > 0 and matrix[0, 2] == 0


def test_the_grid() -> None:
    laplacian = grid_laplacian(3)
    assert laplacian.sum().item() == 0 and torch.equal(laplacian, laplacian.T)
    assert laplacian.diagonal().tolist() == [2, 3, 2, 3, 4, 3, 2, 3, 2]
    assert laplacian[2, 3] == 0, "no neighbours across rows"


@pytest.mark.parametrize("rate", [50.0, -50.0])
def test_a_runaway_rate_stays_finite(rate: float) -> None:
    layer = Diffusion(14, 16)
    with torch.no_grad():
        layer.rate.fill_(rate)
        semantic = torch.ones(1, 3, 14, 14) + 0.1 * torch.randn(1, 3, 14, 14)
        changed, attention = layer(semantic, torch.rand(1, 14, 14))
    assert changed.isfinite().all() and attention.isfinite().all()


def test_flat_inputs_stay_finite() -> None:
    changed, attention = Diffusion(4, 16)(torch.zeros(1, 5, 4, 4), torch.zeros(1, 4, 4))
    assert changed.isfinite().all() and attention.isfinite().all()
