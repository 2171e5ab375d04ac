from __future__ import annotations

import pytest
import torch

from wsol_bench.methods.base import Batch
from wsol_bench.methods.has import HaS, hide_patches


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_rate_zero_leaves_the_batch_as_it_is() -> None:
    images = torch.randn(4, 3, 64, 64)
    assert torch.equal(hide_patches(images, 16, 0.0), images)


def test_one_patch_as_large_as_the_image_is_all_or_nothing() -> None:
    hidden = hide_patches(torch.ones(4000, 1, 8, 8), 8, 0.3).mean(dim=(1, 2, 3))
    assert set(hidden.tolist()) == {0.0, 1.0}
    assert float((hidden == 0).float().mean()) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("side", [32, 30])
def test_the_hidden_share_is_the_rate(side: int) -> None:
    hidden = hide_patches(torch.ones(1000, 1, 224, 224), side, 0.4)
    assert float((hidden == 0).float().mean()) == pytest.approx(0.4, abs=0.01)


def test_patches_are_whole_independent_and_the_same_in_every_channel() -> None:
    images = torch.randn(6, 3, 20, 28).clamp(min=0.1)
    hidden = hide_patches(images, 8, 0.5)
    zero = hidden == 0
    assert (zero == zero[:, :1]).all() and torch.equal(hidden[~zero], images[~zero])
    for top, left in ((0, 0), (8, 16), (16, 24)):
        patch = zero[:, 0, top : top + 8, left : left + 8].flatten(1)
        assert (patch.all(dim=1) | ~patch.any(dim=1)).all()
    assert not (zero[0] == zero[1]).all()


def test_only_training_hides() -> None:
    has = HaS()
    has.build(3, tuple("abc"), HaS.HParams.from_dict({"backbone": "resnet_tiny", "drop_area": 0.5}), 64)
    assert has.side == 32
    batch = Batch(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0]), 1)
    losses = {float(has.training_step(batch)["cross_entropy"].detach()) for _ in range(3)}
    assert len(losses) > 1
    has.eval()
    with torch.no_grad():
        assert torch.equal(has.localize(batch.images).maps, has.localize(batch.images).maps)


def test_the_smallest_patch_is_a_pixel() -> None:
    has = HaS()
    has.build(2, ("a", "b"), HaS.HParams.from_dict({"backbone": "resnet_tiny", "drop_area": 0.0}), 64)
    assert has.side == 1
