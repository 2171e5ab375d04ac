from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from wsol_bench.errors import DataError
from wsol_bench.judge.rows import ResultRow, write_csv
from wsol_bench.leaderboard.measured import IDENTITY, merge_files, read_rows

ROW = ResultRow(
    dataset="critters",
    dataset_version="critters-64@1,seed=2",
    method="cam",
    run="cam/1",
    config_hash="0123456789ab",
    epoch=3,
    split="test",
    protocol="realistic@1",
    evaluator="box@1",
    val_boxes="ss",
    selection="BV",
    tau_from="VT",
    metric="max_box_acc",
    iou_threshold="0.5",
    tau="0.1250",
    value=43.25,
    ci_low=40.5,
    ci_high=46.0,
    n=400,
    supervision="pseudo:ss",
    realistic=True,
    configs=3,
    seeds=1,
    missing="",
    study="abcdefabcdef",
    record_hash="fedcba987654",
    val_boxes_hash="123456abcdef",
    test_boxes_hash="654321abcdef",
    note='a "quoted", note\nof two lines',
    code_version="0.1.0",
)
OTHER = replace(ROW, method="acol", epoch=0, tau_from="OT", tau="", note="", realistic=False, value=0.0)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(name: str, *rows: ResultRow) -> Path:
        path = tmp_path / name
        write_csv(path, rows)
        return path

    return write


def test_rows_survive_the_round_trip(write: Any) -> None:
    assert read_rows(write("a.csv", ROW, OTHER)) == [ROW, OTHER]
    assert read_rows(write("b.csv")) == []
    masks = replace(ROW, metric="px_ap", evaluator="px@1", tau_from="none", tau="", iou_threshold="")
    assert read_rows(write("c.csv", masks)) == [masks]
    assert (ROW.policy, masks.policy) == ("BV-VT", "BV")


def test_spreadsheets_may_have_touched_the_file(write: Any) -> None:
    path = write("a.csv", ROW, OTHER)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert [row.method for row in read_rows(path)] == ["cam", "acol"]


def test_merging_drops_repetitions_and_sorts(write: Any) -> None:
    paths = [write("a.csv", ROW, OTHER), write("b.csv", ROW), write("c.csv", replace(ROW, code_version="0.2.0"))]
    merged = merge_files(paths)
    assert merged == [OTHER, ROW, replace(ROW, code_version="0.2.0")]
    assert merge_files(reversed(paths)) == merged
    assert merge_files([]) == []


@pytest.mark.parametrize("change", [{"value": 43.26}, {"config_hash": "ffffffffffff"}, {"epoch": 4}, {"n": 399}])
def test_contradictions_name_both_files(write: Any, change: dict[str, Any]) -> None:
    first, second = write("a.csv", ROW), write("b.csv", replace(ROW, **change))
    with pytest.raises(DataError, match=r"one result for critters, .*ss, BV, VT, max_box_acc") as caught:
        merge_files([first, second])
    assert str(first) in str(caught.value) and str(second) in str(caught.value) and "43.25" in str(caught.value)


def test_a_file_may_contradict_itself(write: Any) -> None:
    with pytest.raises(DataError, match="Expected one result"):
        merge_files([write("a.csv", ROW, replace(ROW, value=1.0))])


@pytest.mark.parametrize("name", IDENTITY)
def test_other_measurements_do_not_contradict(write: Any, name: str) -> None:
    other = {"split": "val", "selection": "BT", "tau_from": "TT"}.get(name, "x")
    changed = replace(ROW, **{name: other}, value=1.0)
    assert len(merge_files([write("a.csv", ROW), write("b.csv", changed)])) == 2


def test_the_identity_is_made_of_columns() -> None:
    assert set(IDENTITY) < {field.name for field in fields(ResultRow)}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("43.2500", "much", r"a.csv:3: Expected value to be a finite number but got 'much'"),
        ("43.2500", "nan", r"a.csv:3: Expected value to be a finite number but got 'nan'"),
        ("BV,VT,max", "BX,VT,max", "selection: Input should be 'BT' or 'BV'"),
        (",43.2500,", ",143.2500,", "value: Input should be less than or equal to 100"),
        (",40.5000,", ",47.5000,", "ci_low 47.5 is above ci_high 46.0"),
        ("pseudo:ss,True", "gt:val,True", "a row whose choice read 'gt:val' cannot be realistic"),
        ("BV,VT,max", "BV,none,max", "tau_from none does not go with tau '0.1250'"),
        ("BV,VT,max_box_acc,0.5,0.1250,", "BV,none,max_box_acc,,,", "none does not go with the metric 'max_box_acc'"),
        ("BV,VT,max_box_acc,0.5,0.1250,", "BV,OT,px_ap,,,", "OT does not go with the metric 'px_ap'"),
        (",400,", ",400.5,", "Expected n to be a whole number but got '400.5'"),
        (",True,", ",yes,", "Expected realistic to be True or False but got 'yes'"),
        (",400,", ",", "Expected 30 values but got 29; the file is damaged"),
        (",400,", ",400,400,", "Expected 30 values but got 31"),
        ("code_version", "version", "a.csv:1: Expected the columns code_version and no columns version"),
        ("note,code_version", "code_version,note", "a.csv:1: Expected the columns in the order dataset, "),
        ("dataset,", "", "a.csv:1: Expected the columns dataset;"),
    ],
)
def test_damage_is_found_where_it_is(write: Any, old: str, new: str, says: str) -> None:
    path = write("a.csv", ROW)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=says):
        read_rows(path)


def test_files_that_are_no_csv(write: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path / "nope.csv")
    path = write("a.csv", ROW)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(path)
    path.write_text("")
    with pytest.raises(DataError, match="Expected the columns dataset, "):
        read_rows(path)
    cut = write("b.csv", ROW).read_text()
    path.write_text(cut[: cut.index("of two lines")])
    with pytest.raises(DataError, match=r"cannot be read|the file is damaged"):
        read_rows(path)
