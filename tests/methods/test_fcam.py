from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wsol_bench.errors import UsageError
from wsol_bench.losses.pseudo_pixels import IGNORE
from wsol_bench.methods import fcam
from wsol_bench.methods.base import Batch
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.fcam import CLASSIFIER, DECODER, FCAM
from wsol_bench.models.decoder import decoder_widths

IMAGES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])
BATCH = Batch(IMAGES, LABELS, 1)


def _fcam(stage: str = DECODER, backbone: str = "resnet_tiny", **values: object) -> FCAM:
    torch.manual_seed(0)
    method = FCAM()
    method.build(3, tuple("abc"), FCAM.HParams.from_dict({"backbone": backbone, **values}), 64)
    method.enter_stage(stage)
    return method.train()


@pytest.mark.parametrize("backbone", ["resnet_tiny", "resnet18", "vgg16_gap", "inception_v3", "mobilenet_v2"])
def test_maps_have_the_size_of_the_image_and_need_no_stretch(backbone: str) -> None:
    method = _fcam(backbone=backbone).eval()
    with torch.no_grad():
        found = method.localize(IMAGES, LABELS)
    assert found.maps.shape == (4, 64, 64)
    assert ((found.maps > 0) & (found.maps < 1)).all()


def test_the_map_knows_no_class() -> None:
    method = _fcam().eval()
    with torch.no_grad():
        assert torch.equal(method.localize(IMAGES, LABELS).maps, method.localize(IMAGES, (LABELS + 1) % 3).maps)


def test_the_first_stage_is_cam() -> None:
    method, cam = _fcam(CLASSIFIER).eval(), CAM()
    cam.build(3, tuple("abc"), CAM.HParams.from_dict({"backbone": "resnet_tiny"}), 64)
    cam.load_state_dict({name: value for name, value in method.state_dict().items() if not name.startswith("decoder")})
    with torch.no_grad():
        torch.testing.assert_close(method.localize(IMAGES, LABELS).maps, cam.eval().localize(IMAGES, LABELS).maps)
    assert set(method.training_step(BATCH)) == {"cross_entropy"}
    assert not any(parameter.requires_grad for parameter in method.decoder.parameters())


def test_a_frozen_classifier_is_frozen_down_to_its_statistics() -> None:
    method = _fcam()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    optimizer = torch.optim.SGD(method.param_groups(0.1), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum(method.train().training_step(BATCH).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    after = method.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all(name.startswith("decoder") for name in changed)
    assert not method.backbone.training and method.decoder.training


def test_seeds_come_from_the_map_of_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _fcam(foreground=3, background=2)
    seen: list[Any] = []
    inner = fcam.draw_seeds
    monkeypatch.setattr(fcam, "draw_seeds", lambda *given: seen.append((given, inner(*given))) or seen[-1][1])
    losses = method.training_step(BATCH)
    (teacher, rule, _), seeds = seen[0]
    with torch.no_grad():
        cam = method.head.class_maps(method.backbone(IMAGES), LABELS)
    large = nn.functional.interpolate(cam[:, None], (64, 64), mode="bilinear")[:, 0]
    correlation = torch.corrcoef(torch.stack([teacher.flatten(1)[0], large.flatten(1)[0]]))[0, 1]
    assert float(correlation) > 0.999
    assert (rule.foreground, rule.background) == (3, 2)
    assert (seeds != IGNORE).flatten(1).sum(dim=1).max() <= 9 * 5
    assert set(losses) == {"seeds", "crf", "size"}
    assert float(losses["crf"].detach()) < 0


def test_terms_can_be_switched_off() -> None:
    assert set(_fcam(crf_weight=0.0, size_weight=0.0).training_step(BATCH)) == {"seeds"}


def test_pixel_sizes_scale_with_the_frame() -> None:
    method = _fcam()
    assert method.erosion == 3
    large = FCAM()
    large.build(3, tuple("abc"), FCAM.HParams.from_dict({"backbone": "resnet_tiny"}), 224)
    assert large.erosion == 11


def test_epochs_are_divided() -> None:
    assert [stage.epochs for stage in _fcam(classifier_share=0.7).stages(10)] == [7, 3]
    assert [stage.epochs for stage in _fcam(classifier_share=1.0).stages(10)] == [9, 1]
    assert [stage.epochs for stage in _fcam(classifier_share=0.0).stages(2)] == [1, 1]
    with pytest.raises(UsageError, match="at least 2 epochs"):
        _fcam().stages(1)


def test_a_trained_classifier_can_be_taken(tmp_path: Path) -> None:
    torch.manual_seed(5)
    donor = CAM()
    donor.build(3, tuple("abc"), CAM.HParams.from_dict({"backbone": "resnet_tiny"}), 64)
    torch.save(donor.state_dict(), tmp_path / "best_cls.pt")
    method = _fcam(weights=str(tmp_path / "best_cls.pt"), train=False)
    assert [stage.name for stage in method.stages(5)] == [DECODER]
    assert torch.equal(method.head.linear.weight, donor.head.linear.weight)
    assert torch.equal(method.backbone.trunk.conv1.weight, donor.backbone.trunk.conv1.weight)
    assert method.needs_training and set(method.training_step(BATCH)) == {"seeds", "crf", "size"}


def test_the_decoder_reaches_the_image() -> None:
    assert decoder_widths(28, [28, 28, 56, 112], 224) == (256, 128, 64, 32, 16)
    assert decoder_widths(28, [56, 112], 224) == (256, 128, 64)
    assert decoder_widths(8, [8, 16, 32, 64], 64) == (256, 128, 64, 32)
    assert decoder_widths(4, [], 64) == (256, 128, 64, 32)


def test_shapes_of_the_paper() -> None:
    with torch.device("meta"):
        method = FCAM()
        method.build(200, [str(i) for i in range(200)], FCAM.HParams.from_dict({"backbone": "resnet50"}), 224)
        method.enter_stage(DECODER)
        convolutions = [block[0].in_channels for block in method.decoder.blocks]  # type: ignore[index]
        assert convolutions == [2048 + 1024, 256 + 512, 128 + 256, 64 + 64, 32]
        assert method.eval().localize(torch.empty(1, 3, 224, 224)).maps.shape == (1, 224, 224)
