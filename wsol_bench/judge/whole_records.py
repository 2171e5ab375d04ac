"""Decisions from what is whole: test records are read when a decision needs them, and some may be damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

from wsol_bench.judge.scoring import RecordedRun, UnreadableTestError


class _Scores(Protocol):
    def without(self, epoch: int, /) -> Self | None:
        """Returns the run as if it had never finished the epoch with this number; None where none is left."""


Scores = TypeVar("Scores", bound=_Scores)
Decided = TypeVar("Decided")


def decide_from_whole(
    runs: Sequence[RecordedRun],
    scored: list[Scores | None],
    decide: Callable[[list[Scores]], Decided],
    dropped: list[str] | None,
) -> Decided:
    """Decides, anew without every epoch whose test record turns out to be unusable.

    Args:
        runs: the recorded runs.
        scored: their scores, None where nothing is left; changed in place.
        decide: makes the decisions from the scores that are left.
        dropped: takes what was wrong; None takes an unusable record for an error.

    Raises:
        UnreadableTestError: a record is unusable and ``dropped`` is None.
    """
    while True:
        try:
            return decide([scores for scores in scored if scores is not None])
        except UnreadableTestError as error:
            if dropped is None:
                raise
            dropped.append(str(error))
            place = next(k for k, run in enumerate(runs) if run.folder == error.run.folder)
            kept = scored[place]
            scored[place] = None if kept is None else kept.without(error.epoch)
