"""The main job end to end on a handful of critters: trials, pseudo-boxes, decisions, rows, figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, RecordError, UsageError
from wsol_bench.judge.rows import find
from wsol_bench.leaderboard.measured import read_rows
from wsol_bench.registry import METHODS, load_plugin_file
from wsol_bench.report.selection_text import print_selection
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.workflow.annotate import ClassifierRequest
from wsol_bench.workflow.judge_plan import judge_plan
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.select import SelectionRequest, select
from wsol_bench.workflow.selection_plan import read_plan
from wsol_bench.workflow.sweep import plan_status
from wsol_bench.workflow.workspace import Workspace

SPEC = "critters:size=64,train=40,val=12,test=16"
SCREEN = Screen(quiet=True)
QUICK = ClassifierRequest(epochs=1)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "edge_cam" / "edge_cam.py"


@pytest.fixture(scope="module")
def dataset():
    torch.set_num_threads(1)
    return open_dataset(SPEC)


@pytest.fixture(scope="module")
def trials(dataset):
    return enumerate_trials(PlanRequest(configs=2, epochs=1), SPEC, dataset.version)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def result(dataset, trials, workspace):
    request = SelectionRequest(
        SPEC,
        trials,
        ("cls", "gt", "pseudo=ss", "pseudo=rpn", "pseudo=clip"),
        replicates=50,
        classifier=QUICK,
    )
    return select(dataset, request, workspace, device="cpu", screen=SCREEN)


def test_every_source_and_policy_has_a_row(result):
    cells = {(row.val_boxes, f"{row.selection}-{row.tau_from}") for row in result.rows}
    box_policies = {"BT-TT", "BT-VT", "BV-TT", "BV-VT"}
    assert {policy for source, policy in cells if source == "ss"} == box_policies
    assert {policy for source, policy in cells if source == "gt"} == box_policies
    assert {policy for source, policy in cells if source == "cls"} == {"BT-OT", "BV-OT", "BT-TT", "BV-TT"}
    realistic = {(row.val_boxes, row.selection, row.tau_from) for row in result.rows if row.realistic}
    assert realistic == {("cls", "BV", "OT"), *((name, "BV", "VT") for name in ("ss", "rpn", "clip"))}
    assert find(result.rows, val_boxes="ss", selection="BV", tau_from="VT").supervision == "pseudo:ss"


def test_training_read_no_annotation(result, trials, workspace):
    for outcome in plan_status(trials, workspace):
        provenance = json.loads((outcome.folder.path / "provenance.json").read_text())
        assert provenance["supervision"] == "none"
        assert provenance["annotations_read"] == []
        assert outcome.status == "complete"


def test_rows_and_figures_are_on_disk(result):
    assert len(read_rows(result.folder / "rows.csv")) == len(result.rows)
    assert [path.name for path in result.figures] == ["epochs-cam.png", "tau.png"]
    assert all(path.stat().st_size > 10_000 for path in result.figures)
    stored = json.loads((result.folder / "select.json").read_text())
    assert len(stored["rows"]) == len(result.rows)
    assert stored["overstatements"][0]["source"] == "ss"
    audited = json.loads((result.folder / "audit.json").read_text())["rows"]
    assert len(audited) == len(result.rows)
    assert {row["verdict"] for row in audited if row["claims"]} == {"realistic"}


def test_the_printed_page_holds_what_a_reader_needs(result, capsys):
    print_selection(result, None, Console(width=110))
    page = capsys.readouterr().out
    for expected in (
        "BV-VT",
        "Otsu",
        "95 % interval",
        "gt:test",
        "realistic",
        "whole frame",
        "Selecting with ground-truth boxes",
    ):
        assert expected in page
    with pytest.raises(UsageError, match="max_box_acc"):
        print_selection(result, "max_box_ac", Console(width=110))


def test_a_second_call_repeats_no_work(dataset, trials, workspace, result):
    stamps = {path: path.stat().st_mtime_ns for path in workspace.root.glob("trials/**/*.parquet")}
    boxes = {path: path.stat().st_mtime_ns for path in workspace.root.glob("pseudo_boxes*/**/localization.txt")}
    request = SelectionRequest(
        SPEC,
        trials,
        ("cls", "gt", "pseudo=ss", "pseudo=rpn", "pseudo=clip"),
        replicates=50,
        classifier=QUICK,
    )
    again = select(dataset, request, workspace, device="cpu", figures=False, screen=SCREEN)
    assert stamps
    assert boxes
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert {path: path.stat().st_mtime_ns for path in boxes} == boxes
    assert [row.value for row in again.rows] == [row.value for row in result.rows]


def test_the_plan_is_kept_and_judges_the_same(dataset, trials, workspace, result):
    plan = read_plan(workspace, SPEC)
    assert [run.label for run in plan.runs] == ["cam/0", "cam/1"]
    assert [run.epochs for run in plan.runs] == [(0, 1), (0, 1)]
    assert plan.protocol == "realistic"
    assert judge_plan(dataset, plan, workspace, threads=2).rows == result.rows
    with pytest.raises(UsageError, match=r"no selection|there is none.*critters-size-64"):
        read_plan(workspace, "critters")
    with pytest.raises(DataError, match="in the version"):
        judge_plan(open_dataset("critters:size=64,train=40,val=12,test=15"), plan, workspace)


def test_missing_trials_are_an_error_or_told(dataset, trials, workspace, result, tmp_path, capsys):
    more = enumerate_trials(PlanRequest(configs=3, epochs=1), SPEC, dataset.version)
    place = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, place.root)
    request = SelectionRequest(SPEC, more, ("cls", "pseudo=ss"), replicates=20, classifier=QUICK, allow_missing=True)
    judged = select(dataset, request, place, device="cpu", figures=False, screen=SCREEN)
    assert {(row.configs, row.missing) for row in judged.rows} == {(2, "1 of 3 runs")}
    assert len(plan_status(more, place)[2].epochs) == 0
    with pytest.raises(RecordError, match=r"cam/2 are not; .*--allow-missing"):
        judge_plan(dataset, read_plan(place, SPEC), place)
    record = plan_status(more, place)[0].folder.record("val", 1)
    record.write_bytes(record.read_bytes()[:50])
    judged = select(dataset, request, place, device="cpu", figures=False, screen=SCREEN)
    assert {row.missing for row in judged.rows} == {"1 of 3 runs; 1 epochs"}
    print_selection(judged, None, Console(width=120))
    assert "cam: made without 1 of 3 runs; 1 epochs." in capsys.readouterr().out


def test_any_folder_in_the_four_file_format_selects(dataset, trials, workspace, result, tmp_path):
    split = dataset.split("val")
    middle = {image_id: [(16, 16, 47, 47)] for image_id in split.ids}
    sizes = dict.fromkeys(split.ids, (64, 64))
    boxes = BoxSet.from_mapping(middle, sizes)
    write_four_file(tmp_path / "mine" / "val", ids=split.ids, labels=split.labels, sizes=boxes.sizes, boxes=boxes)
    request = SelectionRequest(SPEC, trials, (str(tmp_path / "mine"),), replicates=20)
    judged = select(dataset, request, workspace, device="cpu", figures=False, screen=SCREEN)
    assert judged.sources == ("mine",)
    row = find(judged.rows, selection="BV", tau_from="VT")
    assert (row.supervision, row.note) == ("folder:mine", "nobody vouches for the origin of these boxes")


def test_noise_selects_but_is_not_realistic(dataset, trials, workspace):
    for protocol in ("realistic", "choe2020"):
        request = SelectionRequest(SPEC, trials, ("gt", "noise:25"), protocol=protocol, replicates=20)
        judged = select(dataset, request, workspace, device="cpu", figures=False, screen=SCREEN)
        assert judged.sources == ("gt", "noise:25")
        noisy = [row for row in judged.rows if row.val_boxes == "noise:25"]
        assert noisy and not any(row.realistic for row in noisy)
        assert all("gt:noise:25" in row.supervision for row in noisy if row.selection == "BV")
        assert not any(judged.overstatements.values())


def test_unknown_sources_fail_before_anything_runs(dataset, trials, tmp_path):
    place = Workspace(tmp_path / "fresh")
    for source in ("pseudo=sss", "no/such/folder"):
        with pytest.raises(UsageError):
            select(dataset, SelectionRequest(SPEC, trials, (source,)), place, screen=SCREEN)
    with pytest.raises(UsageError, match="choe2020"):
        select(dataset, SelectionRequest(SPEC, trials, ("pseudo=ss",), protocol="choe2020"), place, screen=SCREEN)
    assert not place.root.exists()


def test_a_method_from_a_file_is_trained_and_judged(dataset, workspace, result):
    load_plugin_file(EXAMPLE)
    assert "edge_cam" in METHODS
    trials = enumerate_trials(
        PlanRequest(methods=("edge_cam",), epochs=1, overrides={"backbone": "resnet_tiny"}), SPEC, dataset.version
    )
    judged = select(
        dataset, SelectionRequest(SPEC, trials, ("cls", "pseudo=ss"), replicates=20, classifier=QUICK), workspace,
        device="cpu", figures=False, screen=SCREEN,
    )  # fmt: skip
    assert {row.method for row in judged.rows} == {"edge_cam"}
    assert np.isfinite([row.value for row in judged.rows]).all()


def _write_images(root: Path, dataset) -> None:
    """Writes a few critters as files with four-file metadata; one test image is not an image."""
    for split, count in (("train", 20), ("val", 8), ("test", 9)):
        ids = dataset.split(split).ids[:count]
        labels = dataset.split(split).labels[:count] % 2
        with firewall.judging("test"):
            boxes = dataset.ground_truth(split).select(ids)
        write_four_file(root / "metadata" / split, ids=ids, labels=labels, sizes=boxes.sizes, boxes=boxes)
        for index, image_id in enumerate(ids):
            (root / image_id).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(dataset.load_image(split, index)).save(root / image_id)
    (root / dataset.split("test").ids[3]).write_bytes(b"<html>not found</html>")


def test_unreadable_images_are_an_error_or_counted(dataset, tmp_path, capsys):
    _write_images(tmp_path / "files", dataset)
    spec = "folder:name=mine,frame=64"
    mine = open_dataset(spec, root=tmp_path / "files")
    small = {"backbone": "resnet_tiny", "weights": "none"}
    trials = enumerate_trials(PlanRequest(epochs=1, overrides=small), spec, mine.version)
    request = SelectionRequest(spec, trials, ("cls", "gt"), replicates=20, classifier=QUICK)
    place = Workspace(tmp_path / "workspace")
    with pytest.raises(DataError, match="web page"):
        select(mine, request, place, device="cpu", figures=False, screen=SCREEN)
    result = select(mine, request, place, device="cpu", figures=False, on_bad_image="skip", screen=SCREEN)
    assert result.skipped == {"train": 0, "val": 0, "test": 1}
    assert result.as_dict()["skipped_images"]["test"] == 1
    assert {row.n for row in result.rows} == {8}
    print_selection(result, None, Console(width=120))
    assert "Unreadable images left out: 0 of train, 0 of val, 1 of test." in capsys.readouterr().out
