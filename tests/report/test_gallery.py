"""Disagreement of sources about an image."""

from __future__ import annotations

import pytest

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.report.gallery import disagreement


def boxes_of(*each: list[tuple[int, int, int, int]]) -> BoxSet:
    return BoxSet.from_mapping(dict(zip("abc", each, strict=True)), dict.fromkeys("abc", (10, 10)))


class _Record:
    ids, frame = ("a", "b", "c"), 10


def test_disagreement() -> None:
    same = [(0, 0, 9, 9)]
    half = [(0, 0, 4, 9)]
    far = [(9, 9, 9, 9)]
    one, two = boxes_of(same, same, half), boxes_of(same, half, far)
    assert disagreement({"one": one}, _Record()) is None
    found = disagreement({"one": one, "two": two}, _Record())
    assert found.tolist() == pytest.approx([0.0, 0.5, 1.0])
    three = boxes_of(same, same, same)
    found = disagreement({"one": one, "two": two, "three": three}, _Record())
    assert found.tolist() == pytest.approx([0.0, 1 / 3, 1 - (0.5 + 0.01) / 3])
    several = boxes_of([*far, *same], same, same)
    assert disagreement({"one": several, "two": one}, _Record())[0] == 0.0
