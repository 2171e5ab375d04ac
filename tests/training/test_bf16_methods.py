"""Every built-in method in bfloat16: it trains, and predicts what it predicts in float32, but for rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch

from wsol_bench.methods.base import Localization, Method
from wsol_bench.methods.hparams import Value
from wsol_bench.registry import METHODS
from wsol_bench.search.plan import MethodOnDataset
from wsol_bench.testing.method_case import EPOCHS, MethodCase, labels, localized, loss_of, seeded
from wsol_bench.training.precision import autocast

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
STEPS, RATE = 30, 1e-3
BUILT_IN = [name for name in METHODS if METHODS.origin(name).startswith("wsol_bench.methods.")]
CHEAPER: dict[str, Mapping[str, Value]] = {
    "is_cam": {"backbone": "resnet_tiny", "channels": 4, "steps": 2},
    "score_cam": {"backbone": "resnet_tiny", "channels": 4},
    "ss_cam": {"backbone": "resnet_tiny", "channels": 4, "draws": 2},
}
"""Methods whose recipe would take minutes."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=BUILT_IN)
def case(request: pytest.FixtureRequest) -> MethodCase:
    method_class = METHODS.get(request.param)
    declared = method_class.HParams.declarations()
    recipe = {one.name: one.value for one in MethodOnDataset.of(request.param, "critters").parameters}
    hparams = CHEAPER.get(request.param, {name: value for name, value in recipe.items() if name in declared})
    return MethodCase(method_class, hparams)


def _trained(case: MethodCase) -> Iterator[tuple[Method, list[float]]]:
    """Trains every stage for some steps in bfloat16, on one batch; yields the method and its losses."""
    method = case.build()
    for stage in method.stages(EPOCHS):
        method.enter_stage(stage.name)
        if not method.needs_training:
            continue
        method.train()
        optimizer = torch.optim.Adam(method.param_groups(RATE), RATE)
        losses = []
        with autocast("bf16", CPU):
            batch = case.batch(method)
        with seeded():
            for _ in range(STEPS):
                with autocast("bf16", CPU):
                    loss = loss_of(method, batch)
                assert loss.dtype == torch.float32
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
        yield method, losses


def test_losses_are_finite_and_decrease(case: MethodCase) -> None:
    for method, losses in _trained(case):
        assert all(torch.isfinite(torch.tensor(losses))), losses
        assert sum(losses[-5:]) < sum(losses[:5]), losses
        assert all(parameter.dtype == torch.float32 for parameter in method.parameters())


def test_predictions_are_those_of_float32(case: MethodCase) -> None:
    method = case.finished()
    for method, _ in _trained(case):  # noqa: B007 - the last one is trained in all stages
        pass
    images = case.images(method.eval())
    full = localized(method, images, labels(len(images)), case.num_classes)
    with autocast("bf16", CPU):
        half = localized(method, images, labels(len(images)), case.num_classes)
    assert half.maps.dtype == half.logits.dtype == torch.float32
    closeness = _correlations(full, half)
    gap = float((full.logits - half.logits).abs().max() / full.logits.abs().max().clamp(min=1e-6))
    print(f"correlation of maps at least {float(closeness.min()):.4f}, logits differ by {gap:.4f} of the largest")
    assert 0 < gap < 0.05, "either nothing is computed in bfloat16, or too much"
    # Where a map is chosen among candidates, two of them may be as good.
    assert int((closeness < 0.99).sum()) <= 1, closeness


def _correlations(one: Localization, other: Localization) -> torch.Tensor:
    """Returns the correlation of the two maps of every image; constant maps are equal."""
    flat = [maps.maps.flatten(1).double() for maps in (one, other)]
    centred = [maps - maps.mean(dim=1, keepdim=True) for maps in flat]
    product = (centred[0] * centred[1]).sum(dim=1)
    norms = centred[0].norm(dim=1) * centred[1].norm(dim=1)
    return torch.where(norms > 1e-12, product / norms.clamp(min=1e-12), 1.0)
