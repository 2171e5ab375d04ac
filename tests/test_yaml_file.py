from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from wsol_bench.errors import DataError
from wsol_bench.yaml_file import StrictModel, read_content, read_yaml, yaml_text


class Leaf(StrictModel):
    rate: float = Field(gt=0)
    name: str = ""


class Tree(StrictModel):
    leaves: dict[str, Leaf] = Field(default_factory=dict)
    row: tuple[Leaf, ...] = ()
    number: float | bool = 0.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tree.yaml"


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("-2E4", -2e4), ("1.5e+3", 1500.0), ("1.e2", 100.0)])
def test_numbers_as_people_write_them(path: Path, text: str, value: float) -> None:
    path.write_text(f"number: {text}")
    assert read_yaml(path, Tree).number == value


def test_words_that_only_resemble_numbers_stay_words(path: Path) -> None:
    path.write_text("leaves: {a: {rate: 1, name: 1e}}")
    assert read_yaml(path, Tree).leaves["a"].name == "1e"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"the content should be a valid dictionary"),
        ("- 1", r"the content should be a valid dictionary"),
        ("leves: {}", r"leves is not a known key \(Did you mean 'leaves'\?\)"),
        (
            "leaves: {a: {rte: 1}}",
            r"leaves.a.rate is missing; leaves.a.rte is not a known key \(Did you mean 'rate'\?\)",
        ),
        ("leaves: {a: {rate: 0}}", r"leaves.a.rate should be greater than 0 \(got 0\)"),
        ("leaves: {a: 3}", r"leaves.a should be a valid dictionary .*\(got 3\)"),
        ("row: [{rate: 1}, {rate: fast}]", r"row.1.rate should be a valid number.*\(got 'fast'\)"),
        ("row: [{rate: 1, nme: x}]", r"row.0.nme is not a known key \(Did you mean 'name'\?\)"),
        ("number: [1]", r"number should be a valid number \(got \[1\]\) or should be a valid boolean \(got \[1\]\)\."),
        ("a: [1", r"tree.yaml:1: Expected YAML but: expected ',' or '\]'"),
        ("number: 1\nleaves: {}\nnumber: 2", r"tree.yaml:3: Expected YAML but: the key 'number' occurs twice"),
        ("leaves: {a: {rate: 1, rate: 2}}", r"tree.yaml:1: .*the key 'rate' occurs twice"),
        ("a: !!python/object:os.system x", "Expected YAML but: could not determine a constructor"),
    ],
)
def test_problems_are_named_with_file_and_key(path: Path, text: str, says: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        read_yaml(path, Tree)
    assert str(caught.value).startswith(str(path))


def test_files_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_yaml(path, Tree)
    path.write_bytes(b"number: \xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        read_yaml(path, Tree)
    with pytest.raises(DataError, match="cannot be read"):
        read_yaml(path.parent, Tree)


@pytest.mark.parametrize("text", ["54e5055bd93c", "12345678e012", "1e-3", "0123", "true", "noise:10", "a: b", "ü"])
def test_texts_come_back_as_texts(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml_text({"ids": [text, 0.001, 7], text: text}), encoding="utf-8")
    assert read_content(path) == {"ids": [text, 0.001, 7], text: text}


def test_a_checksum_that_begins_like_a_number_is_text(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_text("md5: 065e5b463ae28d29e77c1b4b166cfe61\nlr: 1e-3\n")
    assert read_content(path) == {"md5": "065e5b463ae28d29e77c1b4b166cfe61", "lr": 0.001}
