from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wsol_bench.methods import cutmix
from wsol_bench.methods.base import Batch
from wsol_bench.methods.cutmix import CutMix, rectangle


def _method(**values: object) -> CutMix:
    torch.manual_seed(0)
    method = CutMix()
    method.build(4, tuple("abcd"), CutMix.HParams.from_dict({"backbone": "resnet_tiny", **values}), 64)
    return method.eval()


BATCH = Batch(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3]), 1)


def test_the_rectangle_stays_inside_and_is_clipped_not_moved() -> None:
    torch.manual_seed(0)
    shares = torch.rand(20000).tolist()
    visible = []
    for share in shares:
        rows, columns = rectangle(224, 224, share)
        assert 0 <= rows.start <= rows.stop <= 224 and 0 <= columns.start <= columns.stop <= 224
        visible.append(1 - (rows.stop - rows.start) * (columns.stop - columns.start) / 224**2)
    # Clipping moves the visible share up, from the 0.5 that was drawn.
    assert np.mean(visible) == pytest.approx(0.682, abs=0.01)
    assert rectangle(10, 10, 1.0) in [(slice(i, i), slice(j, j)) for i in range(10) for j in range(10)]


def test_labels_are_mixed_by_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _method()
    monkeypatch.setattr(cutmix, "rectangle", lambda *_: (slice(0, 16), slice(8, 40)))
    torch.manual_seed(3)
    loss = method.training_step(BATCH)["cross_entropy"]
    torch.manual_seed(3)
    torch.rand(())
    torch.distributions.Beta(1.0, 1.0).sample()
    partner = torch.randperm(4)
    mixed = BATCH.images.clone()
    mixed[:, :, 0:16, 8:40] = BATCH.images[partner][:, :, 0:16, 8:40]
    visible = 1 - 16 * 32 / 64**2
    logits = method.head(method.backbone(mixed))
    expected = visible * F.cross_entropy(logits, BATCH.labels)
    expected = expected + (1 - visible) * F.cross_entropy(logits, BATCH.labels[partner])
    torch.testing.assert_close(loss, expected)


def test_unmixed_steps_are_those_of_cam() -> None:
    method = _method(mix_prob=0.0)
    plain = F.cross_entropy(method.head(method.backbone(BATCH.images)), BATCH.labels)
    torch.testing.assert_close(method.training_step(BATCH)["cross_entropy"], plain)


def test_mixing_with_oneself_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _method()
    monkeypatch.setattr(torch, "randperm", torch.arange)
    plain = F.cross_entropy(method.head(method.backbone(BATCH.images)), BATCH.labels)
    torch.testing.assert_close(method.training_step(BATCH)["cross_entropy"], plain)


def test_the_share_of_mixed_batches_is_the_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _method(mix_prob=0.3)
    calls = []
    monkeypatch.setattr(cutmix, "rectangle", lambda *_: calls.append(1) or (slice(0, 1), slice(0, 1)))
    monkeypatch.setattr(method, "features", lambda images: images[:, :1].expand(-1, 128, -1, -1)[:, :, :2, :2])
    torch.manual_seed(0)
    for _ in range(1000):
        method.training_step(BATCH)
    assert len(calls) == pytest.approx(300, abs=45)
