"""Measured leaderboards follow from the records that come with them, and a changed number is found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from wsol_bench.cli import main
from wsol_bench.errors import DataError, RecordError, UsageError
from wsol_bench.judge.rows import write_csv
from wsol_bench.leaderboard.measured import read_rows
from wsol_bench.workflow.leaderboard_check import check_file, export_study, measured_files, study_of
from wsol_bench.workflow.workspace import Workspace

SPEC = "critters:size=64,train=200,val=30,test=40"


@pytest.fixture(scope="module")
def file() -> Path:
    (found,) = [path for path in measured_files() if path.stem == "critters-tiny"]
    return found


@pytest.fixture
def study(file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study_of(file), tmp_path / "study"))


@pytest.mark.parametrize("path", measured_files(), ids=lambda path: path.stem)
def test_every_measured_row_of_the_benchmark_follows_from_its_records(path: Path) -> None:
    assert check_file(path, study_of(path), threads=2) == []


def test_a_changed_number_a_made_up_row_and_a_missing_row_are_found(file: Path, study: Path, tmp_path: Path) -> None:
    rows = read_rows(file)
    better = replace(rows[0], value=rows[0].value + 0.1)
    made_up = replace(rows[1], method="my_method")
    other_version = replace(rows[2], code_version="9.9")
    path = tmp_path / "rows.csv"
    write_csv(path, [better, made_up, other_version, *rows[3:]])
    found = check_file(path, study)
    assert [difference.problem for difference in found] == [
        f"value {better.value:.4f} but the records give {rows[0].value:.4f}",
        "the study gives no such row",
        "the study gives this row but the file lacks it",
    ]
    assert "my_method" in found[1].row


def test_other_records_give_other_rows(file: Path, study: Path) -> None:
    """A record of another epoch in the place of the chosen one: its hash gives it away, whatever the values."""
    row = next(row for row in read_rows(file) if row.epoch > 0)
    records = next(study.glob(f"trials/*/*/{row.config_hash}/records"))
    shutil.copyfile(records / "test-000.parquet", records / f"test-{row.epoch:03d}.parquet")
    found = check_file(file, study)
    assert any("record_hash" in difference.problem for difference in found)


def test_other_boxes_are_found(file: Path, study: Path) -> None:
    path = next(study.glob("pseudo_boxes*/critters/ss/val/localization.txt"))
    lines = path.read_text().splitlines()
    lines[0] = lines[0].rpartition(",")[0].rpartition(",")[0] + ",63,63"
    path.write_text("\n".join(lines) + "\n")
    assert {"val_boxes_hash" in one.problem for one in check_file(file, study) if " ss " in one.row} == {True}


def test_missing_and_damaged_studies(file: Path, study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--study"):
        study_of(Path("nothing.csv"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"selection\.yaml"):
        check_file(file, tmp_path / "empty")
    record = next(study.glob("trials/*/cam/*/records/val-001.parquet"))
    record.unlink()
    with pytest.raises(RecordError, match="does not exist"):
        check_file(file, study)


def test_an_exported_study_is_enough(file: Path, study: Path, tmp_path: Path) -> None:
    (study / "trials" / "checkpoints").mkdir()
    target = export_study(Workspace(study), [SPEC], tmp_path / "copy")
    assert check_file(file, target) == []
    assert {path.suffix for path in target.rglob("*") if path.is_file()} <= {
        ".parquet", ".yaml", ".json", ".jsonl", ".csv", ".txt",
    }  # fmt: skip
    with pytest.raises(UsageError, match="exists"):
        export_study(Workspace(study), [SPEC], target)
    shutil.rmtree(next(study.glob("pseudo_boxes*/critters/ss")))
    with pytest.raises(DataError, match="annotate import"):
        export_study(Workspace(study), [SPEC], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_command_line(file: Path, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "check"]) == 0
    assert "follow from their records" in capsys.readouterr().out
    rows = read_rows(file)
    path = tmp_path / "rows.csv"
    write_csv(path, [replace(rows[0], ci_high=100.0), *rows[1:]])
    arguments = ["leaderboard", "check", "--file", str(path), "--study", str(study)]
    assert main(arguments) == 1
    assert "ci_high 100.0000 but the records give" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["differences"]) == 1
    assert main(["leaderboard", "export", "-w", str(study), "-d", SPEC, "--out", str(tmp_path / "copy")]) == 0
    assert "MB are in" in capsys.readouterr().out
    assert main(["leaderboard", "show", "-d", "cub", "-m", "cam", "--policy", "BV-VT", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["rows"]
    assert any("68.93 resnet50 [murtaza2025 table 4.2" in row["published"] for row in shown)
    assert main(["leaderboard", "show", "-d", "nothing"]) == 2
    assert main(["leaderboard", "show", "-d", "critters", "--metric", "mean_iou"]) == 0
    assert "n = 40" in capsys.readouterr().out
