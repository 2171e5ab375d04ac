from __future__ import annotations

import pytest
import torch

from wsol_bench.methods.adl import ADL, attention_dropout
from wsol_bench.methods.cam import CAM

FEATURES = torch.rand(3, 8, 5, 5, generator=torch.Generator().manual_seed(0))


def test_hiding_zeroes_the_cells_from_the_threshold_on() -> None:
    attention = FEATURES.mean(dim=1)
    dropped = attention_dropout(FEATURES, 1.0, 0.8)
    peak = attention >= 0.8 * attention.amax(dim=(1, 2), keepdim=True)
    assert peak.flatten(1).any(dim=1).all()
    assert (dropped == 0).all(dim=1).eq(peak).all()
    kept = ~peak[:, None].expand_as(FEATURES)
    assert torch.equal(dropped[kept], FEATURES[kept])


def test_weighing_is_the_sigmoid_of_the_attention() -> None:
    expected = FEATURES * torch.sigmoid(FEATURES.mean(dim=1, keepdim=True))
    torch.testing.assert_close(attention_dropout(FEATURES, 0.0, 0.8), expected)


def test_the_rate_is_how_often_cells_are_hidden() -> None:
    torch.manual_seed(0)
    hidden = sum(bool((attention_dropout(FEATURES, 0.75, 0.9) == 0).any()) for _ in range(2000))
    assert hidden / 2000 == pytest.approx(0.75, abs=0.03)


def test_the_mask_has_no_gradient_but_the_importance_has() -> None:
    leaf = FEATURES.clone().requires_grad_()
    attention_dropout(leaf, 1.0, 0.8).sum().backward()
    assert leaf.grad is not None and set(leaf.grad.unique().tolist()) == {0.0, 1.0}
    leaf.grad = None
    attention_dropout(leaf, 0.0, 0.8).sum().backward()
    importance = torch.sigmoid(FEATURES.mean(dim=1, keepdim=True))
    through = (FEATURES * importance * (1 - importance)).sum(dim=1, keepdim=True) / 8
    torch.testing.assert_close(leaf.grad, (importance + through).expand_as(FEATURES))


def test_features_that_are_all_zero_stay_zero() -> None:
    assert not attention_dropout(torch.zeros(2, 3, 4, 4), 1.0, 0.9).any()


@pytest.mark.parametrize("backbone", ["resnet_tiny", "resnet18", "vgg16_gap", "inception_v3"])
def test_predictions_are_those_of_cam(backbone: str) -> None:
    values = {"backbone": backbone, "drop_rate": 1.0}
    adl, cam = ADL(), CAM()
    adl.build(3, tuple("abc"), ADL.HParams.from_dict(values), 64)
    cam.build(3, tuple("abc"), CAM.HParams.from_dict({"backbone": backbone}), 64)
    cam.load_state_dict(adl.state_dict())
    images, labels = torch.randn(2, 3, 64, 64), torch.tensor([0, 2])
    with torch.no_grad():
        one, other = adl.eval().localize(images, labels), cam.eval().localize(images, labels)
    assert torch.equal(one.maps, other.maps) and torch.equal(one.logits, other.logits)


def test_three_layers_are_at_work_while_training() -> None:
    adl = ADL()
    adl.build(
        3, tuple("abc"), ADL.HParams.from_dict({"backbone": "resnet18", "drop_rate": 1.0, "erase_threshold": 0.5}), 64
    )
    seen: list[str] = []
    inner = adl._drop
    adl._drop = lambda unit, features: seen.append(unit) or inner(unit, features)  # type: ignore[method-assign,func-returns-value]
    adl.train().features(torch.randn(2, 3, 64, 64))
    assert [unit for unit in seen if unit in adl.backbone.points.erase] == ["layer3.0", "layer4.0", "layer4.1"]
