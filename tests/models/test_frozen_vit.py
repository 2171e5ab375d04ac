from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from scipy.ndimage import gaussian_filter
from vit_models import images, mini, timm_attentions

from wsol_bench.errors import DataError, UsageError
from wsol_bench.models.frozen_vit import CLASS_BLOCKS, FrozenPatches, FrozenVit, blurred_images, candidate_maps
from wsol_bench.models.vit import MINI, MINI_DINO
from wsol_bench.models.weights import IMAGENET_MEAN_STD, without_pretrained

HALF = {"atol": 2e-3, "rtol": 1e-3}
"""Answers are rounded to half precision."""


@pytest.fixture(scope="module")
def vit() -> Any:
    return mini()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, vit: Any) -> str:
    path = tmp_path_factory.mktemp("weights") / "vit.pt"
    torch.save(vit.state_dict(), path)
    return str(path)


def test_tokens_are_those_of_timm(vit: Any, file: str) -> None:
    encoder = FrozenVit(MINI, file, 64)
    answers = encoder(images())
    with torch.no_grad():
        kept = vit.forward_intermediates(
            images(), indices=CLASS_BLOCKS, norm=True, return_prefix_tokens=True, intermediates_only=True
        )
        last = vit.forward_features(images())
    torch.testing.assert_close(answers["classes"], torch.cat([prefix[:, 0] for _, prefix in kept], dim=1), **HALF)
    torch.testing.assert_close(answers["classes"][:, -96:], last[:, 0], **HALF)
    torch.testing.assert_close(answers["patches"], kept[-1][0], **HALF)
    torch.testing.assert_close(answers["patches"][:, :, 2, 5], last[:, 1 + 2 * 8 + 5], **HALF)
    assert (encoder.width, encoder.heads, encoder.grid, encoder.mean_std) == (96, 3, 8, IMAGENET_MEAN_STD)
    assert {name: tuple(value.shape) for name, value in answers.items()} == {
        "patches": (2, 96, 8, 8), "classes": (2, 4 * 96), "attention": (2, 3, 8, 8),
    }  # fmt: skip
    assert all(not value.requires_grad and value.dtype == torch.float32 for value in answers.values())


def test_attention_is_that_of_the_class_token_in_the_last_block(vit: Any, file: str) -> None:
    attention = FrozenVit(MINI, file, 64)(images())["attention"]
    weights = timm_attentions(vit, images())[-1]
    expected = weights[:, :, 0, 1:].reshape(2, 3, 8, 8)
    torch.testing.assert_close(attention, expected, atol=2e-5, rtol=1e-3)
    torch.testing.assert_close(attention.sum(dim=(2, 3)) + weights[:, :, 0, 0], torch.ones(2, 3), atol=1e-3, rtol=0)


def test_an_image_depends_on_itself_alone(file: str) -> None:
    encoder = FrozenVit(MINI, file, 64)
    together, alone = encoder(images()), encoder(images()[1:])
    for name, value in together.items():
        torch.testing.assert_close(value[1:], alone[name], **HALF)


def test_class_features_have_a_graph_to_the_images_only(file: str) -> None:
    encoder = FrozenVit(MINI, file, 64)
    pixels = images().requires_grad_()
    features = encoder.class_features(pixels)
    torch.testing.assert_close(features.detach(), encoder(images())["classes"], **HALF)
    features.square().mean().backward()
    assert pixels.grad is not None and (pixels.grad.abs().sum(dim=(1, 2, 3)) > 0).all()
    assert all(one.grad is None for one in encoder.network.parameters())


def test_patches_alone_are_the_same_patches(file: str) -> None:
    patches, whole = FrozenPatches(MINI, file, 96), FrozenVit(MINI, file, 96)
    assert (patches.width, patches.grid, patches.mean_std) == (96, 12, IMAGENET_MEAN_STD)
    found = patches(images(96))
    assert set(found) == {"patches"}
    torch.testing.assert_close(found["patches"], whole(images(96))["patches"], **HALF)


def test_patches_of_other_families(tmp_path: Path) -> None:
    name = "eva02_tiny_patch14_224"
    torch.manual_seed(0)
    eva = timm.create_model(name, num_classes=0, global_pool="", img_size=56).eval()
    torch.save(eva.state_dict(), tmp_path / "eva.pt")
    encoder = FrozenPatches(name, str(tmp_path / "eva.pt"), 56)
    with torch.no_grad():
        tokens = eva.forward_features(images(56))[:, 1:]
    expected = tokens.transpose(1, 2).reshape(2, encoder.width, encoder.grid, encoder.grid)
    torch.testing.assert_close(encoder(images(56))["patches"], expected, **HALF)
    assert encoder.mean_std == (tuple(eva.pretrained_cfg["mean"]), tuple(eva.pretrained_cfg["std"]))
    with pytest.raises(UsageError, match="plain ViT with a class token but got Eva"):
        FrozenVit(name, str(tmp_path / "eva.pt"), 56)


def test_the_identity_says_what_answers_depend_on(tmp_path: Path, file: str) -> None:
    other = mini()
    with torch.no_grad():
        other.blocks[5].mlp.fc1.bias[3] += 1e-3
    torch.save(other.state_dict(), tmp_path / "other.pt")
    identities = [
        FrozenVit(MINI, file, 64).identity,
        FrozenVit(MINI, file, 72).identity,
        FrozenVit(MINI, str(tmp_path / "other.pt"), 64).identity,
        FrozenPatches(MINI, file, 64).identity,
    ]
    assert len(set(identities)) == 4
    assert FrozenVit(MINI, file, 64).identity == identities[0], "the same in another process"


@pytest.mark.parametrize("kind", [FrozenVit, FrozenPatches])
@pytest.mark.parametrize("name", [MINI, MINI_DINO])
def test_embedded_weights(kind: type[FrozenVit], name: str) -> None:
    encoder = kind(name, "embedded", 64)
    patches = encoder(images())["patches"]
    assert patches.shape == (2, 96, 8, 8) and torch.isfinite(patches).all()


@pytest.mark.parametrize("kind", [FrozenVit, FrozenPatches])
def test_weights_are_needed(kind: type[FrozenVit], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Expected weights for a frozen encoder but got weights=none"):
        kind(MINI, "none", 64)
    with pytest.raises(DataError, match="this file does not exist"):
        kind(MINI, str(tmp_path / "gone.pt"), 64)


def test_a_checkpoint_of_the_method_does_not_bring_them(file: str, vit: Any) -> None:
    with without_pretrained():
        encoder = FrozenVit(MINI, file, 64)
    assert torch.equal(encoder.network.vit.pos_embed, vit.pos_embed)


def test_candidates_are_the_mean_and_the_first_heads() -> None:
    attention = torch.rand(2, 6, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 25
    maps = candidate_maps(attention, 4)
    assert maps.shape == (2, 5, 5, 5) and maps.dtype == torch.float32
    assert (maps.amax(dim=(2, 3)) == 1).all() and (maps > 0).all()
    for image in range(2):
        for index, one in enumerate([attention[image].mean(dim=0), *attention[image, :4]]):
            torch.testing.assert_close(maps[image, index], (one / one.max()).float())


def test_no_more_candidates_than_heads_and_zeros_stay_zeros() -> None:
    attention = torch.zeros(1, 3, 4, 4)
    attention[0, 1] = 2.0
    maps = candidate_maps(attention, 12)
    assert maps.shape == (1, 4, 4, 4)
    assert torch.equal(maps[0, :, 0, 0], torch.tensor([1.0, 0.0, 1.0, 0.0]))


@pytest.mark.parametrize("sigma", [0.7, 1.6, 5.2, 60.0])
def test_blur_keeps_what_is_constant(sigma: float) -> None:
    flat = torch.tensor([-1.5, 0.25, 3.0])[None, :, None, None].expand(2, 3, 20, 20)
    torch.testing.assert_close(blurred_images(flat, sigma), flat.contiguous())


@pytest.mark.parametrize("sigma", [0.7, 1.6, 4.0])
def test_blur_is_a_gaussian_reflected_at_the_border(sigma: float) -> None:
    noise = images(32)
    expected = gaussian_filter(noise.double().numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=3.0)
    np.testing.assert_allclose(blurred_images(noise, sigma).numpy(), expected, atol=1e-5)


def test_blur_of_a_column_is_not_that_of_a_row() -> None:
    step = torch.zeros(1, 3, 16, 16)
    step[..., 8:] = 1.0
    blurred = blurred_images(step, 2.0)
    across, down = blurred.diff(dim=3).abs().max(), blurred.diff(dim=2).abs().max()
    assert across > 0.1 and down < 1e-6
    torch.testing.assert_close(blurred_images(step.transpose(2, 3), 2.0), blurred.transpose(2, 3))


def test_wide_blur_ends_at_the_image_and_narrow_blur_is_none() -> None:
    noise = images(16)
    assert blurred_images(noise, 0.1) is noise
    wide = blurred_images(noise, 200.0)
    assert wide.shape == noise.shape and torch.isfinite(wide).all()
    assert wide.std(dim=(2, 3)).max() < 0.1 * noise.std(dim=(2, 3)).min()
    torch.testing.assert_close(blurred_images(noise * 3 - 2, 5.0), blurred_images(noise, 5.0) * 3 - 2)
