"""Each check of arithmetic finds what it is for, on rows that were made for it."""

from __future__ import annotations

import pytest

from wsol_bench.leaderboard.arithmetic import violations
from wsol_bench.leaderboard.published import PublishedRow


def row(metric: str, value: str, **changes: str) -> PublishedRow:
    plain = {
        "work": "a2020", "place": "table 1", "task": "wsol", "dataset": "cub", "split": "test", "part": "",
        "method": "cam", "variant": "", "venue": "", "backbone": "vgg16", "train_set": "", "val_boxes": "",
        "selection": "", "tau_from": "", "reading": "as_printed", "note": "",
    }  # fmt: skip
    return PublishedRow(**(plain | {"metric": metric, "value": value} | changes))


def checks(*rows: PublishedRow) -> list[str]:
    return [violation.check for violation in violations(rows)]


LEVELS = (row("box_acc_30", "80.0"), row("box_acc_50", "60.0"), row("box_acc_70", "40.0"))


@pytest.mark.parametrize(("mean", "found"), [("60.0", []), ("60.05", []), ("60.1", ["mean of levels"])])
def test_mean_of_levels(mean: str, found: list[str]) -> None:
    assert checks(*LEVELS, row("max_box_acc_v2", mean)) == found


def test_levels_fall() -> None:
    assert checks(*LEVELS) == []
    assert checks(LEVELS[0], row("box_acc_50", "81.0")) == ["order of levels"]
    assert checks(LEVELS[0], row("box_acc_50", "81.0", method="has")) == []


def test_ranks() -> None:
    fine = (row("top1_loc", "50"), row("top5_loc", "60"), row("max_box_acc", "60"), row("top1_cls", "70"))
    assert checks(*fine) == []
    assert checks(row("top1_loc", "61"), *fine[1:]) == ["order of ranks", "order of ranks"]
    assert checks(row("top1_loc", "50"), row("top1_cls", "49")) == ["order of ranks"]


def cell(policy: str, value: str, metric: str = "max_box_acc", boxes: str = "ss") -> PublishedRow:
    selection, _, tau = policy.partition("-")
    return row(metric, value, selection=selection, tau_from=tau, val_boxes=boxes)


def test_policies() -> None:
    fine = (cell("BT-TT", "70"), cell("BT-VT", "65"), cell("BV-TT", "68"), cell("BV-VT", "60"))
    assert checks(*fine) == []
    assert checks(cell("BT-TT", "67"), *fine[1:]) == ["order of policies"]
    assert checks(cell("BT-VT", "59"), cell("BV-VT", "60")) == ["order of policies"]
    # The mean over levels may rank configurations otherwise; class labels are chosen by classification.
    assert checks(cell("BT-VT", "59", "max_box_acc_v2"), cell("BV-VT", "60", "max_box_acc_v2")) == []
    assert checks(cell("BV-TT", "59", "max_box_acc_v2"), cell("BV-VT", "60", "max_box_acc_v2")) == ["order of policies"]
    assert checks(cell("BT-TT", "59", boxes="cls"), cell("BV-TT", "60", boxes="cls")) == []


def test_class_averages() -> None:
    classes = [row("corloc", value, task="wsol_video", part=part) for part, value in (("cat", "50"), ("dog", "60"))]
    assert checks(*classes, row("corloc", "55.0", task="wsol_video", part="avg")) == []
    assert checks(*classes, row("corloc", "55.2", task="wsol_video", part="avg")) == ["average of classes"]


def test_the_same_cell_in_two_tables() -> None:
    first = row(
        "max_box_acc", "70", work="murtaza2025", place="table 4.2", selection="BT", tau_from="TT", val_boxes="gt"
    )
    same = {"work": "murtaza2025", "place": "table 4.7", "selection": "BT", "tau_from": "TT", "val_boxes": "gt"}
    assert checks(first, row("box_acc_50", "70", **same)) == []
    assert checks(first, row("box_acc_50", "71", **same)) == ["same cell"]


def test_percentages() -> None:
    assert checks(row("mean_iou", "147.2")) == ["percentages"]
    assert checks(row("params_m", "1133.35")) == []
