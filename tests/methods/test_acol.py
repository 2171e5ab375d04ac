from __future__ import annotations

import pytest
import torch
from torch import nn

from wsol_bench.methods.acol import ACoL
from wsol_bench.methods.base import Batch
from wsol_bench.models.heads import normalised_maps

IMAGES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])


def _acol(threshold: float = 0.7, **values: object) -> ACoL:
    torch.manual_seed(0)
    acol = ACoL()
    given = {"backbone": "resnet_tiny", "branch_channels": 16, "erase_threshold": threshold, **values}
    acol.build(3, tuple("abc"), ACoL.HParams.from_dict(given), 64)
    return acol.eval()


def test_equal_heads_and_nothing_erased_give_one_map() -> None:
    acol = _acol(threshold=2.0)
    acol.heads[1].load_state_dict(acol.heads[0].state_dict())
    with torch.no_grad():
        first, second = acol._class_maps(IMAGES, LABELS)
        found = acol.localize(IMAGES, LABELS)
    assert torch.equal(first, second)
    torch.testing.assert_close(found.maps, normalised_maps(first[torch.arange(4), LABELS]))


def test_no_gradient_of_the_second_loss_reaches_erased_cells() -> None:
    acol = _acol(threshold=0.5)
    features = acol.backbone(IMAGES).detach().requires_grad_()
    acol.backbone = nn.Module()  # type: ignore[assignment]
    acol.backbone.forward = lambda _: features  # type: ignore[method-assign]
    first, second = acol._class_maps(IMAGES, LABELS)
    attention = normalised_maps(first[torch.arange(4), LABELS].detach())
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(second.mean(dim=(2, 3)), LABELS), features)
    erased = (attention >= 0.5)[:, None].expand_as(gradient)
    assert erased.any() and not gradient[erased].any()
    assert gradient[~erased].any()


def test_lower_thresholds_erase_more_and_at_least_the_peak() -> None:
    counts = []
    for threshold in (1.0, 0.9, 0.6, 0.3, 0.0):
        acol = _acol(threshold)
        seen: list[torch.Tensor] = []
        acol.heads[1].register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            acol._class_maps(IMAGES, LABELS)
        counts.append((seen[0] == 0).all(dim=1).flatten(1).sum(dim=1))
    stacked = torch.stack(counts)
    assert (stacked[0] >= 1).all() and (stacked.diff(dim=0) >= 0).all() and (stacked[-1] == 64).all()


def test_the_map_is_the_maximum_of_both_normalised_maps() -> None:
    acol = _acol()
    with torch.no_grad():
        first, second = acol._class_maps(IMAGES, LABELS)
        found = acol.localize(IMAGES, LABELS)
    one, other = (normalised_maps(maps[torch.arange(4), LABELS]) for maps in (first, second))
    assert torch.equal(found.maps, torch.maximum(one, other))
    torch.testing.assert_close(found.logits, first.mean(dim=(2, 3)))


def test_both_classifiers_learn() -> None:
    acol = _acol().train()
    losses = acol.training_step(Batch(IMAGES, LABELS, 1))
    assert set(losses) == {"first", "second"}
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in acol.parameters())


def test_a_constant_map_erases_nothing_and_is_zero() -> None:
    acol = _acol()
    for parameter in acol.heads.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        assert not acol.localize(IMAGES, LABELS).maps.any()


@pytest.mark.parametrize(("backbone", "millions"), [("resnet50", 80.55), ("vgg16_gap", 43.44), ("inception_v3", 42.41)])
def test_parameters_of_the_reference_models(backbone: str, millions: float) -> None:
    with torch.device("meta"):
        acol = ACoL()
        acol.build(200, [str(i) for i in range(200)], ACoL.HParams.from_dict({"backbone": backbone}), 224)
    assert round(sum(parameter.numel() for parameter in acol.parameters()) / 1e6, 2) == millions


def test_a_resnets_classifiers_learn_at_the_rate_of_its_trunk() -> None:
    with torch.device("meta"):
        acol = _acol(backbone="resnet18", branch_channels=8)
    acol.backbone.weights = "torchvision"
    slow, fast = acol.param_groups(1.0)
    heads = {id(parameter) for parameter in acol.heads.parameters()}
    assert heads <= {id(parameter) for parameter in slow["params"]} and fast["lr"] == 10.0
