from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wsol_bench.methods.base import IMAGENET_MEAN_STD, Batch, Localization, Method


class Plain(Method):
    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Linear(2, num_classes)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        return Localization(images[:, 0], images[:, 0, 0])


def test_a_method_needs_no_hyper_parameters_of_its_own() -> None:
    assert Plain.HParams.from_dict({}).as_dict() == {}


def test_frozen_parameters_are_not_optimised() -> None:
    method = Plain()
    method.build(3, ("a", "b", "c"), None, 8)
    (group,) = method.param_groups(0.5)
    assert group["lr"] == 0.5
    assert [id(p) for p in group["params"]] == [id(p) for p in method.head.parameters()]


def test_labels_win_over_predictions() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    assert Plain().select_labels(logits, None).tolist() == [1, 0]
    assert Plain().select_labels(logits, torch.tensor([2, 2])).tolist() == [2, 2]


def test_inputs_are_normalised_as_for_imagenet() -> None:
    assert Plain().mean_std == IMAGENET_MEAN_STD


def test_the_three_verbs_are_obligatory() -> None:
    class Half(Method):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]
