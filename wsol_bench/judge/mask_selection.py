"""Selection by masks: PxAP when class labels, exact, eroded or pseudo-masks choose (thesis, section 4.6.6, Table 4.9).

PxAP integrates over thresholds, so there is no threshold to choose: only the epoch, by validation PxAP against the
source, and the configuration, by the same number (BV) or by the test PxAP that is reported (BT). Class labels choose by
classification, as for boxes. Records must hold maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.errors import RecordError
from wsol_bench.judge.frame_masks import MapsOrigin
from wsol_bench.judge.judgement import Decided, refuse_unfinished
from wsol_bench.judge.mask_scoring import MaskScorer, MaskScores, ScoringMasks
from wsol_bench.judge.scores import CLS, GT, PX_AP
from wsol_bench.judge.scoring import RecordedRun, summary_of
from wsol_bench.judge.selection import Decision, condensed, first_best
from wsol_bench.judge.whole_records import decide_from_whole
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES
from wsol_bench.protocol import Protocol, Selection


@dataclass(frozen=True, kw_only=True)
class MaskJudgement(Decided):
    """What the judge of masks found for one method on one dataset.

    Attributes:
        scores: scores of the runs, in their order.
    """

    scores: tuple[MaskScores, ...]


def judge_masks(
    method: str,
    runs: Sequence[RecordedRun],
    masks: ScoringMasks,
    sources: Sequence[str],
    protocol: Protocol,
    *,
    replicates: int = DEFAULT_REPLICATES,
    threads: int = 1,
    absent: Sequence[str] = (),
    unfinished: Sequence[str] = (),
    allow_missing: bool = False,
) -> MaskJudgement:
    """Lets every source select among the runs of a method, and reports test PxAP against the exact masks.

    Args:
        method: registered name.
        runs: recorded runs with maps.
        masks: what to score against.
        sources: selection sources, ``cls`` and names of ``masks.val``.
        protocol: selections, eligible epochs, and how class labels pick; its thresholds and metrics play no part.
        replicates: bootstrap replicates behind each interval.
        threads: records that are read and scored at the same time.
        absent: labels of planned runs without records; an error unless ``allow_missing``.
        unfinished: labels of runs that have not ended; likewise.
        allow_missing: go on with what is whole; every row then says what is missing.

    Raises:
        RecordError: there is no run, or records are missing, damaged or without maps; all of them are named.
        UsageError: an image has no mask.
        DataError: a set of masks holds no object.
    """
    if not allow_missing:
        refuse_unfinished(method, [*absent, *unfinished])
    with firewall.judging(f"the judge of masks of '{method}'"):
        scorer = MaskScorer(masks, threads)
        dropped: list[str] = []
        scored = scorer.score(runs, dropped if allow_missing else None)

        def decide(competing: list[MaskScores]) -> list[Decision]:
            if not competing:
                why = f": {summary_of(dropped)}" if dropped else "."
                raise RecordError(f"Expected a usable record of '{method}' to select from but there is none{why}")
            return _Judge(competing, masks, scorer, protocol).decide_all(sources)

        decisions = decide_from_whole(runs, scored, decide, dropped if allow_missing else None)
        competing = [one for one in scored if one is not None]
        results = [scorer.test(competing[one.run].run, one.epoch, replicates).px_ap for one in decisions]
    return MaskJudgement(
        method=method,
        runs=tuple(one.run for one in competing),
        scores=tuple(competing),
        decisions=tuple(decisions),
        replicates=np.stack([np.asarray(result.replicates) for result in results]),
        num_images=results[0].n,
        sources=tuple(sources),
        box_hashes={name: one.digest for name, one in masks.val.items()} | {"test": masks.test.digest},
        absent=(*absent, *(run.label for run, one in zip(runs, scored, strict=True) if one is None)),
        unfinished=tuple(unfinished),
        dropped=tuple(dropped),
    )


def chosen_by_labels(runs: Sequence[RecordedRun], protocol: Protocol, *, allow_missing: bool = False) -> MapsOrigin:
    """Returns the run and epoch that class labels choose on the validation split: whose maps may become pseudo-masks.

    Args:
        runs: recorded runs of one method.
        protocol: which epochs are eligible.
        allow_missing: leave out epochs whose records cannot be read.

    Raises:
        RecordError: a record is missing or damaged, or there is none.
    """
    best: tuple[float, MapsOrigin] | None = None
    for run in runs:
        epochs, top1 = [], []
        for epoch in run.epochs:
            try:
                hits = run.record("val", epoch).top1_hits
            except RecordError:
                if allow_missing:
                    continue
                raise
            epochs.append(epoch)
            top1.append(float(np.mean(hits)))
        if epochs:
            place = first_best(np.asarray(top1), epochs, protocol)
            if best is None or top1[place] > best[0]:
                best = top1[place], MapsOrigin(run, epochs[place])
    if best is None:
        raise RecordError("Expected at least one recorded epoch to take maps from but there is none.")
    return best[1]


@dataclass(frozen=True)
class _Judge:
    runs: Sequence[MaskScores]
    masks: ScoringMasks
    scorer: MaskScorer
    protocol: Protocol

    def decide_all(self, sources: Sequence[str]) -> list[Decision]:
        if "BT" in self.protocol.selections:
            epochs = {source: self._epochs(source) for source in sources}
            self.scorer.read_ahead(
                (one.run, epoch) for numbers in epochs.values() for one, epoch in zip(self.runs, numbers, strict=True)
            )
        return [self._decide(source, selection) for source in sources for selection in self.protocol.selections]

    def _decide(self, source: str, selection: Selection) -> Decision:
        with firewall.ledger() as book:
            if source != CLS:
                firewall.read(self.masks.val[source].key, "val")
            epochs = self._epochs(source)
            if selection == "BV":
                keys = [self._validation(one, source)[self._place(one, source)] for one in self.runs]
            elif source == CLS and self.protocol.cls_bt_key == "top1":
                firewall.read("labels", "test")
                keys = [self.scorer.test(one.run, epoch).top1 for one, epoch in zip(self.runs, epochs, strict=True)]
            else:
                firewall.read(GT, "test")
                keys = [
                    self.scorer.test(one.run, epoch).px_ap.px_ap for one, epoch in zip(self.runs, epochs, strict=True)
                ]
            chosen = int(np.argmax(keys))
        run, epoch = self.runs[chosen].run, epochs[chosen]
        value = self.scorer.test(run, epoch).px_ap.px_ap
        return Decision(
            source=source,
            selection=selection,
            threshold="none",
            metric=PX_AP,
            run=chosen,
            epoch=epoch,
            taus=(),
            value=value,
            supervision=book.supervision(),
            note=self._note(source),
            parts=(value,),
            accesses=condensed(book.accesses),
        )

    def _epochs(self, source: str) -> list[int]:
        """The epoch that a source picks in each run, by number."""
        return [one.run.epochs[self._place(one, source)] for one in self.runs]

    def _place(self, scores: MaskScores, source: str) -> int:
        return first_best(self._validation(scores, source), scores.run.epochs, self.protocol)

    def _validation(self, scores: MaskScores, source: str) -> np.typing.NDArray[np.float64]:
        return scores.val_top1 if source == CLS else scores.val[source]

    def _note(self, source: str) -> str:
        if source == CLS:
            frozen = all(len(one.val_top1) > 1 and np.ptp(one.val_top1) == 0 for one in self.runs)
            return "undefined: classification does not change over the epochs" if frozen else ""
        origin = self.masks.val[source].origin
        if origin is not None and any(one.run.folder == origin.run.folder for one in self.runs):
            return f"made of this method's own maps ({origin.run.label}, epoch {origin.epoch}), which they favour"
        return ""
