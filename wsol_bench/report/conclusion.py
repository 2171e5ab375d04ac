"""What a study concludes, in words and as the first table of the report: how much the usual practice overstates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsol_bench.judge.judgement import Overstatement
from wsol_bench.judge.rows import ResultRow, find
from wsol_bench.protocol import Protocol


@dataclass(frozen=True)
class Gap:
    """The usual practice beside the realistic protocol, for one method and source; percent and points.

    Attributes:
        method: registered name.
        source: the pseudo-boxes.
        realistic: BV-VT with them, value and bounds of its interval.
        usual: BT-TT with manual boxes, likewise.
        difference: ``usual - realistic``, with its paired interval.
    """

    method: str
    source: str
    realistic: tuple[float, float, float]
    usual: tuple[float, float, float]
    difference: tuple[float, float, float]

    @property
    def verdict(self) -> str:
        """``overstated``, ``understated``, or ``not resolved`` where the interval holds zero."""
        _, low, high = self.difference
        return "overstated" if low > 0 else "understated" if high < 0 else "not resolved"


def gaps_of(
    overstatements: Mapping[str, Sequence[Overstatement]], rows: Sequence[ResultRow], protocol: Protocol
) -> list[Gap]:
    """Returns all gaps of a study, with the intervals of both numbers from its rows."""
    policy = protocol.headline

    def triple(method: str, source: str, selection: str, tau_from: str) -> tuple[float, float, float]:
        row = find(rows, method=method, val_boxes=source, selection=selection, tau_from=tau_from, metric=policy.metric)
        if row is None:
            raise ValueError(f"no row of {method}, {source}, {selection}-{tau_from}")
        return row.value, row.ci_low, row.ci_high

    return [
        Gap(
            method=method,
            source=gap.source,
            realistic=triple(method, gap.source, policy.selection, policy.threshold),
            usual=triple(method, gap.usual.source, gap.usual.selection, gap.usual.threshold),
            difference=(gap.difference, gap.interval.low, gap.interval.high),
        )
        for method, gaps in overstatements.items()
        for gap in gaps
    ]


def in_words(gaps: Sequence[Gap]) -> str:
    """Says in one or two sentences what the gaps are."""
    if not gaps:
        return (
            "This study has no pair of a realistic number and the usual practice to compare: that needs pseudo-boxes "
            "and manual boxes among the sources, and a protocol that allows both."
        )
    over = [gap for gap in gaps if gap.verdict == "overstated"]
    under = [gap for gap in gaps if gap.verdict == "understated"]
    open_ = [gap for gap in gaps if gap.verdict == "not resolved"]
    parts = []
    if over:
        parts.append(
            f"The usual practice, which selects and thresholds with manual boxes of the test set, overstates the "
            f"result in {_of(over, gaps)} by {_range(over)} points."
        )
    if under:
        what = "It understates it" if over else "The usual practice understates the result"
        parts.append(f"{what} in {_of(under, gaps)} by {_range(under)} points.")
    if open_:
        if not parts:
            parts.append(f"In {_of(open_, gaps)} the test images show no clear difference to the usual practice.")
        else:
            parts.append(
                f"In the other {len(open_) if len(open_) > 1 else 'one'} the test images show no clear difference."
            )
    return " ".join(parts)


def points(value: float) -> str:
    """Returns points with one decimal and a true minus sign, never "-0.0"."""
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "\u2212")


def _of(some: Sequence[Gap], gaps: Sequence[Gap]) -> str:
    if len(gaps) == 1:
        return "the one comparison made"
    return f"all {len(gaps)} comparisons" if len(some) == len(gaps) else f"{len(some)} of {len(gaps)} comparisons"


def _range(gaps: Sequence[Gap]) -> str:
    low, high = (choose(abs(gap.difference[0]) for gap in gaps) for choose in (min, max))
    return f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
