"""Five body plans: how limbs, body and head hang together.

Heads are carried low and in front of the body, tails and wings high, so that the mark on the head lies well inside the
critter's box, though never in its middle.
"""

from __future__ import annotations

from collections.abc import Callable

from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.limbs import Coats, Head, Part, ears, face, legs, tail
from wsol_bench.datasets.critters.shapes import Capsule, Ellipse, Lens, Polygon, Union, chain, direction

Plan = Callable[[Draws, Coats], tuple[list[Part], Head, tuple[str, ...]]]
"""Makes parts (back to front), head, and two adjectives for the build."""


def _walker(draws: Draws, coats: Coats) -> tuple[list[Part], Head, tuple[str, ...]]:
    """Four legs, deep chest; between a dachshund and a deer."""
    deep, leg = draws.uniform(0.6, 0.88), draws.uniform(0.12, 0.4)
    head = Head(draws.uniform(0.15, 0.6), draws.uniform(-0.1, 0.3), draws.uniform(0.42, 0.52), draws.integer(-20, 10))
    body = Union((Ellipse((-0.45, -0.05), 0.6, deep), Ellipse((0.42, -0.04), 0.6, deep * 0.9)), 0.5)
    parts, feature = tail(draws, coats, (-0.9, -0.35 * deep))
    parts += legs(draws, coats, (-0.72, -0.42, 0.42, 0.72), 0.45 * deep, deep + leg, 0.17)
    parts += [Part("body", body, coats.body), *ears(draws, coats, head), *face(draws, coats, head)]
    return parts, head, (feature, "long-legged" if leg > 0.26 else "short-legged")


def _bird(draws: Draws, coats: Coats) -> tuple[list[Part], Head, tuple[str, ...]]:
    """Two legs, a folded or raised wing, a fan of a tail."""
    deep, leg = draws.uniform(0.65, 0.85), draws.uniform(0.15, 0.4)
    head = Head(draws.uniform(0.15, 0.5), draws.uniform(-0.2, 0.15), draws.uniform(0.4, 0.5), draws.integer(-20, 12))
    long_tail = draws.chance(0.6)
    reach, tilt = (draws.uniform(0.9, 1.2) if long_tail else draws.uniform(0.45, 0.6)), draws.integer(-60, 0)
    parts = []
    for turn in (-18, 18, 0):
        x, y = direction(180 - tilt + turn)
        feather = Lens((-0.6 + 0.5 * reach * x, -0.05 + 0.5 * reach * y), 0.55 * reach, 0.19, (x, y))
        parts.append(Part("tail", feather, coats.second))
    raised = draws.chance(0.6)
    x, y = direction(draws.integer(225, 265) if raised else draws.integer(165, 195))
    wing = Lens((-0.15 + 0.5 * x, -0.12 + 0.5 * y), 0.8, 0.38, (x, y))
    tip = Lens((-0.15 + 0.95 * x, -0.12 + 0.95 * y), 0.34, 0.14, (x, y))
    parts += legs(draws, coats, (-0.1, 0.2), 0.5 * deep, deep + leg, 0.1)
    parts += [
        Part("body", Ellipse((0.0, 0.0), 0.88, deep, direction(draws.integer(-25, 5))), coats.body),
        Part("wing", wing, coats.second),
        Part("wing", tip, coats.accent),
        *face(draws, coats, head, beak=True),
    ]
    wings = "raised-wing" if raised else "folded-wing"
    return parts, head, ("long-tailed" if long_tail else "short-tailed", wings)


def _hopper(draws: Draws, coats: Coats) -> tuple[list[Part], Head, tuple[str, ...]]:
    """Sits upright on big feet, with paws in front and a tail behind."""
    tall, wide = draws.uniform(0.8, 1.05), draws.uniform(0.6, 0.85)
    head = Head(
        draws.uniform(0.1, 0.35), draws.uniform(-0.4, -0.05) * tall, draws.uniform(0.42, 0.52), draws.integer(-16, 10)
    )
    foot = draws.uniform(0.4, 0.75)
    parts, feature = tail(draws, coats, (-0.75 * wide, 0.4 * tall))
    parts += [
        Part("legs", Capsule((-0.05, 0.85 * tall), (foot, tall), 0.16, 0.11), coats.far),
        Part("body", Ellipse((0.0, 0.0), tall, wide, direction(90 + draws.integer(-8, 14))), coats.body),
        Part("legs", Capsule((0.3, 0.1 * tall), (0.5 + 0.4 * wide, 0.35 * tall), 0.13, 0.1), coats.plain),
        Part("legs", Ellipse((-0.25, 0.68 * tall), 0.36, 0.27), coats.plain),
        Part("legs", Capsule((-0.15, 0.97 * tall), (foot - 0.1, 1.05 * tall), 0.13, 0.11), coats.accent),
        *ears(draws, coats, head),
        *face(draws, coats, head),
    ]
    return parts, head, (feature, "round-bellied" if wide > 0.72 else "slender")


def _crawler(draws: Draws, coats: Coats) -> tuple[list[Part], Head, tuple[str, ...]]:
    """A thick winding body, the tail held up like a scorpion's or trailing."""
    wave, thick = draws.uniform(0.1, 0.35) * (1.0 if draws.chance(0.5) else -1.0), draws.uniform(0.42, 0.56)
    spine = [(-1.0, wave), (-0.6, 0.0), (-0.1, -wave), (0.35, -0.3 * wave), (0.85, 0.0)]
    head = Head(draws.uniform(0.1, 0.55), draws.uniform(-0.05, 0.25), draws.uniform(0.4, 0.48), draws.integer(-20, 15))
    high = draws.uniform(-1.5, -0.6)
    sting = chain(((-0.98, wave), (-1.35, wave), (-1.4, wave + 0.5 * high), (-1.1, wave + high)), 0.8 * thick, 0.07)
    parts = [Part("tail", sting, coats.second)]
    legged = draws.chance(0.6)
    if legged:
        parts += legs(draws, coats, (-0.75, -0.35, 0.25, 0.6), 0.0, thick + draws.uniform(0.15, 0.35), 0.12)
    parts += [
        Part("body", chain(spine, thick, thick * 0.85, rounds=2), coats.body),
        *ears(draws, coats, head),
        *face(draws, coats, head),
    ]
    return parts, head, ("winding", "short-legged" if legged else "legless")


def _turtle(draws: Draws, coats: Coats) -> tuple[list[Part], Head, tuple[str, ...]]:
    """A dome on stubby legs."""
    high, leg = draws.uniform(1.1, 1.5), draws.uniform(0.1, 0.3)
    head = Head(draws.uniform(0.25, 0.75), draws.uniform(-0.15, 0.15), draws.uniform(0.4, 0.48), draws.integer(-15, 15))
    parts, feature = tail(draws, coats, (-0.95, 0.1))
    parts += legs(draws, coats, (-0.65, -0.35, 0.4, 0.7), 0.1, 0.3 + leg, 0.16)
    dome = tuple((1.05 * x, high * y + 0.15) for x, y in (direction(180 + 15 * i) for i in range(13)))
    parts += [
        Part("body", Capsule((-0.9, 0.15), (0.9, 0.15), 0.15, 0.15), coats.second),
        Part("body", Polygon(dome), coats.body),
        *face(draws, coats, head),
    ]
    return parts, head, (feature, "dome-backed")


PLANS: tuple[Plan, ...] = (_walker, _bird, _hopper, _crawler, _turtle)
