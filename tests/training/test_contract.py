from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from wsol_bench.errors import PluginError
from wsol_bench.methods.base import Batch, Localization, Method
from wsol_bench.training.contract import checked_localization, total_loss


class Foreign(Method):
    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None: ...

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        return Localization(images, images)


WITH_GRADIENT = torch.tensor(2.0, requires_grad=True)


def test_losses_are_summed() -> None:
    total = total_loss(Foreign(), {"a": WITH_GRADIENT * 3, "b": torch.tensor(1.0, dtype=torch.float64)})
    assert total.requires_grad
    assert total.item() == 7.0


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, "a dictionary of scalar losses by name but got an empty dict"),
        (None, "a dictionary of scalar losses by name but got a NoneType"),
        (WITH_GRADIENT, r"a dictionary of scalar losses by name but got float32 of shape \[\]"),
        ({"ce": 0.5}, "a scalar tensor as the loss 'ce' but got a float"),
        ({"ce": torch.zeros(4)}, r"a scalar tensor as the loss 'ce' but got float32 of shape \[4\]"),
        ({"ce": torch.tensor(1.0)}, "depend on a trainable parameter but got ce without a gradient"),
    ],
)
def test_unusable_losses(losses: Any, message: str) -> None:
    with pytest.raises(PluginError, match=f"Expected training_step of the method Foreign to return .*{message}"):
        total_loss(Foreign(), losses)


MAPS, LOGITS = torch.zeros(4, 8, 8), torch.zeros(4, 10)


def test_a_good_localization_passes_as_it_is() -> None:
    prediction = Localization(MAPS.bfloat16(), LOGITS)
    assert checked_localization(Foreign(), prediction, 4, 10) is prediction


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        ((MAPS, LOGITS), "a Localization but got a tuple"),
        (Localization(MAPS[:, None], LOGITS), r"float maps of shape \[4, h, w\] but got float32 of shape \[4, 1, 8, 8"),
        (Localization(MAPS[:3], LOGITS), r"float maps of shape \[4, h, w\] but got float32 of shape \[3, 8, 8\]"),
        (Localization(MAPS[:, :0], LOGITS), r"but got float32 of shape \[4, 0, 8\]"),
        (Localization(MAPS.int(), LOGITS), r"but got int32 of shape \[4, 8, 8\]"),
        (Localization(MAPS.numpy(), LOGITS), "but got a ndarray"),  # type: ignore[arg-type]
        (Localization(MAPS, LOGITS[:, :9]), r"float logits of shape \[4, 10\] but got float32 of shape \[4, 9\]"),
        (Localization(MAPS, LOGITS.argmax(1)), r"but got int64 of shape \[4\]"),
        (Localization(MAPS, None), "but got a NoneType"),  # type: ignore[arg-type]
    ],
)
def test_unusable_localizations(prediction: Any, message: str) -> None:
    with pytest.raises(PluginError, match=f"Expected localize of the method Foreign to return .*{message}"):
        checked_localization(Foreign(), prediction, 4, 10)
