"""CLIP-ES, and CLIP, SCLIP and NACLIP as methods, on the embedded CLIP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wsol_bench.annotations import firewall
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import PluginError, UsageError
from wsol_bench.methods.base import Batch, Method
from wsol_bench.methods.clip_es import ClipES
from wsol_bench.methods.clip_patch_text import NACLIP, SCLIP, ClipSimilarity

KINDS = (ClipES, ClipSimilarity, SCLIP, NACLIP)


@pytest.fixture(scope="module")
def pictures() -> Any:
    return open_dataset("critters:val=30,test=1")


@pytest.fixture(scope="module")
def images(pictures: Any) -> torch.Tensor:
    stacked = np.stack([pictures.load_image("val", index) for index in range(30)])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float()


def _built(kind: type[Method], names: tuple[str, ...], **values: object) -> Any:
    method = kind()
    method.build(len(names), names, kind.HParams.from_dict(values), 64)
    return method.eval()


def _normalised(method: Any, images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in method.mean_std)
    return (images / 255 - mean) / std


@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_clips_own(pictures: Any, images: torch.Tensor, kind: type[Method]) -> None:
    method = _built(kind, pictures.class_names)
    labels = torch.from_numpy(pictures.split("val").labels[:30])
    found = method.localize(_normalised(method, images), labels)
    assert found.maps.shape == (30, method.clip.tower.grid, method.clip.tower.grid)
    assert float((found.logits.argmax(dim=1) == labels).float().mean()) > 0.5
    torch.testing.assert_close(
        found.logits, method.clip.logits(method.clip.tower.prepare(images)), rtol=1e-3, atol=1e-2
    )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_trained(kind: type[Method]) -> None:
    method = _built(kind, ("fox", "owl"))
    assert not method.needs_training and method.state_dict() == {}
    with pytest.raises(PluginError, match="nothing to train"):
        method.training_step(Batch(torch.zeros(1, 3, 64, 64), torch.zeros(1, dtype=torch.long), 1))


def test_similarity_is_the_cosine_with_the_text(images: torch.Tensor) -> None:
    method = _built(ClipSimilarity, ("fox", "owl"))
    labels = torch.tensor([0, 1])
    found = method.localize(_normalised(method, images[:2]), labels)
    tokens = method.clip.tower.embed(method.clip.tower.prepare(images[:2]))
    for index in range(len(method.clip.tower.blocks)):
        tokens, _ = method.clip.tower.block(index, tokens)
    patches = F.normalize(method.clip.tower.project(tokens[:, 1:]), dim=-1)
    expected = torch.einsum("bpd,bd->bp", patches, method.clip.classes[labels])
    torch.testing.assert_close(found.maps.flatten(1), expected, rtol=1e-3, atol=1e-4)


def test_the_variants_differ_in_maps_and_on_request_in_classes(images: torch.Tensor) -> None:
    names, labels = ("fox", "owl"), torch.zeros(4, dtype=torch.long)
    found = []
    for kind in KINDS[1:]:
        own, changed = _built(kind, names), _built(kind, names, classified_by="changed")
        batch = _normalised(own, images[:4])
        found.append(own.localize(batch, labels).maps)
        logits = [one.localize(batch, labels).logits for one in (own, changed)]
        # The embedded CLIP pools patches: the changed block changes its image feature too.
        same = torch.allclose(*logits, rtol=1e-3, atol=1e-2)
        assert same == (kind is ClipSimilarity)
    assert not torch.allclose(found[0], found[1], atol=1e-3) and not torch.allclose(found[1], found[2], atol=1e-3)


@pytest.mark.parametrize(("kind", "sign"), [(ClipES, 1), (NACLIP, 1), (ClipSimilarity, -1), (SCLIP, -1)])
def test_vanilla_maps_are_inverted_and_stay_so(
    pictures: Any, images: torch.Tensor, kind: type[Method], sign: int
) -> None:
    method = _built(kind, pictures.class_names)
    labels = torch.from_numpy(pictures.split("val").labels[:30])
    maps = method.localize(_normalised(method, images), labels).maps.detach()
    with firewall.judging("a test"):
        truth = pictures.ground_truth("val")
    large = F.interpolate(maps[:, None], (64, 64), mode="bilinear")[:, 0]
    inside = torch.zeros(30, 64, 64, dtype=torch.bool)
    for row in range(30):
        for x0, y0, x1, y1 in truth.of(row):
            inside[row, y0:y1, x0:x1] = True
    gaps = [float(one[mask].mean() - one[~mask].mean()) for one, mask in zip(large, inside, strict=True)]
    assert sum(gap * sign > 0 for gap in gaps) >= 24


def test_the_window_narrows_naclip(images: torch.Tensor) -> None:
    narrow, wide = (_built(NACLIP, ("fox", "owl"), sigma=sigma) for sigma in (0.5, 50.0))
    batch, labels = _normalised(narrow, images[:4]), torch.zeros(4, dtype=torch.long)
    assert not torch.equal(narrow.localize(batch, labels).maps, wide.localize(batch, labels).maps)


def test_clip_es_of_the_true_or_the_predicted_class(pictures: Any, images: torch.Tensor) -> None:
    true, predicted = (_built(ClipES, pictures.class_names, label=label) for label in ("true", "predicted"))
    batch = _normalised(true, images[:8])
    unaided = true.localize(batch)
    wrong = (unaided.logits.argmax(dim=1) + 1) % len(pictures.class_names)
    torch.testing.assert_close(predicted.localize(batch, wrong).maps, unaided.maps)
    assert (true.localize(batch, wrong).maps - unaided.maps).abs().amax(dim=(1, 2)).min() > 1e-3


def test_clip_es_does_not_mind_the_order_of_background_words(images: torch.Tensor) -> None:
    names, labels = ("fox", "owl"), torch.tensor([0, 1])
    first, second = (_built(ClipES, names, background=words) for words in ("sky,grass,sea", "sea, sky ,grass"))
    batch = _normalised(first, images[:2])
    torch.testing.assert_close(*(one.localize(batch, labels).maps for one in (first, second)), rtol=1e-3, atol=1e-3)
    assert len(_built(ClipES, names, background="none").background) == 0


def test_prompts_hold_the_class() -> None:
    with pytest.raises(UsageError, match=r"hold \{\} for the class but got 'a photo'"):
        _built(ClipES, ("fox", "owl"), prompt="a photo")
