from __future__ import annotations

import pytest
import torch
from torch import nn

from wsol_bench.errors import UsageError
from wsol_bench.methods.cam import CAM
from wsol_bench.methods.nl_ccam import NLCCAM, rank_weights
from wsol_bench.models.non_local import NonLocalBlock

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NAMES = tuple("abcdef")


def _method(**values: object) -> NLCCAM:
    torch.manual_seed(0)
    method = NLCCAM()
    method.build(6, NAMES, NLCCAM.HParams.from_dict({"backbone": "resnet_tiny", **values}), 64)
    return method.eval()


def test_weights_of_ranks() -> None:
    weights = rank_weights(200, 100)
    assert [float(weights[rank]) for rank in (0, 99, 100, 199)] == [1.0, 0.0, 0.0, -1.0]
    assert float(weights.sum()) == pytest.approx(0.0, abs=1e-4)
    assert float(rank_weights(1000, 100)[100:].sum()) == pytest.approx(-300.2, abs=0.1)
    torch.testing.assert_close(rank_weights(5, 3, "linear"), torch.tensor([1.0, 0.5, 0.0, -0.5, -1.0]))


def test_one_weight_vector_is_the_sum_of_all_maps() -> None:
    method = _method()
    with torch.no_grad():
        found = method.localize(IMAGES)
        features = method.features(IMAGES)
    maps = torch.einsum("bkhw,ck->bchw", features, method.head.linear.weight)
    ranking = found.logits.argsort(dim=1, descending=True)
    weights = rank_weights(6, method.positive)
    for image in range(3):
        expected = sum(weights[rank] * maps[image, ranking[image, rank]] for rank in range(6))
        torch.testing.assert_close(found.maps[image], expected, atol=1e-5, rtol=1e-4)


def test_the_label_plays_no_part_unless_it_is_put_first() -> None:
    method = _method()
    with torch.no_grad():
        blind = method.localize(IMAGES).maps
        worst = method.localize(IMAGES).logits.argmin(dim=1)
        assert torch.equal(method.localize(IMAGES, worst).maps, blind)
        method.label_first = True
        assert not torch.equal(method.localize(IMAGES, worst).maps, blind)


def test_the_top_combination_is_cam() -> None:
    method, cam = _method(combination="top"), CAM()
    cam.build(6, NAMES, CAM.HParams.from_dict({"backbone": "resnet_tiny"}), 64)
    cam.load_state_dict({name: value for name, value in method.state_dict().items() if not name.startswith("blocks")})
    labels = torch.tensor([5, 0, 3])
    with torch.no_grad():
        torch.testing.assert_close(method.localize(IMAGES, labels).maps, cam.eval().localize(IMAGES, labels).maps)


def test_a_new_block_is_the_identity_and_looks_everywhere_once_trained() -> None:
    torch.manual_seed(0)
    block = NonLocalBlock(16)
    x = torch.randn(2, 16, 5, 7)
    assert torch.equal(block(x), x)
    nn.init.ones_(block.norm.weight)
    block.eval()
    query, key, value = (layer(x).flatten(2) for layer in (block.query, block.key, block.value))
    alpha = torch.softmax(query.transpose(1, 2) @ key, dim=2)
    gathered = (value @ alpha.transpose(1, 2)).view_as(x)
    torch.testing.assert_close(block(x), x + block.norm(block.mix(gathered)), atol=1e-5, rtol=1e-4)


def test_vgg_has_the_layout_of_the_paper() -> None:
    method = _method(backbone="vgg16_gap", large_feature_map=False)
    assert list(method.blocks) == ["features/9", "features/16", "features/23", "features/29"]
    assert [block.value.in_channels for block in method.blocks.values()] == [128, 256, 512, 512]
    assert not any(isinstance(module, nn.ReLU) for module in method.backbone.modules())
    count = sum(parameter.numel() for parameter in method.blocks.parameters())
    assert count / 1e6 == pytest.approx(1.37, abs=0.01)


def test_two_classes_are_needed_to_combine() -> None:
    with pytest.raises(UsageError, match="combination=top"):
        NLCCAM().build(1, ("a",), NLCCAM.HParams.from_dict({"backbone": "resnet_tiny"}), 64)


def test_everything_learns_at_one_rate() -> None:
    method = _method()
    (group,) = method.param_groups(0.1)
    assert group["lr"] == 0.1 and len(group["params"]) == len(list(method.parameters()))
