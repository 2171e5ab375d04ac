from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.datasets.critters import Critters
from wsol_bench.losses.dense_crf import dense_crf_loss, framed_crf_loss, spread_by_grid, spread_exactly


def pictures(count: int, side: int) -> Tensor:
    critters = Critters(train=count)
    images = torch.from_numpy(np.stack([critters.load_image("train", i) for i in range(count)]))
    return F.interpolate(images.permute(0, 3, 1, 2).float(), (side, side), mode="nearest")


def soft_labels(count: int, side: int, seed: int = 0) -> Tensor:
    noise = torch.randn(count, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.softmax(2 * F.interpolate(noise, (side, side), mode="bilinear"), dim=1)


def slow_potts(labels: Tensor, image: Tensor, sigma_rgb: float, sigma_xy: float) -> tuple[float, float]:
    """``sum_r S_r^T W (1 - S_r)`` and ``-sum_r S_r^T W S_r``, pair by pair in double precision."""
    _, height, width = labels.shape
    places = list(itertools.product(range(height), range(width)))
    potts = short = 0.0
    for (y0, x0), (y1, x1) in itertools.product(places, places):
        colour = float((image[:, y0, x0] - image[:, y1, x1]).square().sum())
        place = (x0 - x1) ** 2 + (y0 - y1) ** 2
        weight = math.exp(-place / (2 * sigma_xy**2) - colour / (2 * sigma_rgb**2))
        for channel in labels.double():
            potts += weight * float(channel[y0, x0] * (1 - channel[y1, x1]))
            short -= weight * float(channel[y0, x0] * channel[y1, x1])
    return potts, short


def test_the_exact_loss_is_the_sum_over_pairs() -> None:
    labels, images = soft_labels(2, 6), pictures(2, 6)
    expected = [slow_potts(*pair, 15.0, 4.0)[1] for pair in zip(labels, images, strict=True)]
    assert float(dense_crf_loss(labels, images, sigma_xy=4.0)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_it_differs_from_the_potts_energy_by_a_constant() -> None:
    image = pictures(1, 5)
    gaps = []
    for seed in range(3):
        potts, short = slow_potts(soft_labels(1, 5, seed)[0], image[0], 15.0, 3.0)
        gaps.append(potts - short)
    assert np.ptp(gaps) < 1e-3 * abs(gaps[0])


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_gradient_is_that_of_finite_differences(scale: float) -> None:
    """On 12 x 12 pixels, through the softmax and the resize; float32 leaves four digits."""
    images = pictures(1, 12)
    logits = torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = dense_crf_loss(torch.softmax(logits, 1), images, sigma_xy=5.0, scale=scale)
    (gradient,) = torch.autograd.grad(loss, logits)
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        direction = torch.randn(1, 2, 12, 12, generator=generator)
        step = 1e-2
        moved = [torch.softmax(logits.detach() + sign * step * direction, dim=1) for sign in (1, -1)]
        high, low = (dense_crf_loss(one, images, sigma_xy=5.0, scale=scale) for one in moved)
        assert float((high - low) / (2 * step)) == pytest.approx(float((gradient * direction).sum()), rel=2e-2, abs=0.2)


def test_the_gradient_on_labels_is_twice_the_filter() -> None:
    labels, images = soft_labels(3, 10).requires_grad_(), pictures(3, 10)
    (gradient,) = torch.autograd.grad(dense_crf_loss(labels, images, sigma_xy=5.0), labels)
    value = float(dense_crf_loss(labels, images, sigma_xy=5.0))
    assert float((gradient * labels).sum()) == pytest.approx(2 * value, rel=1e-5)


def test_one_label_on_a_flat_image_is_the_whole_affinity() -> None:
    labels = torch.zeros(1, 2, 8, 8)
    labels[:, 1] = 1
    flat = torch.full((1, 3, 8, 8), 77.0)
    columns = torch.arange(8, dtype=torch.float64)
    along = torch.exp(-((columns[:, None] - columns) ** 2) / (2 * 3.0**2)).sum()
    assert float(dense_crf_loss(labels, flat, sigma_xy=3.0)) == pytest.approx(-float(along**2), rel=1e-5)


def test_a_mask_along_an_edge_costs_less_than_one_across() -> None:
    image = torch.zeros(1, 3, 16, 16)
    image[:, :, :, 8:] = 200.0
    aligned = torch.zeros(1, 2, 16, 16)
    aligned[:, 1, :, 8:] = 1
    aligned[:, 0] = 1 - aligned[:, 1]
    losses = [float(dense_crf_loss(aligned.roll(shift, dims=3), image)) for shift in (0, 2, 4)]
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("side", [40, 64, 96])
def test_the_grid_is_close_to_the_exact_filter(side: int) -> None:
    labels, images = soft_labels(2, side), pictures(2, side)
    exact, grid = (dense_crf_loss(labels, images, how=how) for how in ("exact", "grid"))  # type: ignore[arg-type]
    assert float(grid) == pytest.approx(float(exact), rel=0.1)
    gradients = []
    for how in ("exact", "grid"):
        leaf = labels.clone().requires_grad_()
        dense_crf_loss(leaf, images, how=how).backward()  # type: ignore[arg-type]
        gradients.append(leaf.grad)
    together = torch.stack([one.flatten() for one in gradients if one is not None])
    assert float(torch.corrcoef(together)[0, 1]) > 0.99


def test_the_grid_is_symmetric_and_keeps_images_apart() -> None:
    features = torch.rand(2, 5, 60, generator=torch.Generator().manual_seed(0)) * 6
    values = torch.randn(2, 60, 60, generator=torch.Generator().manual_seed(1))
    one = torch.eye(60).expand(2, -1, -1)
    affinity = spread_by_grid(one, features)
    torch.testing.assert_close(affinity, affinity.transpose(1, 2), atol=1e-5, rtol=1e-4)
    alone = spread_by_grid(values[:1], features[:1])[0]
    torch.testing.assert_close(alone, values[0] @ affinity[0], atol=1e-3, rtol=1e-3)
    assert float((affinity - spread_exactly(one, features)).abs().max()) < 0.5
    assert float(affinity.diagonal(dim1=1, dim2=2).mean()) == pytest.approx(1.0, abs=0.3)


def test_a_smaller_scale_keeps_the_size() -> None:
    labels, images = soft_labels(2, 64), pictures(2, 64)
    full, half = (float(dense_crf_loss(labels, images, scale=scale, how="exact")) for scale in (1.0, 0.5))
    assert half == pytest.approx(full, rel=0.25)


def test_the_mean_is_over_images() -> None:
    labels, images = soft_labels(4, 12), pictures(4, 12)
    single = [float(dense_crf_loss(labels[i : i + 1], images[i : i + 1])) for i in range(4)]
    assert float(dense_crf_loss(labels, images)) == pytest.approx(np.mean(single), rel=1e-5)
    assert dense_crf_loss(labels.half(), images).dtype == torch.float32


def test_the_framed_loss_is_that_of_the_field_at_224_pixels() -> None:
    generator = torch.Generator().manual_seed(3)
    soft = torch.rand(1, 2, 32, 32, generator=generator).softmax(dim=1)
    images = torch.rand(1, 3, 32, 32, generator=generator) * 255
    expected = dense_crf_loss(soft, images, sigma_xy=100 * 32 / 224) * (224 / 32) ** 4
    torch.testing.assert_close(framed_crf_loss(soft, images), expected)
