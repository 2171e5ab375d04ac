from __future__ import annotations

import math

import pytest
import torch

from wsol_bench.losses.entropy import entropy_loss
from wsol_bench.losses.partial_cross_entropy import partial_cross_entropy
from wsol_bench.losses.pseudo_pixels import IGNORE
from wsol_bench.losses.region_size import barrier_of_epoch, log_barrier, region_size_loss


def test_only_labelled_pixels_count() -> None:
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    seeds = torch.full((2, 4, 4), IGNORE)
    seeds[0, 1, 2], seeds[1, 3, 3], seeds[1, 0, 0] = 1, 0, 1
    logs = torch.log_softmax(logits, dim=1)
    expected = -(logs[0, 1, 1, 2] + logs[1, 0, 3, 3] + logs[1, 1, 0, 0]) / 3
    torch.testing.assert_close(partial_cross_entropy(logits, seeds), expected)


def test_no_label_is_no_loss_and_no_nan() -> None:
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.full((2, 4, 4), IGNORE))
    loss.backward()
    assert float(loss) == 0.0 and logits.grad is not None and not logits.grad.any()


def test_the_barrier_is_smooth_at_its_corner() -> None:
    for t in (1.0, 2.5):
        corner = -1 / t**2
        around = torch.tensor([corner - 1e-4, corner + 1e-4], dtype=torch.float64, requires_grad=True)
        values = log_barrier(around, t)
        assert float(values[1].detach() - values[0].detach()) == pytest.approx(2e-4 * t, rel=1e-3)
        values.sum().backward()
        assert around.grad is not None and float(around.grad[0]) == pytest.approx(float(around.grad[1]), rel=1e-3)


def test_the_barrier_of_a_whole_image() -> None:
    assert float(log_barrier(torch.tensor(-50176.0), 1.0)) == pytest.approx(-10.823, abs=1e-3)
    assert float(log_barrier(torch.tensor(0.0), 1.0)) == pytest.approx(1.0)


def test_small_regions_are_pushed_to_grow() -> None:
    probabilities = torch.stack([torch.full((4, 4), 0.9), torch.full((4, 4), 0.1)])[None].requires_grad_()
    region_size_loss(probabilities, 1.0).backward()
    assert probabilities.grad is not None
    big, small = probabilities.grad[0, 0, 0, 0], probabilities.grad[0, 1, 0, 0]
    assert small < big < 0


def test_the_barrier_sharpens_with_the_epochs() -> None:
    assert [round(barrier_of_epoch(epoch), 2) for epoch in (1, 2, 51, 500)] == [1.0, 1.01, 1.64, 10.0]


def test_entropy() -> None:
    assert float(entropy_loss(torch.zeros(2, 4, 3, 3))) == pytest.approx(math.log(4))
    assert float(entropy_loss(torch.tensor([[100.0, 0.0]]))) == pytest.approx(0.0, abs=1e-6)
