"""Relevance against a slow form: stock attention of the whole tower, one backward pass per image, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from clip_models import tiny_clip
from open_clip.transformer import QuickGELU
from torch import Tensor

from wsol_bench.models.clip import load_clip
from wsol_bench.models.clip_relevance import ClipRelevance, clip_relevance
from wsol_bench.models.clip_vit import ClipImageTower

MEAN_STD = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))
POOLED: dict[str, Any] = {"pool_type": "avg"}


def make_tower(**vision: Any) -> ClipImageTower:
    model = tiny_clip(**vision)
    with torch.no_grad():
        for name, value in model.visual.named_parameters():
            if "in_proj_weight" in name:
                value *= 3
    return ClipImageTower(model.visual, *MEAN_STD)


@pytest.fixture(scope="module")
def tower() -> ClipImageTower:
    return make_tower()


def pixels(side: int = 32, count: int = 3) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def texts(count: int = 3, width: int = 12, seed: int = 1) -> Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def slow_map(vision: dict[str, Any], image: Tensor, text: Tensor, blocks: int, scale: float = 1.0) -> Tensor:
    """The raw map ``[grid, grid]`` of one image, for the cosine times ``scale``."""
    net = make_tower(**vision).visual.double()
    for parameter in net.parameters():
        parameter.requires_grad_()
    probabilities: list[Tensor] = []

    def attend(block: Any, u: Tensor) -> Tensor:
        width, heads = u.shape[-1], block.attn.num_heads
        q, k, v = (
            part.view(-1, heads, width // heads).transpose(0, 1)
            for part in F.linear(u[0], block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=1)
        )
        probability = torch.softmax(q @ k.transpose(1, 2) / (width // heads) ** 0.5, dim=-1)
        probability.retain_grad()
        probabilities.append(probability)
        return block.attn.out_proj((probability @ v).transpose(0, 1).reshape(1, -1, width))

    patches = net.conv1(image[None].double()).flatten(2).transpose(1, 2)
    x = net.ln_pre(torch.cat([net.class_embedding.expand(1, 1, -1), patches], dim=1) + net.positional_embedding)
    for block in net.transformer.resblocks:
        x = x + attend(block, block.ln_1(x))
        x = x + block.mlp(block.ln_2(x))
    projected = net.ln_post(x[0]) @ net.proj
    pooled = projected[1:].mean(dim=0) if net.pool_type == "avg" else projected[0]
    torch.testing.assert_close(pooled, net(image[None].double())[0])
    (scale * F.cosine_similarity(pooled, text.double(), dim=0)).backward()
    count = x.shape[1]
    rolled = torch.eye(count, dtype=torch.float64)
    for probability in probabilities[len(probabilities) - min(blocks, len(probabilities)) :]:
        assert probability.grad is not None
        rolled = rolled + torch.relu(probability.grad * probability.detach()).mean(dim=0) @ rolled
    side = round((count - 1) ** 0.5)
    received = rolled[1:, 1:].mean(dim=0) if net.pool_type == "avg" else rolled[0, 1:]
    return received.view(side, side)


def stretched(raw: Tensor) -> Tensor:
    return ((raw - raw.min()) / (raw.max() - raw.min())).float()


@pytest.mark.parametrize("vision", [{}, POOLED], ids=["class_token", "pooled"])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_maps_equal_the_slow_form(vision: dict[str, Any], blocks: int) -> None:
    maps = clip_relevance(make_tower(**vision), pixels(), texts(), blocks=blocks)
    assert maps.shape == (3, 4, 4) and maps.dtype == torch.float32
    for image, text, got in zip(pixels(), texts(), maps, strict=True):
        torch.testing.assert_close(got, stretched(slow_map(vision, image, text, blocks)), atol=2e-4, rtol=0)


def test_with_one_block_the_scale_does_not_matter(tower: ClipImageTower) -> None:
    """CLIP's own logits are a hundred times the cosine."""
    (got,) = clip_relevance(tower, pixels(count=1), texts(1))
    (same,) = clip_relevance(tower, pixels(count=1), texts(1), scale=100.0)
    torch.testing.assert_close(got, same, atol=2e-4, rtol=0)
    torch.testing.assert_close(got, stretched(slow_map({}, pixels()[0], texts(1)[0], 1, 100.0)), atol=2e-4, rtol=0)


@pytest.mark.parametrize("blocks", [2, 3])
def test_with_more_blocks_the_scale_counts(tower: ClipImageTower, blocks: int) -> None:
    (got,) = clip_relevance(tower, pixels(count=1), texts(1), blocks=blocks, scale=100.0)
    torch.testing.assert_close(got, stretched(slow_map({}, pixels()[0], texts(1)[0], blocks, 100.0)), atol=2e-3, rtol=0)
    (plain,) = clip_relevance(tower, pixels(count=1), texts(1), blocks=blocks)
    assert (got - plain).abs().max() > 0.01


def test_one_block_is_gradient_times_attention(tower: ClipImageTower) -> None:
    """Without a roll-out, and by the last block of the library alone."""
    with torch.no_grad():
        tokens = tower.embed(pixels())
        for index in range(2):
            tokens, _ = tower.block(index, tokens)
        queries, keys, values = tower.heads(2, tower.blocks[2].ln_1(tokens))
    attention = (queries @ keys.transpose(2, 3) / 4).softmax(dim=-1).requires_grad_()
    after = tower.perceive(2, tokens + tower.mix(2, attention, values))
    F.cosine_similarity(tower.project(after[:, 0]), texts()).sum().backward()
    assert attention.grad is not None and not attention.grad[:, :, 1:].any(), "only the class token is read"
    raw = torch.relu(attention.grad * attention.detach()).mean(dim=1)[:, 0, 1:].view(3, 4, 4)
    expected = torch.stack([stretched(one) for one in raw])
    torch.testing.assert_close(clip_relevance(tower, pixels(), texts()), expected, atol=1e-4, rtol=0)


def test_maps_span_zero_to_one(tower: ClipImageTower) -> None:
    for blocks in (1, 3):
        maps = clip_relevance(tower, pixels(), texts(), blocks=blocks)
        assert (maps.amax(dim=(1, 2)) == 1).all() and (maps.amin(dim=(1, 2)) == 0).all()


def test_more_blocks_than_there_are_is_all_of_them(tower: ClipImageTower) -> None:
    every, more = (clip_relevance(tower, pixels(), texts(), blocks=blocks) for blocks in (3, 99))
    assert torch.equal(every, more)
    assert (every - clip_relevance(tower, pixels(), texts(), blocks=1)).abs().max() > 1e-3


def test_every_image_has_its_own_text(tower: ClipImageTower) -> None:
    maps = clip_relevance(tower, pixels(), texts())
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(clip_relevance(tower, pixels()[order], texts()[order]), maps[order], atol=1e-4, rtol=0)
    alone = torch.cat([clip_relevance(tower, pixels()[i : i + 1], texts()[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, maps, atol=1e-4, rtol=0)
    assert (clip_relevance(tower, pixels(), texts()[order]) - maps).abs().amax(dim=(1, 2)).min() > 1e-2


def test_where_nothing_speaks_for_the_text_the_map_is_zero() -> None:
    net = make_tower()
    with torch.no_grad():
        net.blocks[-1].attn.out_proj.weight.zero_()
    maps = clip_relevance(net, pixels(), texts())
    assert torch.equal(maps, torch.zeros(3, 4, 4))
    assert clip_relevance(net, pixels(), texts(), blocks=2).max() == 1, "earlier blocks still speak"


def test_gradients_are_switched_on_inside_and_none_is_left(tower: ClipImageTower) -> None:
    outside = clip_relevance(tower, pixels(), texts())
    with torch.no_grad():
        maps = clip_relevance(tower, pixels(), texts())
    assert torch.equal(maps, outside) and not outside.requires_grad
    assert all(one.grad is None and not one.requires_grad for one in tower.parameters())


def test_the_frozen_function_explains_the_class_of_each_image(tower: ClipImageTower) -> None:
    part = ClipRelevance(tower, texts(5), MEAN_STD, 2)
    colours = torch.randint(0, 256, (3, 3, 48, 48), generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in MEAN_STD)
    labels = torch.tensor([4, 0, 4])
    found = part((colours / 255 - mean) / std, labels)
    expected = clip_relevance(tower, tower.prepare(colours), texts(5)[labels], blocks=2)
    assert set(found) == {"maps"} and part.by_label
    torch.testing.assert_close(found["maps"], expected, atol=2e-3, rtol=0)


def test_the_identity_says_what_answers_depend_on(tower: ClipImageTower) -> None:
    other = make_tower()
    with torch.no_grad():
        other.blocks[0].ln_1.bias[0] += 1e-3
    quick = make_tower()
    for block in quick.blocks:
        block.mlp.gelu = QuickGELU()
    parts = [
        ClipRelevance(tower, texts(), MEAN_STD, 1),
        ClipRelevance(tower, texts(), MEAN_STD, 2),
        ClipRelevance(tower, texts(seed=2), MEAN_STD, 1),
        ClipRelevance(tower, texts(), (MEAN_STD[0], (0.2, 0.3, 0.2)), 1),
        ClipRelevance(other, texts(), MEAN_STD, 1),
        ClipRelevance(tower, texts(), MEAN_STD, 1, 100.0),
        ClipRelevance(make_tower(head_width=32), texts(), MEAN_STD, 1),
        ClipRelevance(ClipImageTower(tiny_clip().visual, MEAN_STD[0], (1.0, 1.0, 1.0)), texts(), MEAN_STD, 1),
        ClipRelevance(quick, texts(), MEAN_STD, 1),
    ]
    assert len({part.identity for part in parts}) == 9
    assert ClipRelevance(make_tower(), texts(), MEAN_STD, 1).identity == parts[0].identity


def test_the_embedded_model() -> None:
    clip = load_clip("ignored", "embedded")
    named = clip.text_features(["a bird", "snow"])
    for blocks in (1, 2):
        maps = clip_relevance(clip.tower, pixels(clip.tower.side, 2), named, blocks=blocks)
        assert maps.shape == (2, clip.tower.grid, clip.tower.grid)
        assert (maps.amax(dim=(1, 2)) == 1).all() and (maps >= 0).all()
