from __future__ import annotations

import dataclasses
import math
import pickle
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsol_bench.errors import PluginError, UsageError
from wsol_bench.methods.hparams import (
    Choice,
    Distribution,
    Fixed,
    HyperParams,
    IntUniform,
    LogUniform,
    Uniform,
    draw,
    hp,
)


class Example(HyperParams):
    rate: float = hp(0.5, Uniform(0.0, 1.0), "share of pixels dropped")
    decay: float = hp(1e-4, LogUniform(1e-5, 1.0), "penalty")
    depth: int = hp(2, IntUniform(1, 4), "layers")
    mode: str = hp("soft", Choice(("soft", "hard")), "kind of mask")
    flip: bool = hp(True, Fixed(), "whether to flip")
    path: str = hp("none", Fixed(), "file")
    side: int = hp(14, Fixed((14, 28)), "resolution")


def test_declarations_keep_default_distribution_sentence_and_order() -> None:
    declared = Example.declarations()
    assert list(declared) == ["rate", "decay", "depth", "mode", "flip", "path", "side"]
    assert declared["rate"] == (0.5, Uniform(0.0, 1.0), "share of pixels dropped")


def test_defaults_and_round_trips() -> None:
    assert Example().as_dict() == {
        "rate": 0.5, "decay": 1e-4, "depth": 2, "mode": "soft", "flip": True, "path": "none", "side": 14,
    }  # fmt: skip
    changed = Example.from_dict({"rate": 0.25, "flip": False})
    assert changed.as_dict() == Example().as_dict() | {"rate": 0.25, "flip": False}
    assert Example.from_dict(changed.as_dict()) == changed
    assert pickle.loads(pickle.dumps(changed)) == changed


def test_values_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Example().rate = 0.1  # type: ignore[misc]


def test_inherited_parameters_come_first() -> None:
    class Longer(Example):
        extra: float = hp(1.0, Uniform(0.0, 2.0), "more")

    assert list(Longer.declarations()) == [*Example.declarations(), "extra"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rate": 1}, 1.0),
        ({"rate": "1e-3"}, 0.001),  # as YAML reads it
        ({"rate": 7.5}, 7.5),  # the range is that of the search
        ({"decay": 0}, 0.0),
        ({"depth": 9}, 9),
    ],
)
def test_accepted(values: dict[str, Any], expected: float) -> None:
    ((name, _),) = values.items()
    got = getattr(Example.from_dict(values), name)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rat": 0.1}, "Did you mean 'rate'"),
        ({"rate": "much"}, r"'rate' \(share of pixels dropped\) to be a finite number but got 'much'"),
        ({"rate": True}, "a finite number but got True"),
        ({"rate": None}, "a finite number but got None"),
        ({"rate": math.nan}, "a finite number but got nan"),
        ({"rate": "inf"}, "a finite number but got 'inf'"),
        ({"decay": -1.0}, "to be not negative but got -1.0"),
        ({"depth": 2.0}, "a whole number but got 2.0"),
        ({"depth": True}, "a whole number but got True"),
        ({"mode": "harsh"}, r"one of \(soft, hard\) but got 'harsh'"),
        ({"flip": 1}, "true or false but got 1"),
        ({"flip": "yes"}, "true or false but got 'yes'"),
        ({"path": 3}, "text but got 3"),
        ({"side": 15}, r"one of \(14, 28\) but got 15"),
    ],
)
def test_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Example.from_dict(values)


def test_a_field_must_be_declared() -> None:
    with pytest.raises(PluginError, match=r"Bare to be declared as 'speed: \.\.\. = hp"):

        class Bare(HyperParams):
            speed: float = 1.0


def test_a_default_must_keep_its_own_rules() -> None:
    with pytest.raises(PluginError, match=r"Wrong break its own rules: .* one of \(a, b\) but got 'c'"):

        class Wrong(HyperParams):
            mode: str = hp("c", Choice(("a", "b")), "mode")


@pytest.mark.parametrize(
    ("kind", "low", "high"), [(Uniform, 1, 0), (LogUniform, 0, 1), (LogUniform, 2, 1), (IntUniform, 5, 4)]
)
def test_impossible_ranges(kind: Any, low: float, high: float) -> None:
    with pytest.raises(UsageError, match=f"low <= high for {kind.__name__} but got {low} and {high}"):
        kind(low, high)


def test_fixed_parameters_are_not_drawn() -> None:
    with pytest.raises(UsageError, match="fixed"):
        draw("path", Fixed(), 0, 1)


def test_draws_are_those_of_any_other_day() -> None:
    """A change here changes every published search."""
    assert draw("lr", LogUniform(1e-5, 1.0), 0, 1) == GOLDEN["lr"]
    assert draw("step_size", IntUniform(5, 45), 0, 1) == GOLDEN["step_size"]


GOLDEN = {"lr": 0.0959859, "step_size": 21}


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), index=st.integers(0, 10**6), name=st.text(min_size=1, max_size=8))
def test_draws_stay_in_range(seed: int, index: int, name: str) -> None:
    assert 1e-5 <= draw(name, LogUniform(1e-5, 1.0), seed, index) <= 1.0
    assert -1.0 <= draw(name, Uniform(-1.0, 3.0), seed, index) <= 3.0
    assert draw(name, IntUniform(5, 7), seed, index) in (5, 6, 7)
    assert draw(name, Choice(("a", "b")), seed, index) in ("a", "b")


@settings(deadline=None)
@given(u=st.sampled_from([0.0, 0.5, 1 - 2**-53]), count=st.integers(1, 10**6))
def test_the_ends_of_the_unit_interval(u: float, count: int) -> None:
    assert 0 <= IntUniform(0, count - 1).draw(u) < count
    assert Choice(tuple(range(min(count, 50)))).draw(u) < min(count, 50)


def test_log_uniform_spreads_evenly_over_the_decades() -> None:
    logs = [math.log10(float(draw("lr", LogUniform(1e-5, 1.0), 0, i))) for i in range(4000)]
    assert statistics.mean(logs) == pytest.approx(-2.5, abs=0.1)
    for decade in range(-5, 0):
        assert sum(decade <= value < decade + 1 for value in logs) == pytest.approx(800, abs=100)


def test_integers_are_equally_likely() -> None:
    drawn = [draw("step_size", IntUniform(5, 8), 3, i) for i in range(4000)]
    assert all(drawn.count(value) == pytest.approx(1000, abs=120) for value in (5, 6, 7, 8))


def test_a_draw_depends_on_name_seed_and_index() -> None:
    spread = Uniform(0.0, 1.0)
    base = draw("lr", spread, 0, 1)
    assert draw("lr", spread, 0, 1) == base
    assert len({base, draw("lr2", spread, 0, 1), draw("lr", spread, 1, 1), draw("lr", spread, 0, 2)}) == 4


def test_adding_a_parameter_changes_no_other_draw() -> None:
    class Longer(Example):
        extra: float = hp(1.0, Uniform(0.0, 2.0), "more")

    def drawn(cls: type[HyperParams]) -> dict[str, Any]:
        spreads: dict[str, Distribution] = {
            name: spread for name, (_, spread, _) in cls.declarations().items() if not isinstance(spread, Fixed)
        }
        return {name: draw(name, spread, 7, 3) for name, spread in spreads.items()}

    longer = drawn(Longer)
    assert longer.pop("extra") is not None
    assert longer == drawn(Example)


def test_drawn_values_are_accepted() -> None:
    for index in range(20):
        values = {
            name: draw(name, spread, 0, index)
            for name, (_, spread, _) in Example.declarations().items()
            if not isinstance(spread, Fixed)
        }
        assert Example.from_dict(values).as_dict() == Example().as_dict() | values
