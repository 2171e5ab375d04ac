"""Limbs and faces, of which body plans are put together."""

from __future__ import annotations

from dataclasses import dataclass

from wsol_bench.datasets.critters.canvas import Coat, Colour
from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.shapes import Capsule, Ellipse, Lens, Point, Polygon, Shape, chain, direction


@dataclass(frozen=True)
class Part:
    """A painted piece of a critter; ``name`` is one of ``anatomy.PART_NAMES``."""

    name: str
    shape: Shape
    coat: Coat


@dataclass(frozen=True)
class Coats:
    """The coats of one critter: patterned body, plain fur, fur of the far side, second colour, accents, horn."""

    body: Coat
    plain: Coat
    far: Coat
    second: Coat
    accent: Coat
    horn: Coat


@dataclass(frozen=True)
class Head:
    """Centre and radius of a head, and by how many degrees it leans forward (clockwise)."""

    x: float
    y: float
    radius: float
    upright: int

    def top(self, share: float) -> Point:
        """Returns the point on the head's axis at ``share`` of the radius above its centre."""
        x, y = direction(-90 + self.upright)
        return self.x + share * self.radius * x, self.y + share * self.radius * y


def legs(draws: Draws, coats: Coats, places: tuple[float, ...], top: float, bottom: float, width: float) -> list[Part]:
    """Returns a leg with a foot at each of ``places`` (x of the hip), from ``top`` down to ``bottom``."""
    shod = draws.chance(0.6)
    parts = []
    for i, place in enumerate(places):
        # Legs of the far side alternate with those of the near side and are darker.
        coat = coats.far if i % 2 == 0 else coats.plain
        stride, thick = draws.uniform(-0.16, 0.16), width * draws.uniform(0.85, 1.2)
        foot = place + stride, bottom - 0.05 * (i % 2 == 0)
        parts.append(Part("legs", Capsule((place, top), foot, thick * 1.25, thick), coat))
        toe = Ellipse((foot[0] + 0.08, foot[1]), thick * 1.5, thick)
        parts.append(Part("legs", toe, coats.accent if shod else coats.horn))
    return parts


def tail(draws: Draws, coats: Coats, root: Point) -> tuple[list[Part], str]:
    """Returns a long, bushy or short tail that starts at ``root``, mostly carried high, and the word for it."""
    kind = draws.choice(("long", "bushy", "bushy", "short"))
    x, y = root
    if kind == "short":
        return [Part("tail", Ellipse((x - 0.1, y - 0.05), 0.24, 0.22), coats.second)], "short-tailed"
    if kind == "bushy":
        side = direction(180 + draws.integer(10, 75))
        puff = Lens((x + 0.42 * side[0], y + 0.42 * side[1]), 0.7, draws.uniform(0.26, 0.38), side)
        return [Part("tail", puff, coats.second)], "bushy-tailed"
    bend, reach = draws.uniform(-1.2, -0.1), draws.uniform(0.3, 0.6)
    middle, end = (x - 1.1 * reach, y + 0.1 * bend), (x - reach, y + bend)
    rope = Part("tail", chain(((x + 0.1, y), middle, end), 0.17, 0.11, rounds=2), coats.plain)
    return [rope, Part("tail", Ellipse(end, 0.17, 0.17), coats.accent)], "long-tailed"


def ears(draws: Draws, coats: Coats, head: Head) -> list[Part]:
    """Returns two ears behind the head, or none."""
    kind = draws.choice(("none", "round", "long", "long", "flap"))
    if kind == "none":
        return []
    turns = {"round": (-145, -165), "long": (-150, -128), "flap": (170, 150)}[kind]
    stretch = draws.uniform(0.85, 1.15)
    parts = []
    for turn, coat in zip(turns, (coats.far, coats.plain), strict=True):
        x, y = direction(turn + head.upright)
        length, width = {"round": (0.2, 0.19), "long": (0.52, 0.15), "flap": (0.34, 0.17)}[kind]
        reach = 0.8 * head.radius + 0.6 * length * stretch
        ear = Ellipse((head.x + reach * x, head.y + reach * y), length * stretch, width, (x, y))
        parts.append(Part("ears", ear, coat))
    return parts


def face(draws: Draws, coats: Coats, head: Head, *, beak: bool = False) -> list[Part]:
    """Returns the head with an eye and a snout or beak."""
    x, y, r = head.x, head.y, head.radius
    parts = [Part("head", Ellipse((x, y), r, r * draws.uniform(0.88, 1.0)), coats.plain)]
    if beak:
        low = y + draws.uniform(0.0, 0.3) * r
        tip = x + r + draws.uniform(0.25, 0.55), low + draws.uniform(0.0, 0.15)
        parts.insert(0, Part("head", Polygon(((x + 0.6 * r, low - 0.16), tip, (x + 0.6 * r, low + 0.16))), coats.horn))
    else:
        snout = Ellipse((x + 0.75 * r, y + 0.3 * r), draws.uniform(0.4, 0.75) * r, 0.45 * r)
        parts.append(Part("head", snout, coats.second if draws.chance(0.4) else coats.plain))
        parts.append(Part("head", Ellipse((x + 1.3 * r, y + 0.2 * r), 0.14 * r, 0.14 * r), Coat(_PUPIL, rim=0.0)))
    eye = x + 0.3 * r, y - 0.15 * r
    size = draws.uniform(0.24, 0.36) * r
    parts.append(Part("eyes", Ellipse(eye, size, size), Coat((0.97, 0.97, 0.94), rim=0.2, light=0.0)))
    pupil = Ellipse((eye[0] + 0.25 * size, eye[1]), 0.6 * size, 0.6 * size)
    parts.append(Part("eyes", pupil, Coat(_PUPIL, rim=0.0)))
    return parts


_PUPIL: Colour = (0.07, 0.06, 0.08)
