"""CLIP-ES against a slow form written line by line from its description, image by image, with a hook and a softmax."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from clip_models import tiny_clip

from wsol_bench.models.clip_es import balance, clip_es_maps, patch_affinity, spread_sources
from wsol_bench.models.clip_vit import ClipImageTower

SCALE = 20.0


@pytest.fixture(scope="module")
def tower() -> ClipImageTower:
    # Ten blocks, so that only the last eight give attention; weights large enough for attention that is not uniform.
    model = tiny_clip(layers=10, image_size=48)
    with torch.no_grad():
        for name, value in model.visual.named_parameters():
            if "attn.in_proj_weight" in name:
                value *= 8
    return ClipImageTower(model.visual, (0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    noise = torch.rand((5, 3, 6, 6), generator=torch.Generator().manual_seed(0)) * 255
    return F.interpolate(noise, (48, 48), mode="bilinear").byte()


def texts(count: int, seed: int = 1) -> torch.Tensor:
    return F.normalize(torch.randn(count, 12, generator=torch.Generator().manual_seed(seed)), dim=1)


def slow_map(tower: ClipImageTower, image: torch.Tensor, wanted: torch.Tensor, background: torch.Tensor) -> np.ndarray:
    tokens = tower.embed(tower.prepare(image[None]))
    attentions = []
    for index in range(9):
        tokens, attention = tower.block(index, tokens, attention=True)
        attentions.append(attention)
    block = tower.blocks[9]
    tokens = tokens.detach().requires_grad_()
    kept = []
    handle = block.ln_1.register_forward_hook(lambda _, __, out: kept.append(out) or out.retain_grad())
    mixed, attention = block.attn(*[block.ln_1(tokens)] * 3, need_weights=True)
    # One call of the norm is the layer that is looked at; the residual connection goes past it.
    handle.remove()
    attentions.append(attention)
    after = tokens + mixed
    after = after + block.mlp(block.ln_2(after))
    pooled = F.normalize((tower.visual.ln_post(after[0, 1:]) @ tower.visual.proj).mean(dim=0), dim=0)
    probabilities = torch.softmax(SCALE * torch.cat([wanted[None], background]) @ pooled, dim=0)
    probabilities[0].backward()
    activations, gradients = kept[0].detach()[0, 1:], kept[0].grad[0, 1:]
    cam = torch.relu((activations * gradients.mean(dim=0)).sum(dim=1)).numpy()
    cam = (cam - cam.min()) / (cam.max() - cam.min())
    weight = torch.stack(attentions[-8:]).mean(dim=0)[0, 1:, 1:].detach().double().numpy()
    for _ in range(3):
        weight = weight / weight.sum(axis=0, keepdims=True)
        weight = weight / weight.sum(axis=1, keepdims=True)
    affinity = (weight + weight.T) / 2
    affinity = affinity @ affinity
    grid = cam.reshape(6, 6)
    levels = (grid * 255).astype(np.uint8)
    binary = (levels > int(0.4 * levels.max())).astype(np.uint8)
    mask = np.zeros((6, 6))
    for contour in cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]:
        x, y, w, h = cv2.boundingRect(contour)
        mask[y : y + h, x : x + w] = 1
    spread = (affinity * mask.ravel()[None]) @ cam
    return ((spread - spread.min()) / (spread.max() - spread.min())).reshape(6, 6)


def test_maps_equal_the_slow_form(tower: ClipImageTower, images: torch.Tensor) -> None:
    wanted, background = texts(5), texts(4, seed=2)
    maps = clip_es_maps(tower, images, wanted, background, SCALE)
    assert maps.shape == (5, 6, 6) and maps.dtype == torch.float32
    for image, one, got in zip(images, wanted, maps.numpy(), strict=True):
        np.testing.assert_allclose(got, slow_map(tower, image, one, background), atol=2e-4)


def test_an_image_depends_on_itself_alone(tower: ClipImageTower, images: torch.Tensor) -> None:
    wanted, background = texts(5), texts(4, seed=2)
    maps = clip_es_maps(tower, images, wanted, background, SCALE)
    single = torch.cat([clip_es_maps(tower, images[i : i + 1], wanted[i : i + 1], background, SCALE) for i in range(5)])
    torch.testing.assert_close(maps, single, atol=1e-4, rtol=0)


def test_the_order_of_background_words_does_not_matter(tower: ClipImageTower, images: torch.Tensor) -> None:
    wanted, background = texts(5), texts(4, seed=2)
    maps = clip_es_maps(tower, images, wanted, background, SCALE)
    torch.testing.assert_close(maps, clip_es_maps(tower, images, wanted, background.flip(0), SCALE), atol=1e-4, rtol=0)


def test_a_sure_class_keeps_its_map(tower: ClipImageTower, images: torch.Tensor) -> None:
    """A softmax saturated in float32 has a gradient of exactly zero; the log-odds do not."""
    background = texts(4, seed=2)
    wanted = F.normalize(tower.project(_last_tokens(tower, images)[:, 1:]).mean(dim=1), dim=1)
    maps = clip_es_maps(tower, images, wanted, background, 300.0, affinity=False)
    assert (maps.amax(dim=(1, 2)) == 1).all()


def _last_tokens(tower: ClipImageTower, images: torch.Tensor) -> torch.Tensor:
    tokens = tower.embed(tower.prepare(images))
    for index in range(len(tower.blocks)):
        tokens, _ = tower.block(index, tokens)
    return tokens


def test_without_background_the_logit_is_the_target(tower: ClipImageTower, images: torch.Tensor) -> None:
    maps = clip_es_maps(tower, images, texts(5), texts(0), SCALE, affinity=False)
    assert (maps.amax(dim=(1, 2)) == 1).all()


def test_no_gradient_and_no_hook_is_left(tower: ClipImageTower, images: torch.Tensor) -> None:
    with torch.no_grad():
        clip_es_maps(tower, images, texts(5), texts(4, seed=2), SCALE)
    assert all(one.grad is None for one in tower.parameters())
    assert not any(module._forward_hooks for module in tower.modules())


def test_balanced_rows_sum_to_one_and_the_affinity_is_symmetric() -> None:
    attention = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(balance(attention).sum(dim=2), torch.ones(2, 9, dtype=torch.float64))
    affinity = patch_affinity(attention)
    torch.testing.assert_close(affinity, affinity.transpose(1, 2))


def test_sources_are_whole_boxes_up_to_the_border() -> None:
    cam = np.zeros((5, 5), np.float32)
    cam[0, 0] = cam[1, 1] = 1.0
    cam[4, 3] = cam[3, 4] = 0.5
    cam[2, 4] = 0.39
    expected = np.zeros((5, 5), bool)
    expected[:2, :2] = True
    expected[3:, 3:] = True
    assert (spread_sources(cam, 0.4) == expected).all()
    assert not spread_sources(np.zeros((3, 3), np.float32), 0.4).any()
