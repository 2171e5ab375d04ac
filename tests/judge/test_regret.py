"""Regrets equal their definitions, computed the long way from the scores."""

from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.judge.regret import regrets_of
from wsol_bench.judge.selection import chosen_epoch


@pytest.fixture(scope="module")
def regrets(contest):
    judgements, protocol, _ = contest
    return {(one.source, one.kind, one.oracle): one for one in regrets_of(judgements[0], protocol)}


def test_every_source_has_its_regrets(regrets) -> None:
    kinds = {source: {(k, o) for s, k, o in regrets if s == source} for source in ("cls", "gt", "ss", "mine")}
    selection = {(kind, oracle) for kind in ("epoch", "configuration") for oracle in ("test", "gt")}
    assert kinds["cls"] == selection
    assert kinds["gt"] == {("epoch", "test"), ("configuration", "test"), ("threshold", "test")}
    assert kinds["ss"] == kinds["mine"] == selection | {("threshold", "test"), ("threshold", "gt")}


def test_values_are_differences_of_table_cells(contest, regrets) -> None:
    judgement = contest[0][0]
    for source in ("gt", "ss", "mine"):
        cells = {label: judgement.find(source, label, "max_box_acc")[0] for label in ("BT-TT", "BV-TT", "BV-VT")}
        assert regrets[source, "configuration", "test"].value == pytest.approx(
            cells["BT-TT"].value - cells["BV-TT"].value
        )
        assert regrets[source, "threshold", "test"].value == pytest.approx(cells["BV-TT"].value - cells["BV-VT"].value)


def test_epoch_regret_looks_at_every_epoch_of_the_chosen_run(contest, regrets) -> None:
    judgements, protocol, _ = contest
    judgement = judgements[0]
    for source in ("cls", "gt", "ss"):
        chosen = judgement.find(source, "BV-TT", "max_box_acc")[0]
        run = judgement.scores[chosen.run]
        best = [run.test[epoch].curves.box_acc[1].max() for epoch in range(3)]
        regret = regrets[source, "epoch", "test"]
        assert (regret.chosen, regret.best) == pytest.approx((chosen.value, max(best)))
    with firewall.judging("test"):
        chosen = judgement.find("ss", "BV-TT", "max_box_acc")[0]
        run = judgement.scores[chosen.run]
        by_gt = chosen_epoch(run, "gt", protocol)
    assert regrets["ss", "epoch", "gt"].best == pytest.approx(run.test[by_gt].curves.box_acc[1].max())


def test_the_test_oracle_never_loses(regrets) -> None:
    for (_, _, oracle), regret in regrets.items():
        assert oracle == "gt" or regret.value >= 0
        assert regret.interval.low <= regret.interval.high
        assert np.isfinite([regret.interval.low, regret.interval.high]).all()
        if regret.best == regret.chosen:
            assert regret.interval.low <= 0 <= regret.interval.high


def test_epoch_zero_is_no_oracle_where_it_may_not_be_selected(contest) -> None:
    judgements, protocol, _ = contest
    late = protocol.model_copy(update={"epoch_zero_eligible": False})
    for regret in regrets_of(judgements[0], late):
        if regret.kind == "epoch" and regret.oracle == "test":
            run = judgements[0].scores
            assert regret.best <= max(one.test[e].curves.box_acc[1].max() for one in run for e in (1, 2))
