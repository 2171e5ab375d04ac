from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from wsol_bench.errors import UsageError
from wsol_bench.methods.base import Batch
from wsol_bench.methods.cam import CAM
from wsol_bench.models.backbones import BACKBONES
from wsol_bench.registry import METHODS

NAMES = ("a", "b", "c")


def _cam(**values: object) -> CAM:
    torch.manual_seed(0)
    cam = CAM()
    cam.build(len(NAMES), NAMES, CAM.HParams.from_dict(values), 64)
    torch.nn.init.normal_(cam.head.linear.bias)
    return cam.eval()


def test_registered() -> None:
    assert METHODS.get("cam") is CAM


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("large", [True, False])
def test_the_mean_of_the_map_plus_the_bias_is_the_logit(backbone: str, large: bool) -> None:
    cam = _cam(backbone=backbone, large_feature_map=large)
    images = torch.randn(2, 3, 64, 64)
    labels = torch.tensor([2, 0])
    with torch.no_grad():
        prediction = cam.localize(images, labels)
    side = 8 if large else 4
    assert prediction.maps.shape == (2, side, side)
    assert prediction.logits.shape == (2, 3)
    logit = prediction.logits[torch.arange(2), labels]
    rebuilt = prediction.maps.mean(dim=(1, 2)) + cam.head.linear.bias[labels]
    torch.testing.assert_close(rebuilt, logit, rtol=1e-4, atol=1e-4)


def test_without_labels_the_map_is_that_of_the_predicted_class() -> None:
    cam = _cam(backbone="resnet_tiny")
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        blind = cam.localize(images)
        predicted = blind.logits.argmax(dim=1)
        told = cam.localize(images, predicted)
    assert torch.equal(blind.maps, told.maps)


def test_maps_keep_their_negative_evidence() -> None:
    cam = _cam(backbone="resnet_tiny")
    with torch.no_grad():
        maps = cam.localize(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])).maps
    assert float(maps.min()) < 0


def test_the_loss_is_the_mean_cross_entropy() -> None:
    cam = _cam(backbone="resnet_tiny").train()
    batch = Batch(images=torch.randn(4, 3, 64, 64), labels=torch.tensor([0, 1, 2, 1]), epoch=1)
    loss = cam.training_step(batch)["cross_entropy"]
    logits = cam.head(cam.backbone(batch.images))
    expected = -torch.log_softmax(logits, dim=1)[torch.arange(4), batch.labels].mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is not None for parameter in cam.parameters())


def test_all_parameters_are_optimised_once() -> None:
    cam = _cam(backbone="resnet_tiny")
    grouped = [id(parameter) for group in cam.param_groups(0.1) for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in cam.parameters())


def test_pretrained_head(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    donor = _cam(backbone="resnet_tiny")
    head = {f"fc.{name}": value for name, value in donor.head.linear.state_dict().items()}
    torch.save(donor.backbone.trunk.state_dict() | head, path)
    torch.manual_seed(1)
    kept, fresh = CAM(), CAM()
    values = {"backbone": "resnet_tiny", "weights": str(path)}
    kept.build(3, NAMES, CAM.HParams.from_dict(values | {"pretrained_head": True}), 64)
    fresh.build(3, NAMES, CAM.HParams.from_dict(values), 64)
    assert torch.equal(kept.head.linear.weight, donor.head.linear.weight)
    assert torch.equal(kept.head.linear.bias, donor.head.linear.bias)
    assert not torch.equal(fresh.head.linear.weight, donor.head.linear.weight)


def test_pretrained_head_needs_weights() -> None:
    with pytest.raises(UsageError, match="pretrained_head=true but got weights=none"):
        _cam(pretrained_head=True)


def test_hyper_parameters_survive_pickling() -> None:
    hparams = CAM.HParams.from_dict({"backbone": "resnet50", "large_feature_map": False})
    assert pickle.loads(pickle.dumps(hparams)) == hparams
    assert CAM.HParams.from_dict(hparams.as_dict()) == hparams
