from __future__ import annotations

import json

import pytest

from wsol_bench.methods.hparams import Choice, Distribution, Fixed, IntUniform, LogUniform, Uniform, Value
from wsol_bench.report.method_page import distribution_text, method_page, value_text
from wsol_bench.search.plan import MethodOnDataset


@pytest.mark.parametrize(
    ("distribution", "text"),
    [
        (LogUniform(0.01, 0.2), "log-uniform 0.01 .. 0.2"),
        (LogUniform(1e-5, 1.0), "log-uniform 1e-05 .. 1"),
        (Uniform(0.0, 1.0), "uniform 0 .. 1"),
        (IntUniform(3, 8), "integer 3 .. 8"),
        (Choice((True, 0.5, "x")), "one of true, 0.5, x"),
        (Fixed(), "fixed"),
        (Fixed(("a", "b")), "fixed"),
    ],
)
def test_distributions_in_words(distribution: Distribution, text: str) -> None:
    assert distribution_text(distribution) == text


def test_a_distribution_of_a_plugin_speaks_for_itself() -> None:
    class Odd:
        def draw(self, u: float) -> Value:
            return 1

        def check(self, value: object) -> None:
            return None

        def __str__(self) -> str:
            return "odd numbers"

    assert distribution_text(Odd()) == "odd numbers"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0005, "0.0005"), (2.322e-4, "0.0002322"), (1e-6, "1e-06"), (1.0, "1"), (5, "5"), (True, "true"), ("x", "x")],
)
def test_values_for_people(value: Value, text: str) -> None:
    assert value_text(value) == text


def test_the_page_of_cam() -> None:
    plan = MethodOnDataset.of("cam", "cub")
    page = json.loads(json.dumps(method_page(plan, title="CAM", dataset="cub", origin="here")))
    assert (page["method"], page["title"], page["dataset"], page["origin"]) == ("cam", "CAM", "cub", "here")
    assert "Zhou" in page["citation"] and page["epochs"] == 50 and page["batch_size"] == 32
    by_name = {row["parameter"]: row for row in page["parameters"]}
    assert by_name["lr"] == {
        "parameter": "lr",
        "value": 2.322e-4,
        "searched": "log-uniform 1e-05 .. 1",
        "meaning": "learning rate of the trunk",
    }
    assert "resnet50" in by_name["backbone"]["meaning"]
    assert {"cub", "default"} <= set(page["recipes"])
    assert {
        (row["dataset"], row["selection"], row["tau_from"]): row["value"]
        for row in page["expected"]
        if row["val_boxes"] == "gt"
    } == {
        ("cub", "BT", "TT"): 70.40,
        ("cub", "BV", "VT"): 69.20,
        ("ilsvrc", "BT", "TT"): 64.06,
        ("ilsvrc", "BV", "VT"): 63.88,
    }
