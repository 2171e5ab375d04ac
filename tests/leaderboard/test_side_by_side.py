"""Printed and measured numbers stand beside each other and are never one."""

from __future__ import annotations

from wsol_bench.judge.rows import ResultRow
from wsol_bench.leaderboard.published import PublishedRow
from wsol_bench.leaderboard.side_by_side import side_by_side

MEASURED = ResultRow(
    dataset="CUB", dataset_version="cub@1", method="cam", run="cam/0", config_hash="0" * 12, epoch=3, split="test",
    protocol="realistic@2", evaluator="box@1", val_boxes="ss", selection="BV", tau_from="VT", metric="max_box_acc",
    iou_threshold="0.5", tau="0.2500", value=41.25, ci_low=38.0, ci_high=44.0, n=400, supervision="pseudo:ss",
    realistic=True, configs=3, seeds=1, missing="", study="s", record_hash="r", val_boxes_hash="v",
    test_boxes_hash="t", note="", code_version="0",
)  # fmt: skip


def printed(value: str, **changes: str) -> PublishedRow:
    plain = {
        "work": "a2020", "place": "table 1", "task": "wsol", "dataset": "cub", "split": "test", "part": "",
        "method": "cam", "variant": "", "venue": "", "backbone": "vgg16", "train_set": "", "val_boxes": "ss",
        "selection": "BV", "tau_from": "VT", "metric": "max_box_acc", "reading": "as_printed", "note": "",
    }  # fmt: skip
    return PublishedRow(**(plain | {"value": value} | changes))


ROWS = [
    printed("22.79"),
    printed("22.79", place="table 2", reading="inferred", note="policy not printed"),
    printed("30.1", work="b2021", reading="doubtful", note="scan"),
    printed("70.4", selection="BT", tau_from="TT", val_boxes="gt"),
    printed("50", method="has", metric="mean_iou"),
    printed("9", split="val"),
    printed("9", task="wsol_video"),
]


def test_the_same_cell_of_both_is_one_line_with_two_columns() -> None:
    (entry,) = [entry for entry in side_by_side(ROWS, [MEASURED]) if entry.policy == "BV-VT" and entry.method == "cam"]
    line = entry.as_dict()
    assert line["published"] == "22.79 vgg16 [a2020 table 1, table 2]; 30.1 vgg16 [b2021 table 1] (doubtful)"
    assert line["measured"] == "41.25 [38.00, 44.00], n = 400, cub@1, realistic@2"
    assert (line["dataset"], line["val_boxes"]) == ("cub", "ss")


def test_what_only_one_side_has_leaves_the_other_empty() -> None:
    entries = side_by_side(ROWS, [MEASURED])
    assert len(entries) == 3
    assert [entry.as_dict()["measured"] for entry in entries if not entry.measured] == [None, None]
    assert side_by_side([], [MEASURED])[0].as_dict()["published"] is None


def test_filters() -> None:
    assert {entry.method for entry in side_by_side(ROWS, [MEASURED], method="HAS")} == {"has"}
    assert {entry.policy for entry in side_by_side(ROWS, [MEASURED], policy="BT-TT")} == {"BT-TT"}
    assert {entry.metric for entry in side_by_side(ROWS, [MEASURED], metric="mean_iou")} == {"mean_iou"}
    assert side_by_side(ROWS, [MEASURED], dataset="ilsvrc") == []
