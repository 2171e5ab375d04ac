"""The suite itself: a sound method passes, and every kind of fault is found by the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsol_bench.datasets.critters import Critters
from wsol_bench.methods.base import Batch, Localization, Method, Stage
from wsol_bench.methods.hparams import HyperParams, Uniform, hp
from wsol_bench.models.heads import LinearHead
from wsol_bench.testing import METHOD_CHECKS, ConformanceError, check_method, run_checks

SHARED: list[Tensor] = []


class Sound(Method):
    """A convolution and CAM."""

    title = "Sound"
    citation = "nobody, nowhere"

    class HParams(HyperParams):
        dropout: float = hp(0.2, Uniform(0.0, 0.9), "share of features dropped")

    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        self.features = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.BatchNorm2d(8), nn.ReLU())
        self.dropout = nn.Dropout(hparams.dropout)
        self.head = LinearHead(8, num_classes)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.head(self.dropout(self.features(batch.images)))
        return {"cross_entropy": F.cross_entropy(logits, batch.labels)}

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        features = self.features(images)
        logits = self.head(features)
        return Localization(self.head.class_maps(features, self.select_labels(logits, labels)), logits)


def _failing(method_class: type[Method]) -> dict[str, str]:
    return {one.name: one.reason for one in run_checks(method_class, {}) if not one.fine}


def test_a_sound_method_passes_everything() -> None:
    assert _failing(Sound) == {}
    check_method(Sound, {"dropout": 0.5})
    assert len(METHOD_CHECKS) >= 20
    assert all(one.expectation.endswith(".") for one in run_checks(Sound, {}))


class Bare(Sound):
    title = ""


class Undocumented(Sound):
    class HParams(Sound.HParams):
        extra: float = hp(0.5, Uniform(0.0, 1.0), " ")


class NumpySeeded(Sound):
    def build(self, *arguments: Any) -> None:
        super().build(*arguments)
        drawn = int(np.random.default_rng().integers(2**31))
        nn.init.normal_(self.head.linear.weight, generator=torch.Generator().manual_seed(drawn))


class WrongStages(Sound):
    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return (Stage("a", epochs), Stage("b", 1))


class NaNLoss(Sound):
    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": super().training_step(batch)["cross_entropy"] * torch.nan}


class Ascending(Sound):
    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        loss = super().training_step(batch)["cross_entropy"]
        # Its value is the loss, its gradient the opposite.
        return {"loss": 2 * loss.detach() - loss}


class Forgetful(Sound):
    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": list(self.features.parameters()), "lr": lr}]


class Doubled(Sound):
    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        return [*super().param_groups(lr), {"params": list(self.head.parameters()), "lr": 2 * lr}]


class Unseeded(Sound):
    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        SHARED.append(batch.labels[:0])
        loss = super().training_step(batch)["cross_entropy"]
        return {"loss": loss, "whim": loss * 1e-3 * len(SHARED)}


class InPlaceTraining(Sound):
    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        batch.images[:, :, :4] = 0
        return super().training_step(batch)


class InPlacePrediction(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        images[:, :, :4] = 0
        return super().localize(images, labels)


class WrongShape(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        found = super().localize(images, labels)
        return Localization(found.maps[:, None], found.logits)


class WithGraph(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        with torch.enable_grad():
            return super().localize(images, labels)


class IgnoresPrediction(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        first = torch.zeros(len(images), dtype=torch.long, device=images.device)
        return super().localize(images, first if labels is None else labels)


class Whimsical(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        found = super().localize(images, labels)
        return Localization(found.maps + torch.rand_like(found.maps), found.logits)


class LooksAtNeighbours(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        found = super().localize(images, labels)
        return Localization(found.maps - found.maps.mean(), found.logits)


class LearnsWhilePredicting(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        self.features.train()
        found = super().localize(images, labels)
        self.features.eval()
        return found


class LeavesGradients(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        with torch.enable_grad():
            super().localize(images, labels).logits.sum().backward()
        return super().localize(images, labels)


class StaysInTraining(Sound):
    def eval(self) -> StaysInTraining:
        super().eval()
        self.dropout.p += 0.1
        self.features[1].eps += 0.05
        return self


class Hoarding(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        found = super().localize(images, labels)
        self.__dict__.setdefault("hoard", []).append(found.maps.clone())
        return found


class LeavesHooks(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        handle = self.head.register_forward_hook(lambda *_: None)
        found = super().localize(images, labels)
        handle.remove()
        return found


class SecretState(Sound):
    def build(self, *arguments: Any) -> None:
        super().build(*arguments)
        self.secret = [torch.rand(1).item()]

    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        found = super().localize(images, labels)
        return Localization(found.maps * self.secret[0], found.logits)


class LeftBehind(Sound):
    def build(self, *arguments: Any) -> None:
        super().build(*arguments)
        self.scale = torch.ones(1)


class Cheating(Sound):
    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        Critters(train=1).ground_truth("train")
        return super().training_step(batch)


class DividesByRange(Sound):
    def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        found = super().localize(images, labels)
        low, high = found.maps.amin(dim=(1, 2), keepdim=True), found.maps.amax(dim=(1, 2), keepdim=True)
        return Localization((found.maps - low) / (high - low), found.logits)


class NeedsTwoClasses(Sound):
    def build(self, num_classes: int, class_names: Sequence[str], hparams: Any, frame: int) -> None:
        super().build(num_classes, class_names, hparams, frame)
        self.second = class_names[1]


class NeedsTwoImages(Sound):
    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().training_step(batch)
        return losses | {"spread": losses["cross_entropy"] * batch.images.flatten(1).mean(dim=1).std()}


@pytest.mark.parametrize(
    ("broken", "check", "says"),
    [
        (Bare, "description", "'title' is empty"),
        (Undocumented, "hyper_parameters", "'extra' has no description"),
        (NumpySeeded, "same_seed_same_weights", "draw from torch only"),
        (WrongStages, "stages", "stages(4) gives"),
        (NaNLoss, "losses_are_finite", "the loss is nan"),
        (Ascending, "losses_decrease", "the loss goes from"),
        (Forgetful, "everything_trainable_is_optimised_once", "in no group"),
        (Doubled, "everything_trainable_is_optimised_once", "in two groups"),
        (Unseeded, "training_is_repeatable", "draw from torch only"),
        (InPlaceTraining, "inputs_are_left_alone", "training_step changes its batch"),
        (InPlacePrediction, "inputs_are_left_alone", "localize changes the images"),
        (WrongShape, "maps_and_logits", "Expected localize"),
        (WithGraph, "maps_and_logits", "carry a graph"),
        (IgnoresPrediction, "without_labels_the_prediction_is_shown", "without labels"),
        (Whimsical, "prediction_is_repeatable", "at the second call"),
        (LooksAtNeighbours, "an_image_does_not_depend_on_its_batch", "from those of a batch"),
        (LearnsWhilePredicting, "prediction_changes_nothing", "localize changes 'features.1"),
        (LeavesGradients, "prediction_changes_nothing", "use torch.autograd.grad"),
        (StaysInTraining, "training_mode_comes_back", "after train() and eval()"),
        (Hoarding, "nothing_leaks", "tensors more are alive"),
        (LeavesHooks, "nothing_leaks", "hooks stay"),
        (SecretState, "weights_carry_everything", "after loading the state dict"),
        (LeftBehind, "everything_moves_to_a_device", "scale' stays behind"),
        (Cheating, "no_box_is_read", "FirewallError"),
        (DividesByRange, "constant_images", "must not be divided by its range"),
        (NeedsTwoClasses, "one_class", "IndexError"),
        (NeedsTwoImages, "one_image", "the loss is nan"),
    ],
)
def test_every_fault_is_found_by_its_check(broken: type[Method], check: str, says: str) -> None:
    SHARED.clear()
    found = _failing(broken)
    assert check in found, found
    assert says in found[check]


def test_the_error_lists_every_failed_check() -> None:
    with pytest.raises(ConformanceError, match=r"(?s)1 of \d+ checks do not pass:.*description \(The class says what"):
        check_method(Bare, {})


BY_CHANCE = (
    "prediction_is_repeatable",
    "without_labels_the_prediction_is_shown",
    "an_image_does_not_depend_on_its_batch",
    "training_mode_comes_back",
    "weights_carry_everything",
)


def test_declared_failures_need_a_reason_and_must_fail() -> None:
    class Honest(Whimsical):
        expected_failures = dict.fromkeys(BY_CHANCE, "draws maps by chance")

    check_method(Honest, {})
    status = {one.name: (one.status, one.reason) for one in run_checks(Honest, {})}
    assert status["prediction_is_repeatable"] == ("expected", "draws maps by chance")

    class Pessimist(Sound):
        expected_failures: ClassVar[dict[str, str]] = {"one_class": "cannot"}

    assert "passes" in _failing(Pessimist)["one_class"]


def test_methods_with_nothing_to_train_skip_what_is_about_training() -> None:
    class Frozen(Sound):
        def build(self, *arguments: Any) -> None:
            super().build(*arguments)
            self.requires_grad_(False)

    check_method(Frozen, {})


def test_the_suite_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run_checks(Sound, {})
    assert torch.equal(torch.rand(1), expected)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_registered_method_takes_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Callable[..., Any]] = []
    monkeypatch.setattr("wsol_bench.testing.conformance.MethodCase", lambda *given: seen.append(given) or given)
    monkeypatch.setattr("wsol_bench.testing.conformance.METHOD_CHECKS", {})
    check_method("cam")
    assert seen[0][1]["backbone"] == "resnet_tiny"  # type: ignore[index]
