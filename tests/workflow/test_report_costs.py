"""Costs of the methods of a study, measured as its runs were configured."""

from __future__ import annotations

import torch

from wsol_bench.content import content_folder
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.workflow.judge_plan import judge_plan
from wsol_bench.workflow.report_costs import measured_costs
from wsol_bench.workflow.report_facts import costs_table
from wsol_bench.workflow.selection_plan import read_plan
from wsol_bench.workflow.selection_tables import Study
from wsol_bench.workflow.workspace import Workspace

SPEC = "critters:size=64,train=200,val=30,test=40"


def test_costs_of_a_study() -> None:
    torch.set_num_threads(1)
    place = Workspace(content_folder("leaderboards") / "studies" / "critters-tiny")
    dataset, plan = open_dataset(SPEC), read_plan(place, SPEC)
    study = Study(dataset, plan, place, judge_plan(dataset, plan, place))
    measured = measured_costs(study, torch.device("cpu"))
    assert {one["backbone"] for one in measured.values()} == {"resnet_tiny"}
    table = costs_table(study, measured)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["cam"]["runs"] == 2
    assert rows["cam"]["epochs"] == 4
    assert rows["cam"]["training images"] == 4 * 200
    assert 0.1 < rows["cam"]["parameters [M]"] < 1
    assert rows["cam"]["parameters [M]"] == rows["has"]["parameters [M]"]
    assert costs_table(study, {}).rows[0][-1] is None
    assert "--costs" in costs_table(study, {}).notes[-1]
