from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsol_bench.errors import UsageError
from wsol_bench.methods.base import Batch
from wsol_bench.methods.sat import SAT
from wsol_bench.methods.scm import SCM
from wsol_bench.methods.ts_cam import TSCAM
from wsol_bench.models.vit import build_vit

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1])
DEIT = "deit_tiny_patch16_224"


def _build(kind: type[TSCAM], classes: int = 3, frame: int = 64, **values: Any) -> Any:
    torch.manual_seed(0)
    method = kind()
    hparams = {"weights": "none", **values}
    method.build(classes, [str(i) for i in range(classes)], kind.HParams.from_dict(hparams), frame)
    return method.eval()


def _official(method: Any, **extra: Tensor) -> dict[str, Tensor]:
    """A checkpoint of the official shape: names of timm's DeiT at 224 pixels, and a convolution as the head."""
    vit, _ = build_vit(DEIT, "none", 224)
    generator = torch.Generator().manual_seed(7)
    state = {name: torch.randn(value.shape, generator=generator) * 0.02 for name, value in vit.state_dict().items()}
    head = {"head.weight": torch.randn(method.head.weight.shape, generator=generator), "head.bias": torch.ones(3)}
    return state | head | extra


def test_logits_are_the_mean_of_the_semantic_maps_and_maps_their_product_with_attention() -> None:
    method = _build(TSCAM)
    with torch.no_grad():
        semantic, attention = method.attended_maps(IMAGES)
        found = method.localize(IMAGES, LABELS)
    torch.testing.assert_close(found.logits, semantic.mean(dim=(2, 3)))
    torch.testing.assert_close(found.maps, attention * semantic[torch.arange(3), LABELS])
    assert semantic.min() < 0 < semantic.max(), "the maps stay signed"


def test_attention_is_the_sum_over_blocks_of_the_mean_over_heads() -> None:
    method = _build(TSCAM)
    with torch.no_grad():
        total = method.attended_maps(IMAGES)[1]
        tokens, rows = method.tower.embed(IMAGES), []
        for index in range(method.tower.depth):
            scores, _ = method.tower.attention(index, tokens)
            rows.append(scores.softmax(dim=-1)[:, :, 0, 1:].mean(dim=1))
            tokens = method.tower.block(index, tokens)
    torch.testing.assert_close(total.flatten(1), torch.stack(rows).sum(dim=0), rtol=1e-4, atol=1e-6)
    assert (total.sum(dim=(1, 2)) < method.tower.depth).all(), "the class token's attention to itself is left out"


def test_training_and_prediction_see_the_same_logits() -> None:
    method = _build(TSCAM, drop_path=0.0)
    with torch.no_grad():
        loss = method.training_step(Batch(IMAGES, LABELS, 1))["cross_entropy"]
        torch.testing.assert_close(loss, F.cross_entropy(method.localize(IMAGES).logits, LABELS))


@pytest.mark.parametrize(("kind", "more"), [(TSCAM, 0), (SCM, 8), (SAT, 2 * 192)])
def test_parameters_beyond_the_transformer(kind: type[TSCAM], more: int) -> None:
    method = _build(kind, backbone=DEIT, frame=64)
    vit = sum(parameter.numel() for parameter in method.tower.vit.parameters())
    head = 3 * (192 * 9 + 1)
    assert sum(parameter.numel() for parameter in method.parameters()) == vit + head + more


@pytest.mark.parametrize("frame", [64, 224])
@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_official_checkpoints_of_ts_cam(tmp_path: Path, wrapped: str | None, frame: int) -> None:
    state = _official(_build(TSCAM, backbone=DEIT))
    torch.save({wrapped: state, "epoch": 3} if wrapped else state, tmp_path / "official.pth")
    method = _build(TSCAM, backbone=DEIT, weights=str(tmp_path / "official.pth"), train=False, frame=frame)
    assert torch.equal(method.head.weight, state["head.weight"]) and torch.equal(method.head.bias, state["head.bias"])
    assert torch.equal(method.tower.vit.blocks[3].attn.qkv.weight, state["blocks.3.attn.qkv.weight"])
    assert method.tower.vit.pos_embed.shape[1] == 1 + (frame // 16) ** 2
    assert torch.equal(method.tower.vit.pos_embed, state["pos_embed"]) == (frame == 224)
    assert not method.needs_training


def test_official_checkpoints_of_scm_and_sat(tmp_path: Path) -> None:
    scm = {f"layers.{i}.{name}": torch.tensor([i + value]) for i in range(4) for name, value in
           (("thred", 0.25), ("fuse.loss_rate", 0.75))}  # fmt: skip
    torch.save(_official(_build(SCM, backbone=DEIT), **scm), tmp_path / "scm.pth")
    method = _build(SCM, backbone=DEIT, weights=str(tmp_path / "scm.pth"), pretrained_head=True)
    assert [(one.threshold.item(), one.rate.item()) for one in method.layers] == [
        (i + 0.25, i + 0.75) for i in range(4)
    ]
    assert method.needs_training
    sat = {
        "loc_token": torch.full((1, 1, 192), 2.0),
        "loc_embed": torch.full((1, 1, 192), 3.0),
        "weight": torch.ones(9),
    }
    torch.save(_official(_build(SAT, backbone=DEIT), **sat), tmp_path / "sat.pth")
    located = _build(SAT, backbone=DEIT, weights=str(tmp_path / "sat.pth"), train=False)
    assert (located.location == 2).all() and (located.location_position == 3).all()


def test_the_weights_of_deit_leave_the_head_alone(tmp_path: Path) -> None:
    state = _official(_build(TSCAM, backbone=DEIT)) | {
        "head.weight": torch.ones(1000, 192),
        "head.bias": torch.ones(1000),
    }
    torch.save({"model": state}, tmp_path / "deit.pth")
    method = _build(TSCAM, backbone=DEIT, weights=str(tmp_path / "deit.pth"))
    assert torch.equal(method.tower.vit.blocks[0].mlp.fc1.weight, state["blocks.0.mlp.fc1.weight"])
    assert method.head.weight.std() > 0
    with pytest.raises(UsageError, match=r"'head\.weight' is missing or of another shape; fix: pretrained_head=false"):
        _build(TSCAM, backbone=DEIT, weights=str(tmp_path / "deit.pth"), pretrained_head=True)


def test_a_head_needs_a_checkpoint() -> None:
    for values in ({"train": False}, {"pretrained_head": True}):
        with pytest.raises(UsageError, match="name its file"):
            _build(TSCAM, **values)


def test_a_trial_can_start_another(tmp_path: Path) -> None:
    donor = _build(SCM)
    torch.save(donor.state_dict(), tmp_path / "best_cls.pt")
    method = _build(TSCAM, weights=str(tmp_path / "best_cls.pt"), pretrained_head=True)
    assert torch.equal(method.head.weight, donor.head.weight)
    assert torch.equal(method.tower.vit.patch_embed.proj.weight, donor.tower.vit.patch_embed.proj.weight)


def test_published_size() -> None:
    with torch.device("meta"):
        method = TSCAM()
        hparams = TSCAM.HParams.from_dict({"backbone": "deit_small_patch16_224", "weights": "none"})
        method.build(1000, [str(i) for i in range(1000)], hparams, 224)
    assert sum(parameter.numel() for parameter in method.parameters()) == 25_122_664
