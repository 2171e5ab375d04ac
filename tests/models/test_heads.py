from __future__ import annotations

import pytest
import torch

from wsol_bench.models.heads import LinearHead


def test_the_mean_of_the_map_plus_the_bias_is_the_logit() -> None:
    torch.manual_seed(0)
    head = LinearHead(7, 5).double()
    torch.nn.init.normal_(head.linear.bias)
    features = torch.randn(4, 7, 6, 3, dtype=torch.float64)
    labels = torch.tensor([4, 0, 2, 2])
    maps = head.class_maps(features, labels)
    assert maps.shape == (4, 6, 3)
    expected = head(features)[torch.arange(4), labels]
    torch.testing.assert_close(maps.mean(dim=(1, 2)) + head.linear.bias[labels], expected)


def test_initialisation() -> None:
    torch.manual_seed(0)
    head = LinearHead(512, 200)
    weight = head.linear.weight.detach()
    assert float(weight.mean()) == pytest.approx(0.0, abs=1e-3)
    assert float(weight.std()) == pytest.approx(0.01, rel=0.05)
    assert (head.linear.bias == 0).all()
