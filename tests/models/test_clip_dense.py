"""Dense CLIP against a slow form of the last block: image by image, head by head, with torch's own functions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from clip_models import tiny_clip
from torch import Tensor

from wsol_bench.models.clip import load_clip
from wsol_bench.models.clip_dense import Variant, dense_attention, dense_features, gaussian_window
from wsol_bench.models.clip_vit import ClipImageTower

CHANGED: tuple[Variant, ...] = ("sclip", "naclip")
VARIANTS: tuple[Variant, ...] = ("vanilla", *CHANGED)


def tower(**vision: object) -> ClipImageTower:
    """Attention that is not uniform and layer norms that do something."""
    model = tiny_clip(**vision)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in model.visual.named_parameters():
            if "in_proj_weight" in name:
                value *= 8
            elif name.endswith("bias") or "ln_" in name:
                value += 0.3 * torch.randn(value.shape, generator=generator)
    return ClipImageTower(model.visual, (0.5,) * 3, (0.25,) * 3)


def pixels(side: int = 32, count: int = 3) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def slow_patches(net: ClipImageTower, image: Tensor, variant: Variant, sigma: float) -> Tensor:
    """Unit vectors of class token and patches ``[1 + N, d]``, by the table of the method spec."""
    tokens = net.embed(image[None])
    for block in net.blocks[:-1]:
        tokens = block(tokens)
    block, x = net.blocks[-1], tokens[0]
    width, heads = x.shape[1], block.attn.num_heads
    u = F.layer_norm(x, (width,), block.ln_1.weight, block.ln_1.bias)
    q, k, v = (u @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).split(width, dim=1)
    omega = torch.zeros(len(x), len(x))
    for i in range(net.grid**2):
        for j in range(net.grid**2):
            distance = (i // net.grid - j // net.grid) ** 2 + (i % net.grid - j % net.grid) ** 2
            omega[1 + i, 1 + j] = math.exp(-distance / (2 * sigma**2))
    mixed = []
    for head in range(heads):
        own = slice(head * width // heads, (head + 1) * width // heads)
        s = 1 / math.sqrt(width // heads)
        if variant == "naclip":
            weights = torch.softmax(s * k[:, own] @ k[:, own].T + omega, dim=1)
        elif variant == "sclip":
            weights = torch.softmax(s * q[:, own] @ q[:, own].T, dim=1)
            weights = weights + torch.softmax(s * k[:, own] @ k[:, own].T, dim=1)
        else:
            weights = torch.softmax(s * q[:, own] @ k[:, own].T, dim=1)
        mixed.append(weights @ v[:, own])
    after = block.attn.out_proj(torch.cat(mixed, dim=1))
    if variant != "naclip":
        after = x + after
        after = after + block.mlp(block.ln_2(after))
    return F.normalize(net.visual.ln_post(after) @ net.visual.proj, dim=1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_equal_the_slow_form(variant: Variant) -> None:
    net = tower()
    with torch.no_grad():
        patches, image = dense_features(net, pixels(), variant, sigma=1.5)
        expected = torch.stack([slow_patches(net, one, variant, 1.5) for one in pixels()])
    assert patches.shape == (3, 16, 12) and image.shape == (3, 12)
    torch.testing.assert_close(patches, expected[:, 1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(image, expected[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(patches.norm(dim=2), torch.ones(3, 16))


@pytest.mark.parametrize("pooling", [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}])
def test_vanilla_is_the_library_and_the_others_are_not(pooling: dict[str, object]) -> None:
    net = tower(**pooling)
    with torch.no_grad():
        expected = F.normalize(net.encode(pixels()), dim=1)
        found = {variant: dense_features(net, pixels(), variant)[1] for variant in VARIANTS}
    torch.testing.assert_close(found["vanilla"], expected, atol=1e-5, rtol=1e-4)
    assert all((found[variant] - expected).abs().max() > 1e-2 for variant in CHANGED)


def test_the_embedded_model() -> None:
    net = load_clip("ignored", "embedded").tower
    given = pixels(net.side, 2)
    with torch.no_grad():
        expected = F.normalize(net.encode(given), dim=1)
        for variant in VARIANTS:
            patches, image = dense_features(net, given, variant)
            assert patches.shape == (2, net.grid**2, image.shape[1])
            torch.testing.assert_close(patches.norm(dim=2), torch.ones(2, net.grid**2))
            if variant == "vanilla":
                torch.testing.assert_close(image, expected, atol=1e-4, rtol=1e-4)


def test_an_image_depends_on_itself_alone() -> None:
    net = tower()
    with torch.no_grad():
        for variant in VARIANTS:
            together, alone = dense_features(net, pixels(), variant), dense_features(net, pixels()[2:], variant)
            torch.testing.assert_close([one[2:] for one in together], list(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("variant", "total"), [("sclip", 2.0), ("naclip", 1.0)])
def test_rows_of_the_attention(variant: Variant, total: float) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(2, 3, 10, 8, generator=generator) for _ in range(2))
    weights = dense_attention(queries, keys, variant, 3, 1.0)
    assert weights.shape == (2, 3, 10, 10) and (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=3), torch.full((2, 3, 10), total))


def test_which_similarities_count() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, others = (torch.randn(1, 2, 10, 8, generator=generator) for _ in range(3))
    naclip = dense_attention(queries, keys, "naclip", 3, 1.0)
    assert torch.equal(naclip, dense_attention(others, keys, "naclip", 3, 1.0)), "NACLIP looks at no query"
    sclip = dense_attention(queries, keys, "sclip", 3, 1.0)
    torch.testing.assert_close(sclip, dense_attention(keys, queries, "sclip", 3, 9.0))
    assert not torch.allclose(sclip, dense_attention(queries, others, "sclip", 3, 1.0))


def test_neighbours_are_favoured() -> None:
    alike = torch.ones(1, 1, 26, 4)
    weights = dense_attention(alike, alike, "naclip", 5, 1.0)[0, 0]
    assert torch.equal(weights[1:, 1:].argmax(dim=1), torch.arange(25))
    around = weights[1 + 12, 1:].view(5, 5)
    assert around[2, 2] > around[2, 1] > around[1, 1] > around[2, 0] > around[0, 0]
    torch.testing.assert_close(around, around.flip(0))
    torch.testing.assert_close(around, around.T)
    torch.testing.assert_close(weights[0], torch.full((26,), 1 / 26))


def test_the_window() -> None:
    window = gaussian_window(4, 2.0)
    assert window.shape == (17, 17) and torch.equal(window, window.T)
    assert not window[0].any() and not window[:, 0].any()
    assert (window.diagonal()[1:] == 1).all() and window[1:, 1:].max() == 1
    assert float(window[1, 1 + 2 * 4 + 3]) == pytest.approx(math.exp(-(4 + 9) / 8))
    assert float(window[1 + 3, 1 + 4]) == pytest.approx(math.exp(-(1 + 9) / 8)), "the next row starts on the left"
    assert (gaussian_window(4, 1e3)[1:, 1:] > 0.999).all() and gaussian_window(4, 0.1)[1:, 1:].sum() < 16.01
