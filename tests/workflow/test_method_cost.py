from __future__ import annotations

import pytest
import torch
from torch import nn

from wsol_bench.errors import UsageError
from wsol_bench.methods.cam import CAM
from wsol_bench.models.vit import MINI, build_vit
from wsol_bench.workflow.method_cost import method_cost

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_multiply_accumulates_are_those_of_the_layers() -> None:
    found = method_cost("cam", "critters", {}, frame=64, classes=10, batch_size=2, device=CPU)
    cam = CAM()
    cam.build(10, [str(i) for i in range(10)], CAM.HParams.from_dict({"backbone": "resnet_tiny"}), 64)
    counted: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counted.append(output.numel() * module.weight[0].numel())
        if isinstance(module, nn.Linear):
            counted.append(output.numel() * module.in_features)

    for module in cam.modules():
        module.register_forward_hook(count)
    cam.eval().localize(torch.zeros(1, 3, 64, 64))
    maps = 8 * 8 * 128  # the class map: 128 channels at 64 places
    assert found["macs_g"] * 1e9 == pytest.approx(sum(counted) + maps)
    assert found["params_m"] == pytest.approx(sum(p.numel() for p in cam.parameters()) / 1e6)
    assert found["ms_per_image"] > 0 and found["images_per_s"] > 0


def test_methods_cost_what_they_do() -> None:
    costs = {
        name: method_cost(name, "critters", {}, frame=64, batch_size=1, device=CPU) for name in ("cam", "acol", "fcam")
    }
    assert costs["cam"]["macs_g"] < costs["acol"]["macs_g"] < costs["fcam"]["macs_g"]
    assert costs["fcam"]["trainable_m"] < costs["fcam"]["params_m"], "the classifier is frozen in the last stage"
    tried = [method_cost("score_cam", "critters", {"channels": n}, frame=64, batch_size=1, device=CPU) for n in (2, 4)]
    assert tried[0]["macs_g"] < tried[1]["macs_g"]


def test_recipes_with_pretrained_weights_need_none_here() -> None:
    found = method_cost("cam", "cub", {}, frame=64, batch_size=1, device=CPU)
    assert found["backbone"] == "resnet50" and round(found["params_m"], 2) == 23.92
    assert method_cost("cam", "cub", {"backbone": "mobilenet_v2"}, frame=64, batch_size=1, device=CPU)["params_m"] < 3


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="Did you mean 'cam'"):
        method_cost("camm", "critters", {}, device=CPU)
    with pytest.raises(UsageError, match="backbone"):
        method_cost("cam", "critters", {"backbne": "resnet50"}, device=CPU)


def test_frozen_networks_count_where_prediction_needs_them() -> None:
    costs = {
        name: method_cost(name, "critters", {}, frame=64, batch_size=1, device=CPU)
        for name in ("wwbl", "ted_loc", "clip", "dips")
    }
    tower = costs["clip"]["params_m"]
    assert costs["clip"]["trainable_m"] == 0 and tower > 1
    # WWbL classifies by CLIP; TeD-Loc needs it for pseudo-labels only.
    assert costs["wwbl"]["params_m"] == pytest.approx(costs["wwbl"]["trainable_m"] + tower)
    vit = sum(p.numel() for p in build_vit(MINI, "none", 64)[0].parameters()) / 1e6
    assert costs["ted_loc"]["params_m"] == pytest.approx(costs["ted_loc"]["trainable_m"] + vit)
    assert costs["dips"]["trainable_m"] < 0.1 < vit < costs["dips"]["params_m"]


def test_weights_that_are_not_at_hand_need_not_be() -> None:
    found = method_cost("clip", "folder", {}, frame=64, batch_size=1, device=CPU)
    assert round(found["params_m"]) == 86, "ViT-B/16 without its text tower"
    assert method_cost("dips", "cub", {}, frame=64, batch_size=1, device=CPU)["backbone"].endswith(".dino")
