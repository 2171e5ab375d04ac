from __future__ import annotations

from wsol_bench.datasets.hold_out import by_digest, hold_out_tenth


def test_a_tenth_of_each_class_at_least_one() -> None:
    labels = {f"a{i}": 0 for i in range(25)} | {f"b{i}": 1 for i in range(3)} | {"c": 2}
    stays, held = hold_out_tenth(labels)
    assert [sum(label == c for label in held.values()) for c in range(3)] == [2, 1, 0]
    assert stays.keys() | held.keys() == labels.keys() and not stays.keys() & held.keys()
    assert list(stays) == [image for image in labels if image in stays]


def test_the_choice_depends_on_names_of_the_class_only() -> None:
    one = {f"a{i}": 0 for i in range(20)}
    _, held = hold_out_tenth(one)
    _, again = hold_out_tenth({"b": 1} | dict(reversed(one.items())))
    assert set(again) == set(held) == set(by_digest(one)[:2])
