"""Every built-in method trains on critters and beats the centre box, the baseline that looks at no pixel.

What is compared is MaxBoxAcc on the test images at the best threshold and epoch: whether a method localizes at all, not
how well it would be selected. Post-hoc methods read the maps of the classifier that CAM trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from wsol_bench.annotations import firewall
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.judge.fixed_boxes import centre_box, fixed_box_scores
from wsol_bench.judge.scoring import RecordedRun, ScoringBoxes, score_run
from wsol_bench.methods.posthoc import PostHoc
from wsol_bench.protocol import load_protocol
from wsol_bench.registry import METHODS
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.sweep import TrialOutcome, run_sweep
from wsol_bench.workflow.workspace import Workspace

pytestmark = pytest.mark.slow

SPEC = "critters:val=40,test=150"
BUILT_IN = [name for name in METHODS if METHODS.origin(name).startswith("wsol_bench.methods.")]
CHEAPER: dict[str, dict[str, Any]] = {"is_cam": {"channels": 8, "steps": 4}, "ss_cam": {"channels": 6, "draws": 4}}
"""Hyper-parameters for a test: Score-CAM's relatives cost one pass per channel and draw."""
INVERTED = {"clip", "sclip"}
"""CLIP's own patches resemble the class name more where the object is not, as in the literature; nothing is flipped."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset() -> Any:
    return open_dataset(SPEC)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def classifier(dataset: Any, workspace: Workspace) -> Path:
    """The weights of CAM's recipe at its best validation classification."""
    return _trained(dataset, workspace, "cam", {}).folder.best_cls


def _trained(dataset: Any, workspace: Workspace, name: str, overrides: dict[str, Any]) -> TrialOutcome:
    trials = enumerate_trials(PlanRequest((name,), overrides=overrides), SPEC, dataset.version)
    (outcome,) = run_sweep(dataset, trials, workspace, device="cpu", screen=Screen(quiet=True))
    assert outcome.status == "complete"
    return outcome


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_beats_the_centre_box(dataset: Any, workspace: Workspace, classifier: Path, name: str) -> None:
    overrides = dict(CHEAPER.get(name, {}))
    if issubclass(METHODS.get(name), PostHoc):
        overrides |= {"weights": str(classifier), "train": False}
    outcome = _trained(dataset, workspace, name, overrides)
    run = RecordedRun(name, outcome.folder.path, outcome.epochs)
    with firewall.judging("a test"):
        truth = {split: dataset.ground_truth(split) for split in ("val", "test")}
        boxes = ScoringBoxes(val={"gt": truth["val"]}, keys={"gt": "gt"}, test=truth["test"])
        protocol = load_protocol("realistic")
        scores = score_run(run, boxes, protocol)
        centre, _ = fixed_box_scores(centre_box(dataset.frame), truth["test"], dataset.frame, 0.5)
        tested = list(scores.test.values())
    best = max(float(one.curves.box_acc[protocol.iou_thresholds.index(0.5)].max()) for one in tested)
    if name in INVERTED:
        assert best < centre, f"{name} is no longer inverted: {best:.1f} against {centre:.1f} of the centre box"
    else:
        assert best > centre + 2, f"{best:.1f} against {centre:.1f} of the centre box"
    print(f"{name}: {best:.1f} (centre box {centre:.1f}), top-1 {max(one.top1 for one in tested):.1f}")
