"""Selection regret: what a source's choice of epoch, configuration or threshold costs on the test set.

Each kind changes one choice and keeps the other two, so that regrets can be told apart:

* ``epoch``: the oracle picks another epoch of the run that the source chose;
* ``configuration``: the oracle picks another run, each at the epoch that the source chose in it;
* ``threshold``: the oracle picks another threshold for the model that the source chose.

Epochs and configurations are compared at each model's best test threshold, so that no threshold blurs them. The oracle
``test`` looks at the test set itself: regret is never negative, and part of it no validation set could save. The oracle
``gt`` has manual boxes of the same validation images: what drawing boxes would have gained, negative where
pseudo-boxes were luckier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.scores import CLS, GT
from wsol_bench.judge.selection import Decision, cell_of, chosen_epoch, first_best, selection_level, validation_score
from wsol_bench.metrics.bootstrap import Interval, percentile_interval
from wsol_bench.protocol import Metric, Protocol, Threshold

Kind = Literal["epoch", "configuration", "threshold"]
Oracle = Literal["test", "gt"]


@dataclass(frozen=True)
class Regret:
    """What one choice of one source costs.

    Attributes:
        method: registered name.
        source: who chose.
        kind: which choice is questioned.
        oracle: who would have chosen better.
        metric: what is compared.
        chosen: test number of the source's choice, percent.
        best: test number of the oracle's choice.
        interval: 95 % interval of the difference, paired over test images; both choices stay fixed, thresholds that
            are the best of the test set are taken again in every replicate.
    """

    method: str
    source: str
    kind: Kind
    oracle: Oracle
    metric: str
    chosen: float
    best: float
    interval: Interval

    @property
    def value(self) -> float:
        """The regret in points."""
        return self.best - self.chosen


def regrets_of(judgement: Judgement, protocol: Protocol, metric: Metric | None = None) -> list[Regret]:
    """Returns the regrets of every source of a judgement.

    Epochs with the oracle ``test`` need the test records of all epochs of the chosen run.

    Args:
        judgement: what was judged.
        protocol: the rules.
        metric: what is compared; the protocol's headline metric when None.

    Raises:
        RecordError: a test record is damaged.
    """
    with firewall.judging(f"the regrets of '{judgement.method}'"):
        return [
            regret
            for source in judgement.sources
            for regret in _OfSource(judgement, source, protocol, metric or protocol.headline.metric).all()
        ]


class _OfSource:
    def __init__(self, judgement: Judgement, source: str, protocol: Protocol, metric: Metric) -> None:
        self._judgement = judgement
        self._source = source
        self._protocol = protocol
        self._metric = metric
        runs = judgement.scores
        self._epochs = [chosen_epoch(run, source, protocol) for run in runs]
        keys = [validation_score(run, source, protocol)[epoch] for run, epoch in zip(runs, self._epochs, strict=True)]
        self._run = int(np.argmax(keys))
        self._epoch = self._epochs[self._run]
        self._has_gt = source != GT and GT in runs[0].val

    def all(self) -> list[Regret]:
        chosen = self._cell(self._run, self._epoch)
        found = [
            self._regret("epoch", "test", chosen, self._best_test([(self._run, e) for e in self._eligible()])),
            self._regret("configuration", "test", chosen, self._best_test(list(enumerate(self._epochs)))),
        ]
        if self._has_gt:
            run = self._judgement.scores[self._run]
            found += [
                self._regret("epoch", "gt", chosen, self._cell(self._run, chosen_epoch(run, GT, self._protocol))),
                self._regret("configuration", "gt", chosen, self._cell(*self._best_by_gt())),
            ]
        if self._source != CLS:
            frozen = self._cell(self._run, self._epoch, "VT")
            found.append(self._regret("threshold", "test", frozen, chosen))
            if self._has_gt:
                by_gt = self._cell(self._run, self._epoch, "VT", GT)
                found.append(self._regret("threshold", "gt", frozen, by_gt))
        return found

    def _cell(self, run: int, epoch: int, threshold: Threshold = "TT", source: str | None = None) -> Decision:
        runs = self._judgement.scores
        return cell_of(runs, run, epoch, source or self._source, threshold, self._metric, self._protocol)

    def _eligible(self) -> list[int]:
        epochs = self._judgement.scores[self._run].epochs
        start = first_best(np.zeros(len(epochs)), epochs, self._protocol)
        return list(range(start, len(epochs)))

    def _best_test(self, candidates: list[tuple[int, int]]) -> Decision:
        cells = [self._cell(run, epoch) for run, epoch in candidates]
        return cells[int(np.argmax([cell.value for cell in cells]))]

    def _best_by_gt(self) -> tuple[int, int]:
        level = selection_level(self._protocol)
        keys = [
            run.val_scores(GT).box_acc[epoch, level]
            for run, epoch in zip(self._judgement.scores, self._epochs, strict=True)
        ]
        best = int(np.argmax(keys))
        return best, self._epochs[best]

    def _regret(self, kind: str, oracle: str, chosen: Decision, best: Decision) -> Regret:
        runs, resampled = self._judgement.runs, self._judgement.resampled
        difference = resampled.of(best, runs[best.run]) - resampled.of(chosen, runs[chosen.run])
        return Regret(
            method=self._judgement.method,
            source=self._source,
            kind=cast(Kind, kind),
            oracle=cast(Oracle, oracle),
            metric=self._metric,
            chosen=chosen.value,
            best=best.value,
            interval=percentile_interval(difference),
        )
