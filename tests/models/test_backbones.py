from __future__ import annotations

import pytest
import torch
from torch import nn

from wsol_bench.errors import UsageError
from wsol_bench.models.backbones import BACKBONES, HEAD_LR_RATIO, build_backbone
from wsol_bench.models.backbones.vgg import vgg16
from wsol_bench.models.heads import LinearHead

CHANNELS = {
    "resnet_tiny": 128,
    "resnet_small": 192,
    "resnet18": 512,
    "resnet50": 2048,
    "vgg16_gap": 1024,
    "inception_v3": 1024,
    "mobilenet_v1": 1024,
    "mobilenet_v2": 1280,
    "densenet161": 2208,
}
BARE = CHANNELS | {"vgg16_gap": 512, "inception_v3": 768}
SMALL = ("resnet_tiny", "resnet_small")
EVERY = pytest.mark.parametrize("name", sorted(BACKBONES))


def _shapes(name: str, large: bool, side: int, *, bare: bool = False) -> dict[str, tuple[int, ...]]:
    """Output shape of every unit of the trunk, computed without any arithmetic."""
    with torch.device("meta"):
        backbone = build_backbone(name, large_feature_map=large, bare=bare).eval()
        shapes: dict[str, tuple[int, ...]] = {}
        out = backbone(torch.empty(1, 3, side, side), lambda unit, x: shapes.__setitem__(unit, tuple(x.shape[1:])))
        shapes["out"] = tuple(out.shape[1:])
    assert backbone.channels == shapes["out"][0]
    assert list(shapes) == [*backbone.units, "out"]
    return shapes


def test_the_table_names_every_backbone() -> None:
    assert set(CHANNELS) == set(BACKBONES)


@EVERY
@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("side", [64, 224])
def test_shape_of_the_features(name: str, large: bool, side: int) -> None:
    last = side // (8 if large else 16)
    assert _shapes(name, large, side)["out"] == (CHANNELS[name], last, last)
    assert _shapes(name, large, side, bare=True)["out"] == (BARE[name], last, last)


@EVERY
@pytest.mark.parametrize("bare", [True, False])
def test_points_are_units_in_a_sensible_order(name: str, bare: bool) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, bare=bare)
    units, points = backbone.units, backbone.points
    for names in (points.erase, points.guides, tuple(reversed(points.skips))):
        places = [units.index(unit) for unit in names]
        assert places == sorted(places) and len(set(places)) == len(places) >= 2
    sizes = [_shapes(name, True, 224, bare=bare)[unit][1] for unit in points.skips]
    assert sizes == sorted(sizes), "deepest first, none larger before a smaller one"


@EVERY
def test_a_trunk_can_be_run_in_two_halves(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole, kept = backbone.with_features(images, backbone.points.skips)
        middle = backbone.points.skips[0]
        assert set(kept) == set(backbone.points.skips)
        torch.testing.assert_close(backbone(images, until=middle), kept[middle])
        torch.testing.assert_close(backbone(kept[middle], after=middle), whole)
        changed = backbone(images, lambda unit, x: torch.zeros_like(x) if unit == middle else None)
    assert not torch.equal(changed, whole)
    with pytest.raises(UsageError, match="Expected a unit of the backbone but got 'layer99'"):
        backbone(images, until="layer99")


@EVERY
def test_no_activation_works_in_place(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name).eval()
    before: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    with torch.no_grad():
        backbone(torch.randn(1, 3, 64, 64), lambda unit, x: before.__setitem__(unit, (x, x.clone())))
    assert all(torch.equal(kept, copied) for kept, copied in before.values())


def test_inception_layer_by_layer() -> None:
    shapes = _shapes("inception_v3", True, 224)
    expected = {
        "Conv2d_1a_3x3": (32, 112, 112),
        "Conv2d_2a_3x3": (32, 110, 110),
        "Conv2d_2b_3x3": (64, 110, 110),
        "maxpool1": (64, 56, 56),
        "Conv2d_3b_1x1": (80, 56, 56),
        "Conv2d_4a_3x3": (192, 54, 54),
        "maxpool2": (192, 28, 28),
        "Mixed_5b": (256, 28, 28),
        "Mixed_5d": (288, 28, 28),
        "Mixed_6a": (768, 28, 28),
        "Mixed_6e": (768, 28, 28),
        "conv7b.2": (1024, 28, 28),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert _shapes("inception_v3", False, 224)["maxpool3"] == (288, 14, 14)


@pytest.mark.parametrize("large", [True, False])
def test_vgg_with_the_pooling_of_acol(large: bool) -> None:
    with torch.device("meta"):
        backbone = vgg16("none", large, gap=False, wide_pools=True)
        assert tuple(backbone(torch.empty(1, 3, 224, 224)).shape) == (1, 512, *([28 if large else 14] * 2))
        pools = [module for module in backbone.trunk.modules() if isinstance(module, nn.MaxPool2d)]
    assert [pool.kernel_size for pool in pools] == [3] * 5
    assert [pool.stride for pool in pools] == [2, 2, 2, 1 if large else 2, 1]
    assert backbone.units[-1] == "smooth"


@pytest.mark.parametrize("large", [True, False])
def test_resnet50_layer_by_layer(large: bool) -> None:
    shapes = _shapes("resnet50", large, 224)
    last = 28 if large else 14
    assert [shapes[unit] for unit in ("relu", "maxpool", "layer1.2", "layer2.3", "layer3.5", "layer4.2")] == [
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
    assert shapes["conv6.1"] == (1024, last, last)
    assert ("features.23" in shapes) is not large, "pool4 goes with the large map"
    assert "features.30" not in shapes, "pool5 always goes"


@pytest.mark.parametrize(("name", "millions"), [("resnet50", 23.92), ("vgg16_gap", 19.64), ("inception_v3", 25.69)])
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


@EVERY
def test_pretrained_weights_learn_slower_than_what_is_new(name: str) -> None:
    new = {"resnet18": "layer4.", "resnet50": "layer4.", "vgg16_gap": "conv6.", "inception_v3": "conv7"}.get(
        name, "head."
    )
    for label, rate in _rates(name, "torchvision").items():
        assert rate == (HEAD_LR_RATIO if label.startswith((new, "head.")) else 1.0), label


@EVERY
def test_from_scratch_everything_learns_at_one_rate(name: str) -> None:
    assert set(_rates(name, "none").values()) == {1.0}


def test_unknown_backbone() -> None:
    with pytest.raises(UsageError, match="Did you mean 'resnet50'"):
        build_backbone("resnet5")


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_are_no_torchvision_networks(name: str) -> None:
    with pytest.raises(UsageError, match="weights=none"):
        build_backbone(name, "torchvision")
