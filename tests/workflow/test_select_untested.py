"""From a folder of photographs without any box to choices, agreement and boxes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import read_four_file, write_four_file
from wsol_bench.cli.app import app
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, UsageError
from wsol_bench.judge.rows import write_csv
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.workflow.annotate import ClassifierRequest
from wsol_bench.workflow.annotate_report import report
from wsol_bench.workflow.leaderboard_check import check_file, export_study
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.select import SelectionRequest, select
from wsol_bench.workflow.workspace import Workspace

SPEC = "folder-of-classes:name=mine,frame=64,val=0.2,test=0.2"
SMALL = {"backbone": "resnet_tiny", "weights": "none"}
SCREEN = Screen(quiet=True)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two classes of critters as plain files, 30 each."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("photographs")
    critters = open_dataset("critters:size=64,train=300,val=2,test=2")
    split = critters.split("train")
    for label in (0, 1):
        folder = root / critters.class_names[label]
        folder.mkdir()
        for index in [i for i, one in enumerate(split.labels) if one == label][:30]:
            Image.fromarray(critters.load_image("train", index)).save(folder / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def frames(photographs, tmp_path_factory) -> Path:
    """Somebody's boxes: the whole image, always."""
    folder = tmp_path_factory.mktemp("boxes") / "frames"
    dataset = open_dataset(SPEC, root=photographs)
    split = dataset.split("val")
    boxes = BoxSet.from_mapping({i: [(0, 0, 63, 63)] for i in split.ids}, dict.fromkeys(split.ids, (64, 64)))
    write_four_file(folder / "val", ids=split.ids, labels=split.labels, boxes=boxes)
    return folder


def _request(dataset, sources, **given) -> SelectionRequest:
    trials = enumerate_trials(PlanRequest(configs=2, epochs=1, overrides=SMALL), SPEC, dataset.version)
    classifier = ClassifierRequest(epochs=1, overrides=SMALL)
    return SelectionRequest(SPEC, trials, sources, replicates=20, classifier=classifier, **given)


@pytest.fixture(scope="module")
def result(photographs, workspace, frames):
    dataset = open_dataset(SPEC, root=photographs)
    request = _request(dataset, ("cls", "pseudo=ss", str(frames)))
    return select(dataset, request, workspace, device="cpu", screen=SCREEN)


def test_the_classifier_of_the_annotator_is_a_trial_of_the_plan(result, workspace) -> None:
    # Had it followed CAM's recipe for full-size photographs, it would have asked for weights from the network.
    assert (
        len(list((workspace.root / "trials" / "folder-of-classes-name-mine-frame-64-val-0.2-test-0.2").glob("*/*")))
        == 2
    )


def test_three_tables_and_no_accuracy_of_localization(result) -> None:
    choices, sources, drawn = result.tables()
    assert [row[1] for row in choices.rows] == ["cls", "ss", "frames"]
    assert "with ss" in choices.columns and "with frames" in choices.columns
    assert [row[:2] for row in sources.rows] == [("ss", "frames")]
    assert len(drawn.rows) == 3
    text = json.dumps(result.as_dict())
    assert result.as_dict()["scored"] is False
    assert "max_box_acc" not in text
    assert any("Nobody vouches" in note for note in choices.notes)


def test_a_choice_before_any_training_is_noted(result) -> None:
    untrained = [replace(choice, epoch=0) for choice in result.methods[0].choices[1:]]
    method = replace(result.methods[0], choices=(replace(result.methods[0].choices[0], epoch=1), *untrained))
    (note,) = [one for one in replace(result, methods=(method,)).tables()[0].notes if "epoch 0" in one]
    assert note.startswith("cam: ss, frames chose epoch 0")
    trained = replace(result.methods[0], choices=(replace(result.methods[0].choices[0], epoch=1),))
    assert not any("epoch 0" in one for one in replace(result, methods=(trained,)).tables()[0].notes)


def test_boxes_of_every_choice_are_written(result, photographs) -> None:
    dataset = open_dataset(SPEC, root=photographs)
    for name, choice in zip(("cam-class-labels", "cam-ss", "cam-frames"), result.methods[0].choices, strict=True):
        written = read_four_file(result.folder / "boxes" / name / "test", kind="boxes")
        assert written.ids == dataset.split("test").ids
        assert (written.boxes.boxes[:, 2:] < 64).all()
        assert written.boxes.in_frame(64, 64).tolist() == choice.boxes.tolist()
        assert choice.run.label in (result.folder / "boxes" / name / "test" / "choice.txt").read_text()


def test_a_few_boxes_drawn_by_hand_can_judge_them(result, tmp_path) -> None:
    drawn = result.folder / "boxes" / "cam-ss"
    ids = result.methods[0].choices[1].ids[:3]
    some = read_four_file(drawn / "test", kind="boxes").boxes.select(ids)
    write_four_file(tmp_path / "mine", ids=ids, labels=[0, 0, 0], boxes=some)
    with pytest.raises(DataError, match="Expected a box for each"):
        report(drawn, tmp_path / "mine", 64)
    found = report(drawn, tmp_path / "mine", 64, common=True)
    assert (found["n"], found["corloc"], found["without_ground_truth"]) == (3, 100.0, 9)
    write_four_file(tmp_path / "other", ids=["x.png"], labels=[0], sizes=[(64, 64)],
                    boxes=BoxSet.from_mapping({"x.png": [(0, 0, 9, 9)]}, {"x.png": (64, 64)}))  # fmt: skip
    with pytest.raises(DataError, match="has too but there is none"):
        report(drawn, tmp_path / "other", 64, common=True)


def test_sources_that_need_manual_boxes_are_refused_before_training(photographs, tmp_path) -> None:
    dataset = open_dataset(SPEC, root=photographs)
    for source in ("gt", "noise:25"):
        with pytest.raises(UsageError, match=f"'{source}' but mine has none"):
            select(dataset, _request(dataset, (source,)), Workspace(tmp_path), device="cpu", screen=SCREEN)
    assert not list(tmp_path.iterdir())


def test_what_needs_scores_says_that_there_are_none(result, photographs, workspace, tmp_path) -> None:
    given = ["-d", SPEC, "--root", str(photographs), "-w", str(workspace.root)]
    for command in (["tables"], ["audit"], ["report", "--out", str(tmp_path / "page")]):
        done = CliRunner().invoke(app, [*command, *given])
        assert isinstance(done.exception, UsageError) and "has no ground truth of the test images" in str(
            done.exception
        )
    with pytest.raises(UsageError, match="nothing was scored"):
        export_study(workspace, [SPEC], tmp_path / "study")
    # Beside a study that was scored it is passed over.
    claimed = tmp_path / "rows.csv"
    write_csv(claimed, [])
    assert check_file(claimed, workspace.root) == []


def test_the_command_prints_choices_and_what_it_cannot_say(result, photographs, workspace) -> None:
    given = ["-d", SPEC, "--root", str(photographs), "-w", str(workspace.root), "--configs", "2", "--epochs", "1"]
    given += [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(app, ["select", *given, "--quiet", "--replicates", "20"])
    assert done.exit_code == 0, done.output
    assert "Nothing here is an accuracy of localization." in done.output
    assert "nobody can say here how well a method localizes" in done.output
    assert "pseudo:ss" in done.output
    refused = CliRunner().invoke(app, ["select", *given, "--metric", "mean_iou"])
    assert isinstance(refused.exception, UsageError)
    assert "--metric mean_iou" in str(refused.exception)
