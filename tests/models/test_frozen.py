from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wsol_bench.models.frozen import Answers, FrozenFunction, FrozenNetwork, frozen_functions

IMAGES = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([2, 0, 1, 1])


class Means(FrozenFunction):
    """The channel means after a convolution, and where the largest is."""

    def __init__(self, network: nn.Module | None = None, description: str = "means@1") -> None:
        super().__init__(network or convolution(), description)
        self.calls: list[tuple[Tensor, Tensor | None, bool]] = []

    def compute(self, images: Tensor, labels: Tensor | None) -> Answers:
        self.calls.append((images, labels, torch.is_grad_enabled()))
        means = self.network(images).mean(dim=(2, 3))
        return {"means": means, "largest": means.argmax(dim=1)}


class Labelled(Means):
    by_label = True


class Method(nn.Module):
    """As methods hold frozen parts: beside what is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.plain = FrozenNetwork(convolution(), "plain")
        self.part = Means()
        self.parts = nn.ModuleList([Labelled()])


def convolution(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5))


def kept() -> Answers:
    return {"means": torch.full((4, 3), 7.0)}


def test_a_method_neither_trains_nor_saves_nor_switches_it() -> None:
    method = Method().train().requires_grad_(True)
    assert [name for name, _ in method.named_parameters()] == ["head.weight", "head.bias"]
    assert set(method.state_dict()) == {"head.weight", "head.bias"} and not list(method.buffers())
    for frozen in (method.plain, method.part):
        assert not any(one.training for one in frozen.network.modules())
        assert not any(one.requires_grad for one in frozen.network.parameters())
    method.load_state_dict(Method().state_dict())


def test_it_moves_with_the_method() -> None:
    method = Method().double()
    for frozen in (method.plain, method.part, method.parts[0]):
        floats = [one for one in frozen.network.state_dict().values() if one.is_floating_point()]
        assert len(floats) == 6 and all(one.dtype == torch.float64 for one in floats)
    assert method.part(IMAGES.double())["means"].shape == (4, 3)
    assert method.to("meta") is method
    assert all(one.device.type == "meta" for one in method.plain.network.state_dict().values())


def test_a_copy_has_a_network_of_its_own() -> None:
    method = Method()
    other = copy.deepcopy(method)
    assert other.part.network is not method.part.network and other.part.identity == method.part.identity
    other.double()
    assert next(method.part.network.parameters()).dtype == torch.float32


def test_the_identity_is_that_of_the_weights() -> None:
    assert FrozenNetwork(convolution(), "it").identity == FrozenNetwork(convolution(), "it").identity
    assert FrozenNetwork(convolution(), "it").identity.startswith("it sha256:")


@pytest.mark.parametrize(
    "change",
    [
        lambda network: network[0].weight[2, 1, 0, 0].add_(1e-6),
        lambda network: network[1].running_mean[1].add_(1.0),
        lambda network: network[1].num_batches_tracked.add_(1),
    ],
    ids=["weight", "statistic", "integer"],
)
def test_the_identity_changes_with_any_number(change: Callable[[nn.Module], Tensor]) -> None:
    network = convolution()
    with torch.no_grad():
        change(network)
    assert FrozenNetwork(network, "it").identity != FrozenNetwork(convolution(), "it").identity


def test_the_identity_changes_with_description_and_names() -> None:
    identities = {
        FrozenNetwork(convolution(), "it").identity,
        FrozenNetwork(convolution(), "it at 64").identity,
        FrozenNetwork(nn.Sequential(convolution()), "it").identity,
        FrozenNetwork(convolution(1), "it").identity,
    }
    assert len(identities) == 4


def test_answers_come_without_gradients_and_in_half_precision() -> None:
    part = Means()
    pixels = IMAGES.clone().requires_grad_()
    answers = part(pixels)
    assert part.calls[0][0] is pixels and part.calls[0][1:] == (None, False)
    with torch.no_grad():
        exact = part.network(IMAGES).mean(dim=(2, 3))
    assert answers["means"].dtype == torch.float32 and not answers["means"].requires_grad
    assert torch.equal(answers["means"], exact.half().float()) and not torch.equal(answers["means"], exact)
    assert answers["largest"].dtype == torch.int64 and torch.equal(answers["largest"], exact.argmax(dim=1))
    assert part.compute(pixels, None)["means"].requires_grad, "who needs a graph asks for it"


def test_kept_answers_are_for_the_very_batch() -> None:
    part, batch = Means(), IMAGES.clone()
    with part.serving(batch, LABELS, kept):
        assert torch.equal(part(batch)["means"], kept()["means"])
        assert torch.equal(part(batch, LABELS.clone())["means"], kept()["means"]), "labels do not matter to it"
        assert not part.calls
        for other in (batch.clone(), batch[:], batch.flip(3)):
            assert not torch.equal(part(other)["means"], kept()["means"])
        assert len(part.calls) == 3
    assert "largest" in part(batch) and len(part.calls) == 4


def test_kept_answers_by_label_are_for_the_very_labels() -> None:
    part, batch = Labelled(), IMAGES.clone()
    with part.serving(batch, LABELS, kept):
        assert torch.equal(part(batch, LABELS)["means"], kept()["means"]) and not part.calls
        other = LABELS.clone()
        assert "largest" in part(batch, other) and part.calls[0][1] is other
        assert "largest" in part(batch)


def test_nothing_is_looked_up_before_it_is_asked_for() -> None:
    part, asked = Means(), []

    def look_up() -> Answers:
        asked.append(1)
        return kept()

    with part.serving(IMAGES, None, look_up):
        assert not asked
        part(IMAGES)
        part(IMAGES)
    assert len(asked) == 2


def test_serving_ends_after_an_exception() -> None:
    part = Means()
    with pytest.raises(RuntimeError, match="out of memory"), part.serving(IMAGES, None, kept):
        raise RuntimeError("out of memory")
    assert "largest" in part(IMAGES)


def test_what_is_kept_may_fail() -> None:
    part = Means()

    def look_up() -> Answers:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), part.serving(IMAGES, None, look_up):
        part(IMAGES)
    assert "largest" in part(IMAGES)


def test_frozen_functions_are_found_once_and_in_order() -> None:
    method = Method()
    method.again = method.part
    assert frozen_functions(method) == [method.part, method.parts[0]]
    assert frozen_functions(nn.Linear(1, 1)) == []


def test_a_function_has_to_say_what_it_computes() -> None:
    with pytest.raises(TypeError, match="abstract"):
        FrozenFunction(convolution(), "nothing")  # type: ignore[abstract]
