from __future__ import annotations

import pytest
import torch
from torch import nn

from wsol_bench.errors import UsageError
from wsol_bench.models.backbones import BACKBONES, HEAD_LR_RATIO, build_backbone
from wsol_bench.models.heads import LinearHead

CHANNELS = {"resnet_tiny": 128, "resnet_small": 192, "resnet18": 512, "resnet50": 2048, "vgg16_gap": 1024}
SMALL = ("resnet_tiny", "resnet_small")


def _shapes(name: str, large: bool, side: int) -> dict[str, tuple[int, ...]]:
    """Output shape of every named child of the trunk (and of VGG's layers), computed without any arithmetic."""
    with torch.device("meta"):
        backbone = build_backbone(name, large_feature_map=large)
        shapes: dict[str, tuple[int, ...]] = {}
        for label, module in backbone.trunk.named_modules():
            if label and "." not in label.removeprefix("features."):
                module.register_forward_hook(
                    lambda _module, _inputs, out, label=label: shapes.__setitem__(label, tuple(out.shape[1:]))
                )
        shapes["out"] = tuple(backbone(torch.empty(1, 3, side, side)).shape[1:])
    assert backbone.channels == shapes["out"][0]
    return shapes


def test_the_table_names_every_backbone() -> None:
    assert set(CHANNELS) == set(BACKBONES)


@pytest.mark.parametrize("name", sorted(BACKBONES))
@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("side", [64, 224])
def test_shape_of_the_features(name: str, large: bool, side: int) -> None:
    stride = 8 if large else 16
    assert _shapes(name, large, side)["out"] == (CHANNELS[name], side // stride, side // stride)


@pytest.mark.parametrize("large", [True, False])
def test_resnet50_layer_by_layer(large: bool) -> None:
    shapes = _shapes("resnet50", large, 224)
    last = 28 if large else 14
    assert [shapes[part] for part in ("relu", "maxpool", "layer1", "layer2", "layer3", "layer4")] == [
        (64, 112, 112),
        (64, 56, 56),
        (256, 56, 56),
        (512, 28, 28),
        (1024, last, last),
        (2048, last, last),
    ]


@pytest.mark.parametrize("large", [True, False])
def test_resnet_keeps_its_dilation_and_strides_in_the_reference_places(large: bool) -> None:
    trunk = build_backbone("resnet50", large_feature_map=large).trunk
    strided = {
        name for name, module in trunk.named_modules() if isinstance(module, nn.Conv2d) and module.stride != (1, 1)
    }
    expected = {"conv1", "layer2.0.conv2", "layer2.0.downsample.0"}
    assert strided == expected | (set() if large else {"layer3.0.conv2", "layer3.0.downsample.0"})
    assert all(module.dilation == (1, 1) for module in trunk.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("large", [True, False])
def test_vgg16_layer_by_layer(large: bool) -> None:
    shapes = _shapes("vgg16_gap", large, 224)
    last = 28 if large else 14
    # Last convolution of every block, by torchvision's numbering.
    assert [shapes[f"features.{i}"] for i in (2, 7, 14, 21, 28)] == [
        (64, 224, 224),
        (128, 112, 112),
        (256, 56, 56),
        (512, 28, 28),
        (512, last, last),
    ]
    assert shapes["conv6"] == (1024, last, last)
    assert ("features.23" in shapes) is not large, "pool4 goes with the large map"
    assert "features.30" not in shapes, "pool5 always goes"


@pytest.mark.parametrize(("name", "millions"), [("resnet50", 23.92), ("vgg16_gap", 19.64)])
def test_parameters_of_the_reference_models(name: str, millions: float) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name)
        head = LinearHead(backbone.channels, 200)
    count = sum(parameter.numel() for module in (backbone, head) for parameter in module.parameters())
    assert round(count / 1e6, 2) == millions


def test_resnet_convolutions_start_xavier_uniform() -> None:
    torch.manual_seed(0)
    trunk = build_backbone("resnet18").trunk
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach()
            field = module.kernel_size[0] * module.kernel_size[1]
            bound = (6 / (field * (module.in_channels + module.out_channels))) ** 0.5
            assert float(weight.abs().max()) <= bound
            assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


def test_vgg_convolutions_start_kaiming_normal_by_fan_out() -> None:
    torch.manual_seed(0)
    trunk = build_backbone("vgg16_gap").trunk
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
            assert module.bias is not None
            assert (module.bias == 0).all()


def _rates(name: str, weights: str) -> dict[str, float]:
    with torch.device("meta"):
        backbone = build_backbone(name)
        head = LinearHead(backbone.channels, 3)
    backbone.weights = weights
    groups = backbone.param_groups(head, 1.0)
    named = {**dict(backbone.trunk.named_parameters()), **{f"head.{n}": p for n, p in head.named_parameters()}}
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups), "no parameter in two groups"
    return {label: rates[id(parameter)] for label, parameter in named.items()}


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_pretrained_weights_learn_slower_than_what_is_new(name: str) -> None:
    new = {"resnet18": "layer4.", "resnet50": "layer4.", "vgg16_gap": "conv6."}.get(name, "head.")
    for label, rate in _rates(name, "torchvision").items():
        assert rate == (HEAD_LR_RATIO if label.startswith((new, "head.")) else 1.0), label


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_from_scratch_everything_learns_at_one_rate(name: str) -> None:
    assert set(_rates(name, "none").values()) == {1.0}


def test_unknown_backbone() -> None:
    with pytest.raises(UsageError, match="Did you mean 'resnet50'"):
        build_backbone("resnet5")


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_are_no_torchvision_networks(name: str) -> None:
    with pytest.raises(UsageError, match="weights=none"):
        build_backbone(name, "torchvision")
