from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.models.backbones import BACKBONES, build_backbone
from wsol_bench.models.decoder import CHANNELS, Decoder, UNet, decoder_on, decoder_widths, double_conv


def unet(size: int = 64, outputs: int = 2, backbone: str = "resnet_tiny", *, centre: bool = False) -> UNet:
    torch.manual_seed(0)
    return UNet(build_backbone(backbone), outputs, size, centre=centre)


def convolutions(decoder: Decoder) -> list[tuple[int, int]]:
    """Channels in and out of the first convolution of every block."""
    firsts = [next(block.children()) for block in decoder.blocks]
    return [(one.in_channels, one.out_channels) for one in firsts if isinstance(one, nn.Conv2d)]


@pytest.mark.parametrize(
    ("name", "large", "size"),
    [
        *[(name, True, 224) for name in BACKBONES],
        *[("resnet18", large, size) for large in (True, False) for size in (32, 64, 65, 90)],
        ("vgg16_gap", False, 64),
        ("inception_v3", False, 99),
    ],
)
def test_maps_have_the_size_of_the_image(name: str, large: bool, size: int) -> None:
    """On the meta device shapes come without numbers."""
    with torch.device("meta"):
        net = UNet(build_backbone(name, large_feature_map=large), 3, size, centre=name == "vgg16_gap")
        assert net(torch.zeros(2, 3, size, size)).shape == (2, 3, size, size)
    widths = [width for _, width in convolutions(net.decoder)]
    assert len(widths) >= len(net.backbone.points.skips) and widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("size", [40, 96, 33])
def test_another_size_than_it_was_built_for(size: int) -> None:
    net = unet(64).eval()
    with torch.no_grad():
        maps = net(torch.randn(2, 3, size, size))
    assert maps.shape == (2, 2, size, size) and torch.isfinite(maps).all()


def test_gradients_reach_every_part() -> None:
    net = unet(centre=True).train()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (net(images) * torch.randn(4, 2, 32, 32, generator=torch.Generator().manual_seed(1))).sum().backward()
    silent = [name for name, one in net.named_parameters() if one.grad is None or not one.grad.any()]
    assert not silent and images.grad is not None and images.grad.any()


def test_gradients_go_through_the_skips_too(monkeypatch: pytest.MonkeyPatch) -> None:
    net = unet().train()
    inner = net.backbone.with_features

    def cut(images: Tensor, names: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        features, kept = inner(images, names)
        return features.detach(), kept

    monkeypatch.setattr(net.backbone, "with_features", cut)
    net(torch.randn(4, 3, 32, 32)).square().sum().backward()
    reached = {name.split(".")[0] for name, one in net.backbone.trunk.named_parameters() if one.grad is not None}
    assert reached == {"conv1", "bn1", "layer1", "layer2", "layer3"}, "layer4 is no skip"


def test_every_skip_is_joined_in() -> None:
    net = unet().eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    points = net.backbone.points.skips
    with torch.no_grad():
        features, kept = net.backbone.with_features(images, points)
        skips = [kept[name] for name in points]
        expected = net(images)
        torch.testing.assert_close(net.decoder(features, skips, (64, 64)), expected)
        for index in range(len(skips)):
            others = [one if i != index else one.flip(3) for i, one in enumerate(skips)]
            assert (net.decoder(features, others, (64, 64)) - expected).abs().max() > 1e-4, points[index]


def slow_decoder(decoder: Decoder, x: Tensor, skips: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    x = decoder.centre(x)
    for index, block in enumerate(decoder.blocks):
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        if index < len(skips):
            if x.shape[2:] != skips[index].shape[2:]:
                x = F.interpolate(x, skips[index].shape[2:], mode="bilinear", align_corners=True)
            x = torch.cat([x, skips[index]], dim=1)
        for conv, norm in ((block[0], block[1]), (block[3], block[4])):
            x = F.conv2d(x, conv.weight, padding=1)
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            shift = norm.bias - norm.running_mean * scale
            x = (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)
    x = F.conv2d(x, decoder.head.weight, decoder.head.bias, padding=1)
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=True)


@pytest.mark.parametrize(("sides", "size"), [((8, 16), (32, 32)), ((7, 13), (30, 31)), ((4,), (16, 16)), ((), (8, 8))])
def test_a_decoder_equals_the_slow_form(sides: tuple[int, ...], size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    decoder = Decoder(6, [5] * len(sides), 3, (4,) * (len(sides) + 1), centre=len(sides) == 2).eval().double()
    with torch.no_grad():
        for name, value in [*decoder.named_parameters(), *decoder.named_buffers()]:
            if value.is_floating_point() and not name.startswith("head.weight"):
                value += 0.1 * torch.rand(value.shape, generator=generator)
        features = torch.randn(2, 6, 4, 4, generator=generator).double()
        skips = [torch.randn(2, 5, side, side, generator=generator).double() for side in sides]
        found = decoder(features, skips, size)
        torch.testing.assert_close(found, slow_decoder(decoder, features, skips, size))
    assert found.shape == (2, 3, *size)


def test_channels_follow_the_skips() -> None:
    decoder = Decoder(128, [96, 48, 24, 16], 2)
    assert convolutions(decoder) == [(128 + 96, 256), (256 + 48, 128), (128 + 24, 64), (64 + 16, 32), (32, 16)]
    assert isinstance(decoder.centre, nn.Identity)
    assert (decoder.head.in_channels, decoder.head.out_channels) == (16, 2)
    assert decoder.head.bias is not None and not decoder.head.bias.any()
    assert isinstance(Decoder(128, [], 2, centre=True).centre, nn.Sequential)


@pytest.mark.parametrize(
    ("deepest", "skips", "size", "widths"),
    [
        (8, (16, 32, 64), 64, CHANNELS[:3]),
        (28, (28, 56, 112), 224, CHANNELS[:4]),
        (26, (26, 53, 109, 111), 224, (*CHANNELS, 16)),
        (4, (), 4, ()),
        (1, (), 128, (*CHANNELS, 16, 16)),
        (8, (), 60, CHANNELS[:3]),
    ],
)
def test_as_many_blocks_as_lead_to_the_image(
    deepest: int, skips: tuple[int, ...], size: int, widths: tuple[int, ...]
) -> None:
    assert decoder_widths(deepest, skips, size) == widths


def test_a_decoder_fits_its_backbone() -> None:
    backbone = build_backbone("resnet_tiny").train()
    decoder = decoder_on(backbone, 5, 64)
    assert convolutions(decoder) == [(128 + 96, 256), (256 + 48, 128), (128 + 24, 64), (64 + 16, 32)]
    assert backbone.training, "looking at shapes leaves the backbone as it was"
    assert all(int(one) == 0 for name, one in backbone.named_buffers() if name.endswith("num_batches_tracked"))


def test_two_convolutions() -> None:
    block = double_conv(3, 7)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2
    assert [type(one) for one in block] == kinds
    assert all(one.bias is None for one in block if isinstance(one, nn.Conv2d))
    assert block(torch.randn(2, 3, 9, 5)).shape == (2, 7, 9, 5)


def test_the_decoder_learns_faster_than_a_pretrained_backbone() -> None:
    net = unet()
    (group,) = net.param_groups(0.1)
    assert group["lr"] == 0.1 and len(group["params"]) == len(list(net.parameters()))
    net.backbone.weights = "torchvision"
    slow, fast = net.param_groups(0.1)
    assert (slow["lr"], fast["lr"]) == (0.1, pytest.approx(1.0))
    decoder = {id(one) for one in net.decoder.parameters()}
    assert decoder <= {id(one) for one in fast["params"]} and not decoder & {id(one) for one in slow["params"]}
    assert len(slow["params"]) + len(fast["params"]) == len(list(net.parameters()))
