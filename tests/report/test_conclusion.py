"""The first sentence of the report says neither more nor less than the intervals do."""

from __future__ import annotations

import pytest

from wsol_bench.report.conclusion import Gap, in_words, points


def gap(difference: float, low: float, high: float) -> Gap:
    return Gap("cam", "ss", (30.0, 25.0, 35.0), (30.0 + difference, 30.0, 40.0), (difference, low, high))


OVER, MORE, UNDER, OPEN = gap(4.0, 1.0, 7.0), gap(9.04, 5.0, 12.0), gap(-2.0, -3.0, -1.0), gap(1.0, 0.0, 2.0)


def test_verdicts() -> None:
    assert [one.verdict for one in (OVER, UNDER, OPEN)] == ["overstated", "understated", "not resolved"]


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([], "no pair of a realistic number"),
        ([OVER], "overstates the result in the one comparison made by 4.0 points."),
        ([OVER, MORE], "overstates the result in all 2 comparisons by 4.0 to 9.0 points."),
        ([OVER, OVER, OPEN], "In the other one the test images show no clear difference."),
        ([OVER, OPEN, OPEN], "in 1 of 3 comparisons by 4.0 points. In the other 2 the test images show no clear"),
        ([OPEN], "In the one comparison made the test images show no clear difference to the usual practice."),
        ([UNDER, OVER], "in 1 of 2 comparisons by 4.0 points. It understates it in 1 of 2 comparisons by 2.0 points."),
        ([UNDER], "The usual practice understates the result in the one comparison made by 2.0 points."),
    ],
)
def test_words(gaps, expected) -> None:
    assert expected in in_words(gaps)


def test_points() -> None:
    assert [points(value) for value in (-0.04, 0.04, -1.25, 3.0)] == ["0.0", "0.0", "\u22121.2", "3.0"]
