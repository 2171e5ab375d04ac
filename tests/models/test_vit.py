"""Token by token against timm's own pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from vit_models import images, mini, stirred, timm_attentions

from wsol_bench.errors import DataError, UsageError
from wsol_bench.models.vit import (
    EMBEDDED_VITS,
    MINI,
    MINI_DINO,
    VitTower,
    build_vit,
    decay_groups,
    grid_of,
    mean_std_of,
)
from wsol_bench.models.weights import IMAGENET_MEAN_STD, without_pretrained

SMALL: dict[str, Any] = {
    "img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 0, "global_pool": "",
}  # fmt: skip


def small(**options: Any) -> Any:
    torch.manual_seed(0)
    return stirred(VisionTransformer(**(SMALL | options)))


def named(name: str, frame: int) -> Callable[[], Any]:
    return lambda: stirred(build_vit(name, "none", frame)[0])


def saved(path: Path, state: dict[str, torch.Tensor]) -> str:
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize(
    ("make", "frame"),
    [
        (mini, 64),
        (lambda: mini(40), 40),
        (named("deit_tiny_patch16_224", 64), 64),
        (named("deit3_small_patch16_224", 32), 32),
        (lambda: small(init_values=0.5), 32),
        (lambda: small(qk_norm=True, scale_attn_norm=True, scale_mlp_norm=True), 32),
        (lambda: small(no_embed_class=True, pre_norm=True, qkv_bias=False), 32),
    ],
    ids=["mini", "mini_at_40", "deit", "deit3", "layer_scale", "inner_norms", "pre_norm"],
)
def test_token_by_token_is_what_timm_computes(make: Callable[[], Any], frame: int) -> None:
    vit = make()
    tower = VitTower(vit)
    pixels = images(frame)
    with torch.no_grad():
        expected = vit.forward_features(pixels)
        whole = attending = tower.embed(pixels)
        found = []
        for index in range(tower.depth):
            whole = tower.block(index, whole)
            attending, weights = tower.attending_block(index, attending)
            found.append(weights)
    torch.testing.assert_close(tower.norm(whole), expected)
    torch.testing.assert_close(tower.norm(attending), expected, atol=1e-4, rtol=1e-4)
    assert attending.shape == (2, 1 + tower.grid**2, tower.width)
    torch.testing.assert_close(found, timm_attentions(vit, pixels), atol=1e-4, rtol=1e-4)


def test_attention_sums_to_one_and_is_not_uniform() -> None:
    tower = VitTower(mini())
    with torch.no_grad():
        tokens = tower.embed(images())
        for index in range(tower.depth):
            tokens, weights = tower.attending_block(index, tokens)
            assert weights.shape == (2, tower.heads, 65, 65) and (weights >= 0).all()
            torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 65))
            assert weights.max() > 2 / 65


def test_a_method_may_change_the_attention() -> None:
    tower = VitTower(mini())
    with torch.no_grad():
        tokens = tower.embed(images())
        scores, values = tower.attention(-1, tokens)
        torch.testing.assert_close((scores, values), tower.attention(tower.depth - 1, tokens))
        assert values.shape == (2, 3, 65, 32)
        kept = tower.finish(-1, tokens, torch.eye(65).expand(2, 3, 65, 65), values)
        block = tower.vit.blocks[-1]
        own = block.attn.proj(block.attn.qkv(block.norm1(tokens))[..., 2 * tower.width :])
        expected = tokens + own
        torch.testing.assert_close(kept, expected + block.mlp(block.norm2(expected)))


def test_the_tower_knows_its_shape() -> None:
    tower = VitTower(mini())
    assert (tower.width, tower.depth, tower.heads, tower.grid) == (96, 8, 3, 8)
    assert tower.mean_std == IMAGENET_MEAN_STD and grid_of(mini(40)) == 5
    assert mean_std_of(build_vit("vit_tiny_patch16_224", "none", 32)[0]) == ((0.5,) * 3, (0.5,) * 3)


def test_patches_lie_on_the_grid_row_by_row() -> None:
    tower = VitTower(mini(32))
    pixels = images(32)
    patches = tower.vit.patch_embed(pixels)
    torch.testing.assert_close(tower.on_grid(patches), tower.vit.patch_embed.proj(pixels))
    torch.testing.assert_close(tower.on_grid(patches[..., 0]), tower.vit.patch_embed.proj(pixels)[:, 0])
    nested = patches.unflatten(2, (3, 32))
    torch.testing.assert_close(tower.on_grid(nested).flatten(1, 2), tower.on_grid(patches))


def test_gradients_reach_the_images() -> None:
    tower = VitTower(mini(32))
    pixels = images(32).requires_grad_()
    tower.attending_block(0, tower.embed(pixels))[0].square().mean().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0


def test_stochastic_depth_rises_from_zero() -> None:
    vit, _ = build_vit(MINI, "none", 64, drop_path=0.35)
    rates = [getattr(block.drop_path2, "drop_prob", 0.0) for block in vit.blocks]
    assert rates == pytest.approx([0.05 * index for index in range(8)])


def test_weights_of_a_file_fit_bit_by_bit(tmp_path: Path) -> None:
    source = mini()
    head = {"head.weight": torch.ones(5, 96, 3, 3), "head.bias": torch.arange(5.0)}
    vit, others = build_vit(MINI, saved(tmp_path / "w.pt", source.state_dict() | head), 64)
    for name, value in source.state_dict().items():
        assert torch.equal(vit.state_dict()[name], value), name
    assert set(others) == set(head) and torch.equal(others["head.bias"], head["head.bias"])


@pytest.mark.parametrize("frame", [32, 96])
def test_position_embeddings_are_interpolated(tmp_path: Path, frame: int) -> None:
    source, grid = mini(64), frame // 8
    vit, others = build_vit(MINI, saved(tmp_path / "w.pt", source.state_dict()), frame)
    own = source.pos_embed[:, 1:].unflatten(1, (8, 8)).permute(0, 3, 1, 2)
    expected = F.interpolate(own, (grid, grid), mode="bicubic", antialias=True, align_corners=False)
    assert vit.pos_embed.shape == (1, 1 + grid**2, 96) and not others
    assert torch.equal(vit.pos_embed[:, :1], source.pos_embed[:, :1]), "the class token has no place"
    torch.testing.assert_close(vit.pos_embed[:, 1:], expected.flatten(2).transpose(1, 2))
    assert torch.equal(vit.blocks[3].attn.qkv.weight, source.blocks[3].attn.qkv.weight)
    assert VitTower(vit).embed(images(frame)).shape == (2, 1 + grid**2, 96)


def test_every_family_interpolates_in_its_own_way(tmp_path: Path) -> None:
    name = "eva02_tiny_patch14_224"
    torch.manual_seed(0)
    source = timm.create_model(name, num_classes=0, global_pool="", img_size=56)
    path = saved(tmp_path / "eva.pt", source.state_dict())
    vit, _ = build_vit(name, path, 56)
    torch.testing.assert_close(vit.eval()(images(56)), source.eval()(images(56)))
    assert build_vit(name, path, 84)[0].pos_embed.shape == (1, 1 + 36, 192)


@pytest.mark.parametrize("name", EMBEDDED_VITS)
def test_embedded_weights_load_at_any_frame(name: str) -> None:
    tower = VitTower(build_vit(name, "embedded", 48)[0])
    assert (tower.grid, tower.width) == (6, 96)
    assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in tower.parameters())


def test_no_file_is_read_where_a_checkpoint_follows(tmp_path: Path) -> None:
    with without_pretrained():
        for weights in (str(tmp_path / "gone.pt"), "timm"):
            vit, others = build_vit("deit_tiny_patch16_224", weights, 32)
            assert grid_of(vit) == 2 and not others


def test_published_weights_go_through_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    make = timm.create_model

    def create(name: str, *, pretrained: bool, **options: Any) -> Any:
        asked.update(options, name=name, pretrained=pretrained)
        return make(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create)
    vit, others = build_vit("deit_tiny_patch16_224", "timm", 64)
    assert asked["name"] == "deit_tiny_patch16_224" and asked["pretrained"] and asked["img_size"] == 64
    assert isinstance(vit.head, nn.Identity) and not others
    build_vit("deit_tiny_patch16_224", "none", 64)
    assert asked["pretrained"] is False


def test_published_weights_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UsageError, match=r"that timm names for deit_tiny_patch16_224 .*no route.*weights=FILE"):
        build_vit("deit_tiny_patch16_224", "timm", 64)


@pytest.mark.parametrize(
    ("name", "weights", "frame", "says"),
    [
        ("deit_tiny_patch16_225", "none", 64, "Did you mean 'deit_tiny_patch16_224'"),
        ("vit_mini_patch8_46", "none", 64, f"Did you mean '{MINI}'"),
        ("resnet18", "none", 64, "Expected a vision transformer but got resnet18"),
        ("deit_tiny_patch16_224", "none", 72, "a multiple of 16, the patch of deit_tiny_patch16_224, but got 72"),
        (MINI_DINO, "none", 60, "a multiple of 8"),
        (MINI, "none", 0, "a multiple of 8"),
        ("deit_tiny_patch16_224.nope", "none", 64, r"the tag of deit_tiny_patch16_224 to be one of \(fb_in1k\)"),
        ("deit_tiny_distilled_patch16_224", "none", 64, "but got 'deit_tiny_distilled_patch16_224'"),
        ("swin_tiny_patch4_window7_224", "none", 64, "Expected a vision transformer but got swin"),
        ("vit_small_patch14_dinov2.lvd142m", "none", 64, "a multiple of 14"),
        (MINI, "timm", 64, f"a file for {MINI} but got weights=timm"),
        ("deit_tiny_patch16_224", "embedded", 64, "for weights=embedded but got deit_tiny_patch16_224"),
        ("vit_base_patch16_plus_240", "timm", 240, "that timm has weights for but got vit_base_patch16_plus_240"),
    ],
)
def test_what_cannot_be_built(name: str, weights: str, frame: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build_vit(name, weights, frame)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: {"fc.weight": torch.zeros(2, 2)}, r"w\.pt' to fit vit_mini_patch8_64 but \d+ of \d+ entries"),
        (lambda state: {name: value for name, value in state.items() if name != "cls_token"}, "1 of .*'cls_token'"),
        (lambda state: state | {"norm.bias": torch.zeros(97)}, "another shape, first 'norm.bias'"),
    ],
    ids=["another_network", "missing", "another_shape"],
)
def test_a_file_that_does_not_fit(tmp_path: Path, change: Callable[[Any], Any], says: str) -> None:
    path = saved(tmp_path / "w.pt", change(mini().state_dict()))
    with pytest.raises(DataError, match=says):
        build_vit(MINI, path, 64)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Expected weights to be 'none', 'timm', 'embedded' or a file"):
        build_vit(MINI, str(tmp_path / "nowhere.pt"), 64)


@pytest.mark.parametrize(
    "make",
    [
        lambda: small(class_token=False),
        lambda: small(reg_tokens=2),
        lambda: small(class_token=False, reg_tokens=1),
        lambda: build_vit("vit_dwee_patch16_reg1_gap_256", "none", 64)[0],
        lambda: build_vit("eva02_tiny_patch14_224", "none", 28)[0],
        lambda: nn.Linear(2, 2),
    ],
    ids=["no_class_token", "registers", "one_register", "differential", "eva", "no_vit"],
)
def test_towers_need_a_class_token_and_plain_attention(make: Callable[[], Any]) -> None:
    with pytest.raises(UsageError, match="Expected a plain ViT with a class token"):
        VitTower(make())


def test_biases_norms_and_positions_do_not_decay() -> None:
    tower = VitTower(mini())
    module = nn.ModuleDict({"tower": tower, "head": nn.Conv2d(96, 5, 3), "classifier": nn.Linear(96, 5)})
    frozen = {"head.weight", "tower.vit.blocks.0.norm1.weight"}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in frozen)
    decayed, spared = decay_groups(module, 0.125)
    assert decayed["lr"] == spared["lr"] == 0.125
    assert spared["weight_decay"] == 0.0 and "weight_decay" not in decayed
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found = [{names[id(parameter)] for parameter in group["params"]} for group in (decayed, spared)]
    still = {name for name in names.values() if name.endswith(".bias") or ".norm" in name}
    still |= {"tower.vit.cls_token", "tower.vit.pos_embed"}
    assert found[1] == still - frozen
    assert found[0] == set(names.values()) - still - frozen
    assert len(decayed["params"]) + len(spared["params"]) == len(names) - len(frozen)
    optimizer = torch.optim.AdamW([decayed, spared], weight_decay=0.05)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]
