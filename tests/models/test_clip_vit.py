from __future__ import annotations

import open_clip
import pytest
import torch
import torch.nn.functional as F
from clip_models import TINY, tiny_clip

from wsol_bench.errors import UsageError
from wsol_bench.models.clip_vit import ClipImageTower

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def tower(seed: int = 0) -> ClipImageTower:
    return ClipImageTower(tiny_clip(seed).visual, MEAN, STD)


def images(count: int = 3, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_block_by_block_is_what_the_library_computes() -> None:
    net = tower()
    pixels = net.prepare(images())
    tokens = net.embed(pixels)
    for index in range(len(net.blocks)):
        tokens, _ = net.block(index, tokens, attention=index % 2 == 0)
    torch.testing.assert_close(net.project(tokens[:, 0]), net.encode(pixels))


def test_attention_is_averaged_over_heads_and_sums_to_one() -> None:
    net = tower()
    tokens = net.embed(net.prepare(images()))
    _, weights = net.block(0, tokens, attention=True)
    assert weights is not None and weights.shape == (3, 17, 17)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 17))
    block = net.blocks[0]
    q, k, _ = F.linear(block.ln_1(tokens), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
    heads = [one.view(3, 17, 2, 16).transpose(1, 2) for one in (q, k)]
    torch.testing.assert_close(weights, (heads[0] @ heads[1].transpose(2, 3) / 4).softmax(dim=3).mean(dim=1))
    assert net.block(0, tokens)[1] is None


def test_pixels_are_normalised_and_resized() -> None:
    net = tower()
    native = images()
    expected = (native / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(net.prepare(native), expected)
    grey = torch.full((1, 3, 50, 50), 100, dtype=torch.uint8)
    assert net.prepare(grey).shape == (1, 3, 32, 32)
    torch.testing.assert_close(net.prepare(grey), net.prepare(torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)))


def test_everything_is_frozen() -> None:
    net = tower().train()
    assert not any(one.requires_grad for one in net.parameters())


@pytest.mark.parametrize("batch_first", [True, False])
def test_either_order_of_axes(batch_first: bool) -> None:
    net = tower()
    expected = net.block(1, net.embed(net.prepare(images())), attention=True)
    for block in net.blocks:
        block.attn.batch_first = batch_first
    got = net.block(1, net.embed(net.prepare(images())), attention=True)
    torch.testing.assert_close(got, expected)


def test_other_towers_are_refused() -> None:
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}
    resnet = open_clip.CLIP(**(TINY | {"vision_cfg": vision}))
    with pytest.raises(UsageError, match="plain ViT image tower but got ModifiedResNet"):
        ClipImageTower(resnet.visual, MEAN, STD)
    with pytest.raises(UsageError, match="plain ViT"):
        ClipImageTower(tiny_clip(attentional_pool=True, attn_pooler_heads=2).visual, MEAN, STD)
    with pytest.raises(UsageError, match="plain ViT"):
        ClipImageTower(tiny_clip(qk_norm=True).visual, MEAN, STD)
