from __future__ import annotations

import pytest

from wsol_bench.cli.parsing import pairs, scalar, spread
from wsol_bench.errors import UsageError


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("--iou 0.3 0.5 --strict", "--iou 0.3 --iou 0.5 --strict"),
        ("--iou 0.3 --iou 0.5 0.7", "--iou 0.3 --iou 0.5 --iou 0.7"),
        ("--iou=0.3 0.5", "--iou=0.3 --iou 0.5"),
        ("--iou 30", "--iou 30"),
        ("--iou", "--iou"),
        ("--iou --strict x", "--iou --strict x"),
        ("--maps a b --iou 1 2 --also x y", "--maps a b --iou 1 --iou 2 --also x --also y"),
        ("", ""),
    ],
)
def test_list_options_take_several_values(given: str, wanted: str) -> None:
    assert spread(given.split(), ("--iou", "--also")) == wanted.split()


def test_pairs() -> None:
    assert pairs("--set", ["a=1", " b = x=y "]) == {"a": "1", "b": "x=y"}
    assert pairs("--set", None) == {}


@pytest.mark.parametrize("text", ["a", "a=", "=1", "", "="])
def test_what_is_no_pair(text: str) -> None:
    with pytest.raises(UsageError, match=f"--set name=value but got '{text}'"):
        pairs("--set", [text])


def test_a_pair_given_twice() -> None:
    with pytest.raises(UsageError, match=r"--set a=\.\.\. once but got it twice"):
        pairs("--set", ["a=1", "a=2"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("3", 3), ("-3", -3), ("1e-3", 1e-3), ("0.5", 0.5), ("fast", "fast")],
)
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    assert scalar(text) == value and type(scalar(text)) is type(value)
