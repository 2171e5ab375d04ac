"""Mask datasets end to end: trials with maps, masks of every kind, decisions, rows, the page, tables, the audit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from rich.console import Console

from wsol_bench.annotations import firewall
from wsol_bench.cli import main
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, RecordError, UsageError
from wsol_bench.judge.rows import find
from wsol_bench.leaderboard.measured import read_rows
from wsol_bench.maps.normalise import score_maps
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.px_ap import PixelAveragePrecision
from wsol_bench.records.run_record import read_record
from wsol_bench.report.mask_text import print_mask_selection
from wsol_bench.search.plan import PlanRequest, enumerate_trials
from wsol_bench.testing import miniatures
from wsol_bench.workflow.leaderboard_check import check_file, export_study
from wsol_bench.workflow.mask_stats import mask_stats
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.select import SelectionRequest, select
from wsol_bench.workflow.selection_plan import read_plan
from wsol_bench.workflow.sweep import plan_status, run_sweep
from wsol_bench.workflow.workspace import Workspace

SPEC = "critters:size=64,train=40,val=12,test=16"
SCREEN = Screen(quiet=True)
SMALL = {"backbone": "resnet_tiny", "weights": "none"}


@pytest.fixture(scope="module")
def dataset():
    torch.set_num_threads(1)
    return open_dataset(SPEC)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("workspace"))


def plan_of(opened, spec, methods=("cam",), configs=1):
    return enumerate_trials(PlanRequest(methods, configs, epochs=1, overrides=SMALL), spec, opened.version)


def asked(dataset, sources, methods=("cam", "has"), spec=SPEC, **options):
    return SelectionRequest(
        spec, plan_of(dataset, spec, methods), sources, metric=options.pop("metric", "px_ap"), replicates=30, **options
    )


@pytest.fixture(scope="module")
def result(dataset, workspace):
    request = asked(dataset, ("cls", "gt", "noise:25", "pseudo=maps:cam"))
    return select(dataset, request, workspace, device="cpu", screen=SCREEN)


def test_every_source_picks_on_validation_and_on_test(result):
    cells = {(row.method, row.val_boxes, row.policy) for row in result.rows}
    sources = ("cls", "gt", "noise:25", "maps:cam")
    assert cells == {
        (method, source, policy) for method in ("cam", "has") for source in sources for policy in ("BT", "BV")
    }
    realistic = {(row.val_boxes, row.policy) for row in result.rows if row.realistic}
    assert realistic == {("cls", "BV"), ("maps:cam", "BV")}
    read = {row.val_boxes: row.supervision for row in result.rows if row.policy == "BV"}
    assert read == {"cls": "none", "gt": "gt:val", "noise:25": "gt:erode:25", "maps:cam": "pseudo:maps:cam"}
    notes = {row.method: row.note for row in result.rows if row.val_boxes == "maps:cam"}
    assert "own maps (cam/0" in notes["cam"]
    assert notes["has"] == ""
    assert result.mask_errors["gt"] == 0
    assert 10 < result.mask_errors["noise:25"] <= 12.6


def test_px_ap_is_that_of_the_recorded_maps_and_the_masks(result, dataset, workspace):
    for row in result.rows:
        path = next(workspace.root.glob(f"trials/*/*/{row.config_hash}/records/test-{row.epoch:03d}.parquet"))
        record = read_record(path, with_maps=True)
        with firewall.judging("a test"):
            masks = dataset.ground_truth_masks("test")
        meter = PixelAveragePrecision(tau_grid(0.001), replicates=30)
        places = {image_id: place for place, image_id in enumerate(masks.ids)}
        drawn = np.stack([masks.draw(places[image_id], 64, 64) for image_id in record.ids])
        meter.update(score_maps(record.maps.astype(np.float64), 64), drawn, ids=record.ids)
        direct = meter.compute()
        interval = direct.interval()
        assert row.value == pytest.approx(direct.px_ap, abs=1e-9)
        assert (row.ci_low, row.ci_high) == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert row.n == 16


def test_maps_that_look_at_nothing_are_the_baselines(result, dataset):
    with firewall.judging("a test"):
        stats = mask_stats(dataset.ground_truth_masks("test"), 64)
    assert result.blind["constant map"] == pytest.approx(stats.prevalence)
    assert result.blind["map falling from the centre"] == pytest.approx(stats.centre_map.px_ap)


def test_rows_plan_and_audit_are_on_disk(result, workspace):
    assert len(read_rows(result.folder / "rows.csv")) == len(result.rows)
    plan = read_plan(workspace, SPEC)
    assert (plan.scored, plan.sources[-1]) == ("masks", "pseudo=maps:cam")
    stored = json.loads((result.folder / "select.json").read_text())
    assert set(stored["baselines"]) == set(result.blind)
    assert {one["source"] for one in stored["overstatements"]} == {"cls", "maps:cam"}
    audited = json.loads((result.folder / "audit.json").read_text())["rows"]
    assert {row["verdict"] for row in audited if row["claims"]} == {"realistic"}
    makers = {one["source"] for row in audited for one in row["evidence"] if one["stage"] == "pseudo-masks"}
    assert makers == {"none"}


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits_into_a_terminal(result, width, capsys):
    print_mask_selection(result, Console(width=width))
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines()[:-1])) <= width
    for expected in (
        "PxAP [95 % interval]",
        "maps:cam",
        "noise:25",
        "realistic",
        "Mask error",
        "Without looking, PxAP",
    ):
        assert expected in page
    assert "Selecting with exact masks" in page.replace("\n", " ")


def test_tables_audit_and_report_of_a_selection_by_masks(result, workspace, tmp_path, capsys):
    options = ["-d", SPEC, "-w", str(workspace.root)]
    assert main(["tables", *options, "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert table["id"] == "4.9"
    assert {row["masks"] for row in table["rows"]} >= {"exact", "eroded 20 %", "maps of has"}
    exact = next(row for row in table["rows"] if (row["masks"], row["selection"]) == ("exact", "BV"))
    assert exact["PxAP"] == find(result.rows, method="cam", val_boxes="gt", selection="BV").value
    assert main(["audit", *options, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == len(result.rows)
    for command in (["tables", "--table", "4.2"], ["tables", "--figures", str(tmp_path)], ["report", "--out", "x"]):
        assert main([command[0], *options, *command[1:]]) != 0
        assert "is by masks; fix: 'wsol-bench tables' (Table 4.9)" in capsys.readouterr().err


def test_others_can_derive_the_rows_again(result, workspace, tmp_path):
    exported = export_study(workspace, [SPEC], tmp_path / "study")
    rows = result.folder / "rows.csv"
    assert check_file(rows, exported) == []
    text = rows.read_text()
    changed = tmp_path / "rows.csv"
    changed.write_text(text.replace(f",{result.rows[0].value:.4f},", ",12.3456,"))
    assert any("value 12.3456" in one.problem for one in check_file(changed, exported))


@pytest.mark.slow
def test_a_trial_of_another_backbone_gives_the_masks(result, dataset, workspace, tmp_path):
    place = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.root, place.root)
    maker = enumerate_trials(PlanRequest(("cam",), epochs=1, overrides=SMALL | {"lr": 0.02}), SPEC, dataset.version)
    run_sweep(dataset, maker, place, device="cpu", keep_maps=True, screen=SCREEN)
    name = f"maps:{maker[0].config.trial_id}"
    judged = select(dataset, asked(dataset, ("cls", name), ("cam",)), place, device="cpu", screen=SCREEN)
    row = find(judged.rows, val_boxes=name, selection="BV")
    assert (row.supervision, row.realistic, row.note) == (f"pseudo:{name}", True, "")
    exported = export_study(place, [SPEC], tmp_path / "study")
    assert check_file(judged.folder / "rows.csv", exported) == []


def test_sources_that_cannot_select_by_masks_are_named_before_anything_runs(dataset, tmp_path):
    place = Workspace(tmp_path / "fresh")
    for source, message in (
        ("pseudo=ss", r"'pseudo=ss', which is none or gives boxes.*Fix: --val maps:cam"),
        ("maps:cma", r"a method of the plan \(cam, has\).*Did you mean 'cam'"),
        ("maps:*", "by the id of a trial"),
        ("noise:100", "below 100"),
        ("noise:much", "'noise:25'"),
    ):
        with pytest.raises(UsageError, match=message):
            select(dataset, asked(dataset, (source,)), place, screen=SCREEN)
    with pytest.raises(UsageError, match="choe2020"):
        select(dataset, asked(dataset, ("maps:cam",), protocol="choe2020"), place, screen=SCREEN)
    assert not place.root.exists()


def test_trials_without_maps_are_an_error_before_others_run(dataset, tmp_path):
    place = Workspace(tmp_path / "workspace")
    run_sweep(dataset, plan_of(dataset, SPEC), place, device="cpu", screen=SCREEN)
    request = asked(dataset, ("cls", "gt"))
    with pytest.raises(RecordError, match=r"val-000.parquet: expected a record with maps.*delete the folder"):
        select(dataset, request, place, device="cpu", screen=SCREEN)
    assert plan_status(request.trials, place)[1].status == "missing"


def test_choe2020_selects_with_exact_masks(result, dataset, workspace):
    request = asked(dataset, ("gt",), ("cam",), protocol="choe2020")
    judged = select(dataset, request, workspace, device="cpu", screen=SCREEN)
    assert [(row.policy, row.protocol, row.metric) for row in judged.rows] == [("BV", "choe2020@1", "px_ap")]
    assert judged.overstatements == {"cam": []}


@pytest.mark.parametrize("name", ["glas", "camelyon16"])
def test_medical_datasets_are_scored_by_masks_alone(name, tmp_path):
    torch.set_num_threads(1)
    miniatures.MINIATURES[name](tmp_path / "files")
    spec = f"{name}:frame=64"
    opened = open_dataset(spec, root=tmp_path / "files")
    request = asked(opened, ("cls", "gt", "maps:cam"), ("cam",), spec, metric=None)
    judged = select(opened, request, Workspace(tmp_path / "workspace"), device="cpu", screen=SCREEN)
    assert {row.metric for row in judged.rows} == {"px_ap"}
    assert len(judged.rows) == 6
    assert all(0 < row.value <= 100 for row in judged.rows)
    with pytest.raises(UsageError, match=f"--metric px_ap, because '{name}' has masks and no boxes"):
        select(
            opened, asked(opened, ("cls",), ("cam",), spec, metric="max_box_acc"), Workspace(tmp_path), screen=SCREEN
        )


def test_missing_masks_are_named(tmp_path):
    torch.set_num_threads(1)
    miniatures.glas(tmp_path / "files")
    spec = "glas:frame=64"
    opened = open_dataset(spec, root=tmp_path / "files")
    next((tmp_path / "files").glob("*/testA_1_anno.bmp")).unlink()
    with pytest.raises(DataError, match=r"testA_1_anno.bmp.*there is no such file"):
        select(
            opened,
            asked(opened, ("cls",), ("cam",), spec, metric=None),
            Workspace(tmp_path / "w"),
            device="cpu",
            screen=SCREEN,
        )


def test_validation_images_without_masks_cannot_select_but_class_labels_can(tmp_path):
    torch.set_num_threads(1)
    miniatures.camelyon16(tmp_path / "files")
    (tmp_path / "files" / "metadata" / "valcl" / "localization.txt").unlink()
    spec = "camelyon16:frame=64"
    opened = open_dataset(spec, root=tmp_path / "files")
    place = Workspace(tmp_path / "w")
    with pytest.raises(UsageError, match=r"Expected masks of val, of which gt, noise:20 would select.*--no-reference"):
        select(opened, asked(opened, ("cls", "gt", "noise:20"), ("cam",), spec, metric=None), place, screen=SCREEN)
    judged = select(
        opened, asked(opened, ("cls", "maps:cam"), ("cam",), spec, metric=None), place, device="cpu", screen=SCREEN
    )
    assert judged.mask_errors == {}
    assert {row.val_boxes for row in judged.rows if row.realistic} == {"cls", "maps:cam"}


def test_px_ap_needs_masks(tmp_path):
    miniatures.aircraft(tmp_path)
    opened = open_dataset("aircraft", root=tmp_path)
    with pytest.raises(UsageError, match="masks of test for --metric px_ap but 'aircraft' has none; fix: another"):
        select(opened, asked(opened, ("cls",), ("cam",), "aircraft"), Workspace(tmp_path / "w"), screen=SCREEN)
