from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsol_bench.methods.base import Batch
from wsol_bench.methods.spg import SPG, guidance_loss

IMAGES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])


def _spg(**values: object) -> SPG:
    torch.manual_seed(0)
    spg = SPG()
    spg.build(3, tuple("abc"), SPG.HParams.from_dict({"backbone": "resnet_tiny", "branch_channels": 16, **values}), 64)
    return spg


def test_sure_pixels_only_and_background_wins() -> None:
    teacher = torch.zeros(1, 10, 10)
    teacher[0, :2] = 0.9
    teacher[0, 2:5] = 0.5
    logits = torch.randn(1, 10, 10, generator=torch.Generator().manual_seed(0))
    losses = F.binary_cross_entropy_with_logits(logits, (teacher > 0.7).float(), reduction="none")
    sure = (teacher > 0.7) | (teacher < 0.1)
    torch.testing.assert_close(guidance_loss(logits, teacher, 0.7, 0.1), losses[sure].mean())
    # Thresholds that overlap: what is above one and below the other is background.
    everything = F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
    torch.testing.assert_close(guidance_loss(logits, teacher, 0.4, 0.95), everything)


def test_next_to_no_foreground_takes_the_top_of_the_map_per_image() -> None:
    teacher = torch.full((2, 224, 224), 0.3)
    teacher[0, 0, :29] = 0.8
    teacher[0, 1, :50] = 0.6
    teacher[1, 0, :40] = 0.8
    logits = torch.zeros(2, 224, 224)
    logits[0, 1, :50] = -5.0
    logits[1] = 7.0
    for threshold in (0.7,):
        loss = guidance_loss(logits, teacher, threshold, 0.0)
        # 29 pixels are too few in the first image: those above 0.56 join them; the second keeps its 40.
        expected = (
            29 * torch.log(torch.tensor(2.0)) + 50 * F.softplus(torch.tensor(5.0)) + 40 * F.softplus(torch.tensor(-7.0))
        )
        torch.testing.assert_close(loss, expected / 119)


def test_no_sure_pixel_is_no_loss() -> None:
    assert float(guidance_loss(torch.randn(2, 8, 8), torch.full((2, 8, 8), torch.nan), 0.5, 0.1)) == 0.0


def test_teachers_get_no_gradient() -> None:
    spg = _spg()
    losses = spg.training_step(Batch(IMAGES, LABELS, 1))
    grads = torch.autograd.grad(
        losses["early"], list(spg.heads["late"].parameters()), retain_graph=True, allow_unused=True
    )
    assert all(one is None for one in grads)
    grads = torch.autograd.grad(
        losses["late"], list(spg.heads["classes"].parameters()), retain_graph=True, allow_unused=True
    )
    assert all(one is None for one in grads)
    shared = torch.autograd.grad(losses["early"], list(spg.heads["tail"].parameters()))
    assert all(one.any() for one in shared)


def test_without_side_losses_the_step_is_that_of_a_cam_classifier() -> None:
    spg = _spg().eval()
    losses = spg.training_step(Batch(IMAGES, LABELS, 1))
    logits = F.conv2d(spg.backbone(IMAGES), spg.heads["classes"].weight, spg.heads["classes"].bias).mean(dim=(2, 3))
    torch.testing.assert_close(losses["cross_entropy"], F.cross_entropy(logits, LABELS))


def test_maps_are_those_of_the_class() -> None:
    spg = _spg().eval()
    with torch.no_grad():
        found = spg.localize(IMAGES, LABELS)
    picked = found.logits[torch.arange(4), LABELS]
    torch.testing.assert_close(found.maps.mean(dim=(1, 2)), picked)


def test_low_thresholds_are_shares_of_high_ones() -> None:
    thresholds = _spg(high_1=0.5, low_1=0.2, high_3=0.8, low_3=0.25).thresholds
    assert [round(value, 6) for pair in thresholds for value in pair] == [0.5, 0.1, 0.5, 0.05, 0.8, 0.2]


@pytest.mark.parametrize(("backbone", "millions"), [("resnet50", 61.67), ("vgg16_gap", 28.98), ("inception_v3", 37.63)])
def test_parameters_of_the_reference_models(backbone: str, millions: float) -> None:
    with torch.device("meta"):
        spg = SPG()
        spg.build(200, [str(i) for i in range(200)], SPG.HParams.from_dict({"backbone": backbone}), 224)
    assert round(sum(parameter.numel() for parameter in spg.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("backbone", ["resnet18", "vgg16_gap", "inception_v3"])
@pytest.mark.parametrize("large", [True, False])
def test_branches_fit_every_trunk(backbone: str, large: bool) -> None:
    spg = _spg(backbone=backbone, large_feature_map=large)
    losses = spg.training_step(Batch(IMAGES, LABELS, 1))
    assert set(losses) == {"cross_entropy", "late", "early", "last"}
    assert all(torch.isfinite(loss) for loss in losses.values())
