"""The three decisions, on the worked example of the protocol's specification and on small constructed cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.errors import FirewallError, UsageError
from wsol_bench.judge.scores import AccuracyCurves, RunScores, TestScores, ValidationScores
from wsol_bench.judge.selection import decide, decide_all
from wsol_bench.protocol import Protocol, load_protocol

TAUS = np.array([0.2, 0.4, 0.6])

# Invented accuracies at three thresholds: val against RPN boxes, test against manual boxes, top-1 on val and test,
# and box accuracy with Otsu, for three epochs of three configurations.
TOY = {
    "A": ([[40, 35, 20], [62, 58, 30], [55, 50, 28]], [[45, 38, 22], [60, 66, 35], [57, 61, 33]],
          [10, 55, 61], [9, 53, 62], [20, 33, 30]),
    "B": ([[38, 41, 25], [50, 60, 45], [52, 59, 50]], [[40, 44, 26], [52, 64, 48], [55, 67, 50]],
          [12, 58, 60], [10, 57, 65], [21, 36, 34]),
    "C": ([[30, 33, 31], [44, 52, 57], [45, 55, 56]], [[32, 36, 30], [50, 69, 63], [51, 70, 62]],
          [11, 50, 64], [10, 52, 63], [19, 31, 28]),
}  # fmt: skip


@pytest.fixture
def protocol() -> Protocol:
    return load_protocol("realistic").model_copy(update={"iou_thresholds": (0.5,), "metrics": ("max_box_acc",)})


@pytest.fixture
def toy() -> list[RunScores]:
    return [_run(label, *numbers) for label, numbers in TOY.items()]


def _curves(accuracy) -> AccuracyCurves:
    row = np.asarray(accuracy, dtype=np.float64)
    return AccuracyCurves(box_acc=row[None], mean_iou=row, top1_loc=row[None])


def _run(label, val, test, val_top1, test_top1, otsu, sources=("rpn",)) -> RunScores:
    table = np.asarray(val, dtype=np.float64)
    return RunScores(
        label=label,
        epochs=tuple(range(len(val))),
        taus=TAUS,
        val_taus=TAUS,
        val_top1=np.asarray(val_top1, dtype=np.float64),
        val={source: ValidationScores.of(table[:, None], table) for source in sources},
        ledger_keys={source: "gt" if source == "gt" else f"pseudo:{source}" for source in sources},
        test={
            epoch: TestScores(float(top1), _curves(row), _curves([best]), 100)
            for epoch, (row, top1, best) in enumerate(zip(test, test_top1, otsu, strict=True))
        },
    )


@pytest.mark.parametrize(
    ("source", "selection", "threshold", "label", "value"),
    [
        ("rpn", "BT", "TT", "C", 69),
        ("rpn", "BT", "VT", "B", 64),
        ("rpn", "BV", "TT", "A", 66),
        ("rpn", "BV", "VT", "A", 60),
        ("cls", "BV", "OT", "C", 28),
        ("cls", "BT", "OT", "B", 34),
        ("cls", "BT", "TT", "B", 67),
    ],
)
def test_toy_example(toy, protocol, source, selection, threshold, label, value):
    with firewall.judging("test"):
        decision = decide(toy, source, selection, threshold, "max_box_acc", protocol)
    assert toy[decision.run].label == label
    assert decision.value == value


def test_toy_example_epochs_and_thresholds(toy, protocol):
    with firewall.judging("test"):
        chosen = decide(toy, "rpn", "BV", "VT", "max_box_acc", protocol)
        labels_only = decide(toy, "cls", "BV", "OT", "max_box_acc", protocol)
    assert (chosen.epoch, chosen.taus) == (1, (0.2,))
    assert (labels_only.epoch, labels_only.taus) == (2, ())


def test_toy_example_keeping_the_configuration_of_tt(toy, protocol):
    """The eighth number: BT-VT without selecting again keeps C and gives 63."""
    kept = protocol.model_copy(update={"reselect_per_policy": False})
    with firewall.judging("test"):
        decision = decide(toy, "rpn", "BT", "VT", "max_box_acc", kept)
    assert (toy[decision.run].label, decision.value) == ("C", 63)


@pytest.mark.parametrize(
    ("source", "selection", "threshold", "supervision", "realistic"),
    [
        ("rpn", "BV", "VT", "pseudo:rpn", True),
        ("rpn", "BV", "TT", "gt:test+pseudo:rpn", False),
        ("rpn", "BT", "VT", "gt:test+pseudo:rpn", False),
        ("cls", "BV", "OT", "none", True),
        ("cls", "BV", "TT", "gt:test", False),
        ("cls", "BT", "OT", "labels:test", False),
    ],
)
def test_supervision_is_what_the_choice_read(toy, protocol, source, selection, threshold, supervision, realistic):
    with firewall.judging("test"):
        decision = decide(toy, source, selection, threshold, "max_box_acc", protocol)
    assert (decision.supervision, decision.realistic) == (supervision, realistic)


def test_selecting_with_ground_truth_is_marked(protocol):
    run = _run("A", *TOY["A"], sources=("gt",))
    with firewall.judging("test"):
        decision = decide([run], "gt", "BV", "VT", "max_box_acc", protocol)
    assert (decision.supervision, decision.realistic) == ("gt:val", False)


def test_ground_truth_scores_need_the_judge(toy, protocol):
    with pytest.raises(FirewallError):
        decide(toy, "rpn", "BT", "TT", "max_box_acc", protocol)


def test_ties_take_the_first_epoch_threshold_and_configuration(protocol):
    flat = [[50.0, 50.0, 50.0]] * 3
    runs = [_run(label, flat, flat, [5, 5, 5], [5, 5, 5], [1, 1, 1]) for label in "AB"]
    with firewall.judging("test"):
        decision = decide(runs, "rpn", "BV", "VT", "max_box_acc", protocol)
        labels_only = decide(runs, "cls", "BV", "OT", "max_box_acc", protocol)
    assert (decision.run, decision.epoch, decision.taus) == (0, 0, (0.2,))
    assert labels_only.note.startswith("undefined")


def test_epoch_zero_can_be_excluded(protocol):
    best_untrained = [[90, 0, 0], [10, 0, 0], [20, 0, 0]]
    run = _run("A", best_untrained, best_untrained, [1, 2, 3], [1, 2, 3], [0, 0, 0])
    with firewall.judging("test"):
        eligible = decide([run], "rpn", "BV", "VT", "max_box_acc", protocol)
        excluded = decide(
            [run], "rpn", "BV", "VT", "max_box_acc", protocol.model_copy(update={"epoch_zero_eligible": False})
        )
    assert (eligible.epoch, excluded.epoch) == (0, 2)


def test_each_iou_level_has_its_own_threshold(protocol):
    """Level 0.3 peaks at the first tau, level 0.7 at the last: their mean takes each at its own."""
    three = protocol.model_copy(update={"iou_thresholds": (0.3, 0.5, 0.7), "metrics": ("box_acc_mean",)})
    table = np.array([[90.0, 50.0, 10.0], [20.0, 60.0, 20.0], [0.0, 5.0, 30.0]])
    run = RunScores(
        "A", (0,), TAUS, TAUS, np.array([1.0]), {"rpn": ValidationScores.of(table[None], table[None, 1])},
        {"rpn": "pseudo:rpn"},
        {0: TestScores(1.0, AccuracyCurves(table, table[1], table / 2), _curves([0.0]), 100)},
    )  # fmt: skip
    with firewall.judging("test"):
        mean = decide([run], "rpn", "BV", "VT", "box_acc_mean", three)
        top1 = decide([run], "rpn", "BV", "VT", "top1_loc", three)
        iou = decide([run], "rpn", "BV", "VT", "mean_iou", three)
    assert mean.taus == (0.2, 0.4, 0.6)
    assert mean.value == pytest.approx((90 + 60 + 30) / 3)
    assert (top1.value, top1.taus) == (30.0, (0.4,))
    assert (iou.value, iou.taus) == (60.0, (0.4,))
    assert mean.parts == (90.0, 60.0, 30.0)
    shared = three.model_copy(update={"tau_per_iou": "shared"})
    with firewall.judging("test"):
        mean = decide([run], "rpn", "BV", "VT", "box_acc_mean", shared)
    assert mean.parts == (50.0, 60.0, 5.0)
    assert mean.taus == (0.4, 0.4, 0.4)


def test_all_cells_of_the_protocol(toy, protocol):
    with firewall.judging("test"):
        decisions = decide_all(toy, ["cls", "rpn"], protocol)
    labels = {(decision.source, decision.label) for decision in decisions}
    assert labels == {
        ("cls", "BT-OT"), ("cls", "BV-OT"), ("cls", "BT-TT"), ("cls", "BV-TT"),
        ("rpn", "BT-TT"), ("rpn", "BT-VT"), ("rpn", "BV-TT"), ("rpn", "BV-VT"),
    }  # fmt: skip


def test_order_of_policies_holds_on_random_scores(protocol):
    rng = np.random.default_rng(0)
    for _ in range(50):
        runs = [
            _run(str(k), rng.uniform(0, 100, (4, 3)), rng.uniform(0, 100, (4, 3)), rng.uniform(0, 100, 4),
                 rng.uniform(0, 100, 4), rng.uniform(0, 100, 4))
            for k in range(3)
        ]  # fmt: skip
        with firewall.judging("test"):
            decide_all(runs, ["rpn"], protocol)


def test_nothing_to_select_from(toy, protocol):
    with pytest.raises(UsageError, match="wsol-bench sweep"):
        decide_all([], ["rpn"], protocol)
    with firewall.judging("test"), pytest.raises(UsageError, match="'clip'"):
        decide_all(toy, ["clip"], protocol)


def test_mean_iou_is_that_of_the_model_with_the_best_box_accuracy(protocol):
    """Rule A9: the column beside MaxBoxAcc describes the same model; the other reading picks one for itself."""
    strict, loose = ([[40.0, 60.0, 20.0]], [50.0]), ([[30.0, 50.0, 20.0]], [70.0])
    runs = []
    for label, (accuracy, iou) in (("strict", strict), ("loose", loose)):
        run = _run(label, accuracy, accuracy, [1], [1], [1])
        scores = run.test[0]
        runs.append(replace(run, test={0: replace(scores, curves=replace(scores.curves, mean_iou=np.array(iou * 3)))}))
    own = protocol.model_copy(update={"mean_iou_model": "mean_iou"})
    with firewall.judging("test"):
        same_model = decide(runs, "rpn", "BT", "TT", "mean_iou", protocol)
        own_model = decide(runs, "rpn", "BT", "TT", "mean_iou", own)
    assert (runs[same_model.run].label, same_model.value) == ("strict", 50.0)
    assert (runs[own_model.run].label, own_model.value) == ("loose", 70.0)


def test_one_key_for_all_metrics(protocol):
    """``bt_key: selection`` takes the configuration of the best box accuracy, whatever is reported."""
    three = protocol.model_copy(update={"iou_thresholds": (0.3, 0.5, 0.7), "bt_key": "selection"})
    levels = {"A": [50.0, 40.0, 0.0], "B": [90.0, 30.0, 20.0]}
    runs = []
    for label, values in levels.items():
        table = np.asarray(values)[:, None] * np.ones((1, 3))
        run = _run(label, [[1, 1, 1]], [[1, 1, 1]], [1], [1], [1])
        curves = AccuracyCurves(table, table[1], table)
        val = {"rpn": ValidationScores.of(table[None], table[None, 1])}
        runs.append(replace(run, val=val, test={0: TestScores(1.0, curves, curves, 100)}))
    with firewall.judging("test"):
        by_selection = decide(runs, "rpn", "BT", "TT", "box_acc_mean", three)
        by_itself = decide(runs, "rpn", "BT", "TT", "box_acc_mean", three.model_copy(update={"bt_key": "reported"}))
    assert [runs[one.run].label for one in (by_selection, by_itself)] == ["A", "B"]


def test_class_labels_may_pick_by_the_reported_number(toy, protocol):
    reported = protocol.model_copy(update={"cls_bt_key": "reported"})
    with firewall.judging("test"):
        decision = decide(toy, "cls", "BT", "TT", "max_box_acc", reported)
    assert (toy[decision.run].label, decision.value, decision.supervision) == ("C", 70, "gt:test")
    only_otsu = protocol.model_copy(update={"cls_thresholds": ("OT",)})
    with firewall.judging("test"):
        labels = {decision.label for decision in decide_all(toy, ["cls"], only_otsu)}
    assert labels == {"BT-OT", "BV-OT"}


def test_a_threshold_that_does_not_transfer_is_noted(protocol):
    run = _run("A", [[60, 40, 30]], [[20, 45, 10]], [1], [1], [1])
    with firewall.judging("test"):
        flagged = decide([run], "rpn", "BV", "VT", "max_box_acc", protocol)
        best = decide([run], "rpn", "BV", "TT", "max_box_acc", protocol)
        tolerant = decide([run], "rpn", "BV", "VT", "max_box_acc", protocol.model_copy(update={"flag_tau_loss": 25.0}))
    assert flagged.note == "the frozen threshold loses 25.0 points against the best one of the test set"
    assert (best.note, tolerant.note) == ("", "")
    # The remark looks at the test set, the choice did not.
    assert flagged.supervision == "pseudo:rpn"


def test_a_coarser_validation_grid_freezes_the_same_tau(protocol):
    """The reference code looks at 250 thresholds on validation and at 1,000 on test."""
    run = _run("A", [[10, 90]], [[1, 2, 3, 4]], [1], [1], [1])
    run = replace(run, val_taus=np.array([0.0, 0.4]), taus=np.array([0.0, 0.2, 0.4, 0.6]))
    with firewall.judging("test"):
        decision = decide([run], "rpn", "BV", "VT", "max_box_acc", protocol)
    assert (decision.taus, decision.value) == ((0.4,), 3)


def test_accesses_are_counted_not_listed(toy, protocol):
    with firewall.judging("the judge of 'toy'"):
        decision = decide(toy, "rpn", "BT", "VT", "max_box_acc", protocol)
    assert {(a.source, a.split, a.reader) for a in decision.accesses} == {
        ("pseudo:rpn", "val", "the judge of 'toy'"), ("gt", "test", "the judge of 'toy'"),
    }  # fmt: skip
    assert sum(access.count for access in decision.accesses) > len(decision.accesses)
