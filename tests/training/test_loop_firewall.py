"""Methods that ask for ground truth while they train, in every way that honest code might."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_trial import Quick, make_config
from torch import Tensor

from wsol_bench.annotations import firewall
from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.datasets.tiny_imagenet import TinyImageNet
from wsol_bench.errors import FirewallError
from wsol_bench.methods.base import Batch, Localization
from wsol_bench.registry import Registry
from wsol_bench.training.loop import TrialData, run_trial
from wsol_bench.training.trial_folder import TrialFolder

CPU = torch.device("cpu")
Look = Callable[[], Any]


def _register(methods: Registry[Any], verb: str, look: Look) -> None:
    @methods.register("peeking")
    class Peeking(Quick):
        def build(self, *args: Any) -> None:
            super().build(*args)
            if verb == "build":
                look()

        def training_step(self, batch: Batch) -> dict[str, Tensor]:
            if verb == "training_step":
                look()
            return super().training_step(batch)

        def localize(self, images: Tensor, labels: Tensor | None = None) -> Localization:
            if verb == "localize":
                look()
            return super().localize(images, labels)


def _run(data: TrialData, workspace: Path) -> TrialFolder:
    config = make_config("peeking", epochs=1)
    run_trial(config, data, workspace, device=CPU)
    return TrialFolder.of(workspace, config)


@pytest.mark.parametrize("verb", ["build", "training_step", "localize"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_asking_the_dataset(
    tmp_path: Path, data: TrialData, methods: Registry[Any], critters: Critters, verb: str, split: str
) -> None:
    _register(methods, verb, lambda: critters.ground_truth(split))
    with pytest.raises(FirewallError, match=rf"the method 'peeking' tried to read the ground-truth .* of '{split}'"):
        _run(data, tmp_path)
    with firewall.judging("the judge, afterwards"):
        assert len(critters.ground_truth(split)) == 16


def test_posing_as_the_judge(tmp_path: Path, data: TrialData, methods: Registry[Any], critters: Critters) -> None:
    def look() -> None:
        with firewall.judging("the method itself"):
            critters.ground_truth("val")

    _register(methods, "training_step", look)
    with pytest.raises(FirewallError, match="tried to open ground truth"):
        _run(data, tmp_path)


def test_asking_from_another_thread(
    tmp_path: Path, data: TrialData, methods: Registry[Any], critters: Critters
) -> None:
    caught: list[FirewallError] = []

    def ask() -> None:
        try:
            with firewall.judging("a thread"):
                critters.ground_truth_masks("val")
        except FirewallError as error:
            caught.append(error)

    def look() -> None:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    _register(methods, "training_step", look)
    _run(data, tmp_path)
    assert caught


def _miniature(root: Path) -> TinyImageNet:
    """Tiny-ImageNet in its official layout: two classes, two training and one official validation image each."""
    wnids = ("n01", "n02")
    (root / "val" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(wnids))
    image = np.zeros((64, 64, 3), np.uint8)
    lines = []
    for wnid in wnids:
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        for i in range(2):
            cv2.imwrite(str(folder / f"{wnid}_{i}.JPEG"), image)
        boxes = "".join(f"{wnid}_{i}.JPEG\t1\t2\t30\t40\n" for i in range(2))
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(boxes)
        cv2.imwrite(str(root / "val" / "images" / f"val_{wnid}.JPEG"), image)
        lines.append(f"val_{wnid}.JPEG\t{wnid}\t1\t2\t30\t40\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return TinyImageNet(root)


@pytest.mark.parametrize("file", ["val/val_annotations.txt", "train/n01/n01_boxes.txt"])
def test_opening_the_file_with_the_boxes(tmp_path: Path, data: TrialData, methods: Registry[Any], file: str) -> None:
    root = tmp_path / "tiny-imagenet"
    _miniature(root)
    assert (root / file).read_text(), "outside of training it is a file like any other"
    _register(methods, "training_step", (root / file).read_text)
    with pytest.raises(FirewallError, match=f"open the ground-truth file .*{file}"):
        _run(data, tmp_path / "workspace")
    assert (root / file).read_text()


def test_pseudo_boxes_are_allowed_and_written_down(tmp_path: Path, data: TrialData, methods: Registry[Any]) -> None:
    _register(methods, "build", lambda: firewall.read("pseudo:ss", "train"))
    provenance = json.loads(_run(data, tmp_path).provenance.read_text())
    assert provenance["supervision"] == "pseudo:ss"
    (access,) = provenance["annotations_read"]
    assert (access["source"], access["split"]) == ("pseudo:ss", "train")
    assert "peeking" in access["reader"]


def test_an_interruption_does_not_wash_the_provenance(tmp_path: Path, data: TrialData, methods: Registry[Any]) -> None:
    """The first process reads pseudo-boxes and is stopped; the second one reads none."""
    todo = [lambda: firewall.read("pseudo:ss", "train")]
    _register(methods, "build", lambda: todo.pop()() if todo else None)

    class Stop:
        def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None: ...

        def on_epoch(self, summary: dict[str, Any]) -> None:
            raise KeyboardInterrupt

    config = make_config("peeking", epochs=1)
    with pytest.raises(KeyboardInterrupt):
        run_trial(config, data, tmp_path, device=CPU, observer=Stop())
    assert json.loads(_run(data, tmp_path).provenance.read_text())["supervision"] == "pseudo:ss"
