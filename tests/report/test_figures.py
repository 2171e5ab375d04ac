"""Figures show a curve for every source, whatever the protocol's headline policy is."""

from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.annotations import firewall
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.scores import AccuracyCurves, RunScores, TestScores, ValidationScores
from wsol_bench.judge.selection import decide_all
from wsol_bench.protocol import Protocol, load_protocol
from wsol_bench.report import figures

EPOCHS, TAUS = 3, np.linspace(0, 0.9, 10)


def _curves(rng: np.random.Generator, taus: int = len(TAUS), height: float = 100.0) -> AccuracyCurves:
    box_acc = -np.sort(-rng.uniform(height / 2, height, (3, taus)), axis=0)
    return AccuracyCurves(box_acc, box_acc[1], box_acc / 2)


def _judgement(rng: np.random.Generator, protocol: Protocol, name: str = "cam", height: float = 100.0) -> Judgement:
    table = rng.uniform(0, height, (EPOCHS, 3, len(TAUS)))
    val = {"gt": ValidationScores.of(table, table[:, 1])}
    test = {epoch: TestScores(50.0, _curves(rng, height=height), _curves(rng, 1, height), 9) for epoch in range(EPOCHS)}
    run = RunScores(f"{name}/0", (0, 1, 2), TAUS, TAUS, rng.uniform(0, 100, EPOCHS), val, {"gt": "gt"}, test)
    decisions = tuple(decide_all([run], ["gt"], protocol))
    return Judgement(
        method=name,
        runs=(),
        decisions=decisions,
        replicates=np.zeros((len(decisions), 2)),
        num_images=9,
        sources=("gt",),
        box_hashes={},
        scores=(run,),
        resampled=None,
    )


@pytest.mark.parametrize(("protocol_name", "policy"), [("realistic", "frozen on"), ("choe2020", "the best on test")])
def test_every_source_has_a_curve(protocol_name, policy, tmp_path, monkeypatch):
    rng, protocol = np.random.default_rng(0), load_protocol(protocol_name)
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, _: drawn.append(figure))
    with firewall.judging("test"):
        judgement = _judgement(rng, protocol)
        figures.tau_figure([judgement], ["gt"], protocol, tmp_path / "tau.png")
        figures.epochs_figure(judgement, ["gt"], protocol, tmp_path / "epochs.png")
    tau, epochs = drawn
    assert [len(line.get_xdata()) for line in tau.axes[0].lines] == [len(TAUS), 1]
    assert policy in tau.axes[0].get_xlabel()
    assert [len(line.get_xdata()) for line in epochs.axes[0].lines] == [EPOCHS, 1]


def test_the_axis_of_thresholds_shows_the_highest_of_all_methods(tmp_path, monkeypatch):
    rng, protocol = np.random.default_rng(0), load_protocol("realistic")
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, *_: drawn.append(figure))
    with firewall.judging("test"):
        judgements = [_judgement(rng, protocol, name, height) for name, height in (("low", 20.0), ("high", 90.0))]
        figures.tau_figure(judgements, ["gt"], protocol, tmp_path / "tau.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert low == 0 and high > 50
