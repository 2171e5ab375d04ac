"""The classifier behind pseudo-boxes follows what the user set for the methods."""

from __future__ import annotations

import pytest

from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import UsageError
from wsol_bench.search.plan import PlanRequest
from wsol_bench.workflow.annotate import ClassifierRequest

SPEC = "critters:size=64,train=40,val=12,test=16"


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(SPEC)


def test_recipe_of_cam_by_default(dataset):
    trial = ClassifierRequest().trial(dataset, SPEC)
    assert (trial.label, trial.config.epochs) == ("cam/0", 8)
    assert trial.config.summary()["backbone"] == "resnet_tiny"


def test_settings_of_a_plan_hold_where_cam_has_them(dataset):
    plan = PlanRequest(("acol",), epochs=3, overrides={"weight_decay": "0.001", "erase_threshold": "0.5"})
    config = ClassifierRequest.like(plan, SPEC).trial(dataset, SPEC).config
    assert (config.method, config.epochs, config.summary()["weight_decay"]) == ("cam", 3, 0.001)
    assert "erase_threshold" not in config.summary()


def test_unknown_setting_is_refused(dataset):
    with pytest.raises(UsageError, match="erase_threshold"):
        ClassifierRequest(overrides={"erase_threshold": "0.5"}).trial(dataset, SPEC)
