"""Tables, figures and the audit of a small study, from the records to the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wsol_bench.cli import main
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import UsageError
from wsol_bench.judge.noise_study import noise_levels
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.workflow.annotate import ClassifierRequest
from wsol_bench.workflow.judge_plan import judge_plan
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.select import SelectionRequest, select
from wsol_bench.workflow.selection_plan import read_plan
from wsol_bench.workflow.selection_tables import TABLES, Study, audit_of, figures_of, tables_of
from wsol_bench.workflow.sweep import run_sweep
from wsol_bench.workflow.workspace import Workspace

SPEC = "critters:size=64,train=40,val=12,test=16"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    torch.set_num_threads(1)
    dataset = open_dataset(SPEC)
    place = Workspace(tmp_path_factory.mktemp("workspace"))
    trials = enumerate_trials(PlanRequest(methods=("cam", "has"), configs=2, epochs=1), SPEC, dataset.version)
    sources = ("cls", "gt", "pseudo=ss", "noise:10", "noise:40")
    run_sweep(dataset, trials[:2], place, device="cpu", keep_maps=True, screen=Screen(quiet=True))
    request = SelectionRequest(SPEC, trials, sources, replicates=40, classifier=ClassifierRequest(epochs=1))
    select(dataset, request, place, device="cpu", figures=False, screen=Screen(quiet=True))
    return place


@pytest.fixture(scope="module")
def study(workspace):
    dataset, plan = open_dataset(SPEC), read_plan(workspace, SPEC)
    return Study(dataset, plan, workspace, judge_plan(dataset, plan, workspace))


def test_every_table_is_made(study):
    made = {table.id: table for table in tables_of(study)}
    assert list(made) == list(TABLES)
    assert all(table.rows for table in made.values())
    assert [row[1] for row in made["4.1"].rows] == ["ss", "noise:10", "noise:40"]
    assert made["4.1"].rows[1][2] > made["4.1"].rows[2][2]
    assert made["4.5"].columns[2:] == ("ss",)
    assert {row[1] for row in made["4.2"].rows} == {"cam", "has"}
    assert {row[0] for row in made["comparisons"].rows} == {"cls", "gt", "ss", "noise:10", "noise:40"}
    # Only cam kept its maps.
    assert {row[1] for row in made["4.9"].rows} == {"cam"}
    masks = list(dict.fromkeys(row[2] for row in made["4.9"].rows))
    assert (masks[0], masks[1], masks[-1], len(masks)) == ("exact", "eroded 5 %", "maps of cam", 12)
    assert made["budget"].columns[3:] == ("n=1", "n=2")
    with pytest.raises(UsageError, match=r"--table.*4\.2"):
        tables_of(study, ["4.22"])


def test_the_documentation_and_the_help_name_every_table(capsys):
    text = (Path(__file__).resolve().parents[2] / "docs" / "judge.md").read_text(encoding="utf-8")
    assert [name for name in TABLES if f"| `{name}` |" not in text] == []
    assert main(["tables", "--help"]) == 0
    words = capsys.readouterr().out.replace(",", " ").replace(";", " ").split()
    assert [name for name in TABLES if name not in words] == []


def test_both_readings_of_bt_vt(study):
    (table,) = tables_of(study, ["reuse"])
    measured = {
        (row.method, row.val_boxes, row.metric): row.value for row in study.judged.rows if row.policy == "BT-VT"
    }
    assert all(measured[row[:3]] == row[3] for row in table.rows)
    assert all(row[3] >= row[4] for row in table.rows if row[2] == "max_box_acc")


def test_figures(study, tmp_path):
    paths = [path for figure in figures_of(study, tmp_path) for path in figure.files]
    assert [path.name for path in paths] == [
        "figure-2.5.png", "figure-4.1.png", "figure-4.2-cam.png", "figure-4.4-cam.png", "figure-4.2-has.png",
        "figure-4.4-has.png",
    ]  # fmt: skip
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_the_audit_reads_provenance_and_cards(study, workspace, tmp_path):
    rows = {(row.method, row.source, row.policy): row for row in audit_of(study) if row.metric == "max_box_acc"}
    assert rows["cam", "ss", "BV-VT"].verdict == "realistic"
    assert rows["cam", "cls", "BV-OT"].verdict == "realistic"
    assert rows["cam", "noise:10", "BV-VT"].verdict == "not realistic"
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, copy.root)
    altered = next(copy.root.glob("pseudo_boxes*/critters/ss/val/localization.txt"))
    altered.write_text(altered.read_text().replace(",", ",", 1) + "\n")
    for path in copy.root.glob("trials/*/cam/*/provenance.json"):
        content = json.loads(path.read_text())
        content["annotations_read"] = [
            {"source": "gt", "split": "val", "reader": "a method", "at": "2026-01-01T00:00:00+00:00", "count": 1}
        ]
        path.write_text(json.dumps(content))
    spoilt = Study(study.dataset, study.plan, copy, study.judged)
    rows = {(row.method, row.source, row.policy): row for row in audit_of(spoilt) if row.metric == "max_box_acc"}
    assert rows["cam", "cls", "BV-OT"].refused
    assert rows["has", "cls", "BV-OT"].verdict == "realistic"
    assert rows["has", "ss", "BV-VT"].verdict == "unvouched"


def test_the_command_line(workspace, capsys, tmp_path):
    place = ["-d", SPEC, "-w", str(workspace.root)]
    assert main(["tables", *place, "--table", "4.2", "--table", "regret", "--out", str(tmp_path)]) == 0
    page = capsys.readouterr().out
    assert "one column per validation supervision" in page
    assert "Selection regret on the test set [points]" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table-4.2.csv", "table-regret.csv"]
    assert main(["tables", *place, "--table", "4.7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"][0]["rows"][0]["policy"] == "BT-TT"
    assert main(["audit", *place]) == 0
    assert "the judge of 'cam'" in capsys.readouterr().out
    assert main(["audit", *place, "--json", "--metric", "all"]) == 0
    assert not any(row["refused"] for row in json.loads(capsys.readouterr().out)["rows"])
    assert main(["audit", *place, "--metric", "max_box"]) == 2
    assert "Did you mean 'max_box_acc'" in capsys.readouterr().err
    assert main(["tables", "-w", str(tmp_path)]) == 2
    assert "wsol-bench select" in capsys.readouterr().err


def test_a_refused_row_fails_the_audit(workspace, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(workspace.root, copy)
    for path in copy.glob("trials/*/*/*/provenance.json"):
        content = json.loads(path.read_text())
        content["annotations_read"] = [
            {"source": "gt", "split": "test", "reader": "a method", "at": "2026-01-01T00:00:00+00:00", "count": 1}
        ]
        path.write_text(json.dumps(content))
    assert main(["audit", "-d", SPEC, "-w", str(copy)]) == 1
    assert "REFUSED" in capsys.readouterr().out


def test_noise_levels_are_comparable(study):
    judged = study.judged
    levels = noise_levels(judged.judgements[0], dict(judged.boxes.val), judged.protocol, study.dataset.frame)
    assert [level.percent for level in levels] == [0.0, 10.0, 40.0]
    assert levels[0].mean_iou == pytest.approx(100)
    assert levels[0].mean_iou > levels[1].mean_iou > levels[2].mean_iou
    np.testing.assert_array_equal(levels[0].shift, 0)
    np.testing.assert_array_equal(levels[1].epochs - levels[0].epochs, levels[1].shift)
    assert all(len(level.test) == 2 for level in levels)
