"""Making pseudo-boxes with the three annotators, on a handful of critters and the embedded models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wsol_bench.annotations import firewall
from wsol_bench.annotations.four_file import read_four_file
from wsol_bench.annotators.card import CARD, read_card
from wsol_bench.annotators.clip import ClipBoxes
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import UsageError
from wsol_bench.workflow.annotate import AnnotationRequest, ClassifierRequest, annotate, pseudo_boxes_ready
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.workspace import Workspace

SPEC = "critters:size=64,train=40,val=40,test=10"
SCREEN = Screen(quiet=True)


@pytest.fixture(scope="module")
def dataset() -> Any:
    torch.set_num_threads(1)
    return open_dataset(SPEC)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


def _request(name: str, **options: Any) -> AnnotationRequest:
    return AnnotationRequest(SPEC, name, options=options, classifier=ClassifierRequest(epochs=1))


@pytest.mark.parametrize(
    ("name", "supervision", "weights"),
    [
        ("ss", "none", []),
        ("rpn", "class-agnostic boxes of other pictures of critters", ["detector"]),
        ("clip", "image-text pairs of other pictures of critters", ["clip"]),
    ],
)
def test_every_annotator_makes_boxes_and_reads_none(
    dataset: Any, workspace: Workspace, name: str, supervision: str, weights: list[str]
) -> None:
    request = _request(name)
    assert not pseudo_boxes_ready(dataset, request, workspace)
    with firewall.ledger() as book:
        card = annotate(dataset, request, workspace, device="cpu", screen=SCREEN)
    assert book.supervision() == "none"
    folder = request.folder(workspace, dataset)
    assert read_card(folder) == card and pseudo_boxes_ready(dataset, request, workspace)
    assert (card.recipe.supervision, list(card.recipe.weights)) == (supervision, weights)
    assert (card.recipe.classifier is None) == (name == "clip")
    read = read_four_file(folder)
    assert len(read) == 40 and read.boxes is not None and (np.diff(read.boxes.offsets) == 1).all()


def test_only_annotators_that_need_a_classifier_train_one(dataset: Any, tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    annotate(dataset, _request("clip"), place, device="cpu", screen=SCREEN)
    assert not (tmp_path / "trials").exists()


def test_a_stopped_run_goes_on(dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Workspace(tmp_path / "stopped")
    calls: list[int] = []
    inner = ClipBoxes.annotate

    def dying(self: ClipBoxes, images: Any, *rest: Any) -> Any:
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return inner(self, images, *rest)

    monkeypatch.setattr(ClipBoxes, "annotate", dying)
    with pytest.raises(KeyboardInterrupt):
        annotate(dataset, _request("clip"), place, device="cpu", screen=SCREEN)
    assert not pseudo_boxes_ready(dataset, _request("clip"), place)
    annotate(dataset, _request("clip"), place, device="cpu", screen=SCREEN)
    assert calls == [32, 8, 8], "the first chunk of 32 is not made again"
    monkeypatch.undo()
    whole = Workspace(tmp_path / "whole")
    annotate(dataset, _request("clip"), whole, device="cpu", screen=SCREEN)
    folders = [_request("clip").folder(one, dataset) for one in (place, whole)]
    assert all(
        (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in ("localization.txt", CARD)
    )


def test_other_options_make_other_boxes(dataset: Any, tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    plain = annotate(dataset, _request("clip"), place, device="cpu", screen=SCREEN)
    assert not pseudo_boxes_ready(dataset, _request("clip", affinity=False), place)
    raw = annotate(dataset, _request("clip", affinity=False), place, device="cpu", screen=SCREEN)
    assert raw.recipe.options["affinity"] is False and raw.recipe.options["weights"] == "embedded"
    assert raw.localization_sha256 != plain.localization_sha256
    assert pseudo_boxes_ready(dataset, _request("clip"), place), "without options, any boxes of this annotator will do"


def test_other_splits(dataset: Any, workspace: Workspace) -> None:
    request = AnnotationRequest(SPEC, "clip", split="test")
    assert annotate(dataset, request, workspace, device="cpu", screen=SCREEN).recipe.images == 10
    assert request.folder(workspace, dataset).name == "test"


def test_unknown_names(dataset: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'clip'"):
        annotate(dataset, _request("clipp"), Workspace(tmp_path), screen=SCREEN)
    with pytest.raises(UsageError, match="Did you mean 'affinity'"):
        annotate(dataset, _request("clip", afinity=True), Workspace(tmp_path), device="cpu", screen=SCREEN)
