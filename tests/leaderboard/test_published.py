"""Printed numbers: every file is valid, unique, and contradicts arithmetic only where that is declared."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from wsol_bench.errors import DataError
from wsol_bench.leaderboard.arithmetic import violations
from wsol_bench.leaderboard.csv_rows import read_csv
from wsol_bench.leaderboard.published import (
    FILES,
    PublishedRow,
    published_folder,
    read_conflicts,
    read_exceptions,
    read_published,
)

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "published"


@pytest.fixture(scope="module")
def rows() -> list[PublishedRow]:
    return read_published()


def test_all_files_are_read(rows: list[PublishedRow]) -> None:
    assert {row.work for row in rows} == set(FILES)
    assert len(rows) > 3000
    in_folder = {path.stem for path in published_folder().glob("*.csv")}
    assert in_folder == {*FILES, "exceptions", "conflicts"}


def test_every_number_has_one_row(rows: list[PublishedRow]) -> None:
    assert [key for key, count in Counter(row.key for row in rows).items() if count > 1] == []


def test_what_is_not_read_as_printed_says_why(rows: list[PublishedRow]) -> None:
    assert {row.reading for row in rows} == {"as_printed", "repaired", "inferred", "doubtful"}
    sample = next(row for row in rows if row.reading == "as_printed")
    with pytest.raises(ValidationError, match="needs a note"):
        replace(sample, reading="doubtful", note="")


def test_the_violations_of_arithmetic_are_those_that_are_declared(rows: list[PublishedRow]) -> None:
    """Both ways: nothing new, and nothing declared that is not there."""
    found = Counter((one.check, one.where) for one in violations(rows))
    declared = Counter((one.check, one.where) for one in read_exceptions())
    assert found == declared
    assert set(declared.values()) == {1}


def test_contradictions_are_told(rows: list[PublishedRow]) -> None:
    conflicts = read_conflicts()
    assert len(conflicts) > 30
    assert {one.work for one in conflicts} <= {row.work for row in rows}


def test_facts_that_readers_look_for(rows: list[PublishedRow]) -> None:
    def value(**wanted: str) -> str:
        (found,) = [row for row in rows if all(getattr(row, name) == text for name, text in wanted.items())]
        return found.value

    chapter = {"work": "murtaza2025", "place": "table 4.2", "metric": "max_box_acc"}
    assert value(**chapter, dataset="cub", method="cam", val_boxes="gt", selection="BT", tau_from="TT") == "70.40"
    assert value(**chapter, dataset="cub", method="cam", val_boxes="cls", selection="BT", tau_from="OT") == "32.99"
    assert (
        value(**chapter, dataset="ilsvrc", method="ts_cam", val_boxes="cls", selection="BT", tau_from="OT") == "6.476"
    )
    assert value(work="murtaza2025", place="table 4.1", dataset="cub", val_boxes="rpn") == "71.23"


def test_means_over_methods_are_those_of_the_chapter(rows: list[PublishedRow]) -> None:
    """Means over the eight methods of Table 4.2 (without DiPS)."""
    expected = {
        ("cub", "rpn"): (79.86, 79.52, 79.38, 78.76), ("cub", "ss"): (76.55, 30.46, 64.61, 25.18),
        ("ilsvrc", "gt"): (64.39, 64.35, 64.53, 64.35), ("ilsvrc", "clip"): (64.44, 64.00, 64.38, 63.89),
    }  # fmt: skip
    for (dataset, boxes), means in expected.items():
        for policy, mean in zip(("BT-TT", "BT-VT", "BV-TT", "BV-VT"), means, strict=True):
            found = [
                row.number for row in rows
                if row.work == "murtaza2025" and row.place == "table 4.2" and row.dataset == dataset
                and row.val_boxes == boxes and row.policy == policy and row.method != "dips"
            ]  # fmt: skip
            assert len(found) == 8
            assert sum(found) / 8 == pytest.approx(mean, abs=0.0051)


@pytest.mark.parametrize(
    ("column", "text", "says"),
    [
        ("value", "high", "value"),
        ("metric", "accuracy", "metric"),
        ("selection", "BX", "selection"),
        ("place", "page 3", "place"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, column: str, text: str, says: str) -> None:
    with (published_folder() / "gao2022.csv").open(newline="") as stream:
        table = list(csv.reader(stream))
    table[1][table[0].index(column)] = text
    path = tmp_path / "gao2022.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(table)
    with pytest.raises(DataError, match=rf"gao2022\.csv:2: Expected a valid row but {says}"):
        read_csv(path, PublishedRow, "restore it")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the tables that the rows were taken from are not beside the checkout")
def test_no_number_was_lost_or_changed(rows: list[PublishedRow]) -> None:
    numbers: Counter[str] = Counter()
    for path in SHARED.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as stream:
            numbers += Counter(line["value"] for line in csv.DictReader(stream) if not line["metric"].startswith("hp_"))
    assert Counter(row.value for row in rows) == numbers
