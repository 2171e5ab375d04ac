"""The post-hoc family: identities of the papers, and the public package where both define the same thing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wsol_bench.errors import UsageError
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.score_cam import ScoreCAM
from wsol_bench.registry import METHODS

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, 0, 3])
NAMES = tuple("abcd")
GRADIENT = ("grad_cam", "grad_cam_pp", "xgrad_cam", "layer_cam")


def _build(name: str, **values: object) -> Any:
    torch.manual_seed(0)
    method = METHODS.get(name)()
    method.build(4, NAMES, type(method).HParams.from_dict({"backbone": "resnet_tiny", **values}), 64)
    # Weights of both signs and of some size, as after training.
    nn.init.normal_(method.head.linear.weight)
    return method.eval()


def _maps(name: str, **values: object) -> Tensor:
    with torch.no_grad():
        found: Tensor = _build(name, **values).localize(IMAGES, LABELS).maps
    return found


def _features(**values: object) -> tuple[Tensor, Tensor]:
    """Features and the weights of the labels."""
    cam = _build("cam", **values)
    with torch.no_grad():
        return cam.features(IMAGES), cam.head.linear.weight[LABELS]


def test_grad_cam_is_the_positive_part_of_cam() -> None:
    torch.testing.assert_close(_maps("grad_cam") * 64, torch.relu(_maps("cam")), atol=1e-5, rtol=1e-4)


def test_xgrad_cam_is_grad_cam_behind_global_pooling() -> None:
    torch.testing.assert_close(_maps("xgrad_cam"), _maps("grad_cam"), atol=1e-6, rtol=1e-4)


def test_layer_cam_is_cam_with_positive_weights() -> None:
    features, weights = _features()
    expected = torch.einsum("bkhw,bk->bhw", features, weights.clamp(min=0)) / 64
    torch.testing.assert_close(_maps("layer_cam"), expected, atol=1e-5, rtol=1e-4)


def test_grad_cam_pp_has_the_closed_form_of_global_pooling() -> None:
    features, weights = _features()
    mean = features.mean(dim=(2, 3))
    closed = weights.clamp(min=0) / (2 + mean * weights.clamp(min=0))
    expected = torch.relu(torch.einsum("bkhw,bk->bhw", features, closed))
    torch.testing.assert_close(_maps("grad_cam_pp"), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", GRADIENT)
def test_an_earlier_layer_can_be_looked_at(name: str) -> None:
    maps = _maps(name, layer="layer2")
    assert maps.shape == (3, 16, 16) and maps.max() > 0 and torch.isfinite(maps).all()
    with pytest.raises(UsageError, match="Expected a unit of the backbone"):
        _maps(name, layer="layer9")


def test_negative_activations_and_dead_channels_give_no_nan() -> None:
    for name in GRADIENT:
        method = _build(name)
        activations = torch.randn(2, 6, 4, 4)
        activations[:, 2] = 0
        gradients = torch.randn(2, 6, 4, 4)
        gradients[:, 3] = 0
        assert torch.isfinite(method.weigh_gradients(activations, gradients)).all()


def test_weights_of_score_cam_sum_to_one_and_ignore_a_constant() -> None:
    method = _build("score_cam")
    activations = method.backbone(IMAGES)
    weights = method.weigh(IMAGES, activations, LABELS, method._score)
    torch.testing.assert_close(weights.sum(dim=(1, 2, 3)), torch.ones(3))
    method.head.linear.bias.data += 3.0
    torch.testing.assert_close(method.weigh(IMAGES, activations, LABELS, method._score), weights, atol=1e-6, rtol=1e-3)


def test_score_cam_is_its_slow_form() -> None:
    method = _build("score_cam")
    with torch.no_grad():
        activations = method.backbone(IMAGES)
        for image in range(3):
            scores = []
            for channel in activations[image]:
                low, high = channel.min(), channel.max()
                mask = (channel - low) / (high - low) if high > low else torch.zeros_like(channel)
                mask = nn.functional.interpolate(mask[None, None], (64, 64), mode="bilinear")
                masked = IMAGES[image : image + 1] * mask
                scores.append(method.head(method.backbone(masked))[0, LABELS[image]])
            weights = torch.softmax(torch.stack(scores), dim=0)
            expected = torch.relu((weights[:, None, None] * activations[image]).sum(dim=0))
            got = method.localize(IMAGES, LABELS).maps[image]
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-3)


def test_smoothing_without_noise_and_integrating_in_one_step_are_score_cam() -> None:
    expected = _maps("score_cam")
    torch.testing.assert_close(_maps("ss_cam", sigma=0.0, draws=2), expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(_maps("is_cam", steps=1), expected, atol=1e-6, rtol=1e-4)


def test_noise_and_steps_matter() -> None:
    expected = _maps("score_cam", channels=8)
    assert not torch.allclose(_maps("ss_cam", channels=8, draws=2), expected)
    assert not torch.allclose(_maps("is_cam", channels=8, steps=3), expected)


def test_fewer_channels_are_those_with_the_highest_mean() -> None:
    method = _build("score_cam", channels=5)
    activations = method.backbone(IMAGES)
    weights = method.weigh(IMAGES, activations, LABELS, method._score)[:, :, 0, 0]
    for image in range(3):
        tried = set(weights[image].nonzero().flatten().tolist())
        assert tried == set(activations[image].mean(dim=(1, 2)).topk(5).indices.tolist())


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_masked_images_pass_in_batches_of_bounded_size(batch: int) -> None:
    method = _build("score_cam", masked_batch=batch, channels=9)
    sizes: list[int] = []
    inner = ScoreCAM.class_scores

    def noted(self: ScoreCAM, images: Tensor, labels: Tensor) -> Tensor:
        sizes.append(len(images))
        return inner(self, images, labels)

    with pytest.MonkeyPatch.context() as patched, torch.no_grad():
        patched.setattr(ScoreCAM, "class_scores", noted)
        maps = method.localize(IMAGES, LABELS).maps
    assert max(sizes) <= batch and sum(sizes) == 27
    torch.testing.assert_close(maps, _maps("score_cam", channels=9), atol=1e-6, rtol=1e-4)


def test_maps_of_a_classifier_that_was_trained_elsewhere(tmp_path: Path) -> None:
    donor = _build("cam")
    torch.save(donor.state_dict(), tmp_path / "best_cls.pt")
    method = METHODS.get("layer_cam")()
    values = {"backbone": "resnet_tiny", "weights": str(tmp_path / "best_cls.pt"), "train": False}
    method.build(4, NAMES, type(method).HParams.from_dict(values), 64)
    assert not method.needs_training
    with torch.no_grad():
        torch.testing.assert_close(method.eval().localize(IMAGES, LABELS).maps, _maps("layer_cam"))
    with pytest.raises(UsageError, match="train=false but got weights=none"):
        _build("layer_cam", train=False)


needs_package = pytest.mark.skipif(
    importlib.util.find_spec("pytorch_grad_cam") is None, reason="the package grad-cam is not installed"
)


@needs_package
@pytest.mark.parametrize("backbone", ["resnet18", "vgg16_gap", "resnet_tiny"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("grad_cam", "GradCAM"),
        ("grad_cam_pp", "GradCAMPlusPlus"),
        ("xgrad_cam", "XGradCAM"),
        ("layer_cam", "LayerCAM"),
    ],
)
def test_maps_equal_those_of_the_public_package(backbone: str, name: str, theirs: str) -> None:
    """At the layer before pooling and at one in the middle; both stretched to [0, 1] at low resolution."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    unit = {"resnet18": "layer3.1", "vgg16_gap": "features.22", "resnet_tiny": "layer3"}[backbone]
    for layer in ("last", unit):
        method = _build(name, backbone=backbone, layer=layer)
        # Gradients of some size: next to small ones, the package's epsilon of 1e-6 is part of its Grad-CAM++.
        nn.init.normal_(method.head.linear.weight, mean=100.0, std=200.0)
        with torch.no_grad():
            mine = method.localize(IMAGES, LABELS).maps
        net = nn.Sequential(method.backbone, method.head).requires_grad_()
        target = method.backbone.trunk.get_submodule(method.layer)
        with getattr(pytorch_grad_cam, theirs)(model=net, target_layers=[target]) as extractor:
            targets = [ClassifierOutputTarget(int(label)) for label in LABELS]
            extractor(input_tensor=IMAGES.clone(), targets=targets)
            activations = torch.from_numpy(extractor.activations_and_grads.activations[0].cpu().numpy())
            gradients = torch.from_numpy(extractor.activations_and_grads.gradients[0].cpu().numpy())
            their = extractor.get_cam_image(IMAGES, target, targets, activations.numpy(), gradients.numpy(), False)
        their = torch.relu(torch.as_tensor(their))
        for one, other in zip(mine, their, strict=True):
            assert one.max() > 0
            torch.testing.assert_close(one / one.max(), (other / other.max()).float(), atol=1e-4, rtol=0)


def test_cam_keeps_its_sign_where_the_family_does_not() -> None:
    assert isinstance(_build("grad_cam"), CAM)
    assert float(_maps("cam").min()) < 0 <= float(_maps("grad_cam").min())
