"""The ten classes, and the one small mark on the head that tells them apart."""

from __future__ import annotations

from dataclasses import dataclass

from wsol_bench.datasets.critters.canvas import Coat, Colour
from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.shapes import Capsule, Ellipse, Lens, Outset, Shape, Union, chain, direction

MARK_COLOURS: dict[str, Colour] = {
    "red": (0.88, 0.1, 0.12),
    "blue": (0.1, 0.24, 0.92),
    "cyan": (0.1, 0.85, 0.98),
    "gold": (1.0, 0.8, 0.05),
    "magenta": (0.92, 0.1, 0.78),
}
"""Colours of the marks. Some balls, mushrooms and feet wear them too."""


@dataclass(frozen=True)
class Species:
    """One class: a kind of mark in one colour.

    Attributes:
        adjective: what captions call it (``red-crested``).
        kind: ``comb``, ``horn``, ``lantern``, ``plume`` or ``frill``.
        colour: a key of :data:`MARK_COLOURS`.
    """

    adjective: str
    kind: str
    colour: str


# Every kind comes in two colours and every colour in two kinds: neither of them decides alone.
SPECIES: tuple[Species, ...] = (
    Species("red-crested", "comb", "red"),
    Species("blue-crested", "comb", "blue"),
    Species("cyan-horned", "horn", "cyan"),
    Species("gold-horned", "horn", "gold"),
    Species("red-lantern", "lantern", "red"),
    Species("blue-lantern", "lantern", "blue"),
    Species("cyan-plumed", "plume", "cyan"),
    Species("magenta-plumed", "plume", "magenta"),
    Species("gold-frilled", "frill", "gold"),
    Species("magenta-frilled", "frill", "magenta"),
)
"""The classes in label order."""

REACH = 1.35
"""A mark of height 1 stays within this distance of the point 0.4 above its foot, whatever its class."""

_OTHER_COLOURS: tuple[Colour, ...] = ((0.2, 0.55, 0.5), (0.5, 0.65, 0.3), (0.85, 0.5, 0.25), (0.45, 0.3, 0.58))
_DARK: Colour = (0.13, 0.1, 0.1)


def mark(species: Species, draws: Draws) -> list[tuple[Shape, Coat]]:
    """Returns the mark of a class, back to front; its foot is at the origin, it is about 1 high and points to -y."""
    pieces = _pieces(species, draws)
    # The dark line keeps marks apart from a ground of their own colour, whatever the ground.
    return [(Outset(shape, 0.05), Coat(_DARK, rim=0.0, light=0.0)) for shape, _ in pieces] + pieces


def bright(draws: Draws, share: float) -> Colour:
    """Returns a strong colour for something that is no mark: a mark's colour in ``share`` of all cases."""
    palette = list(MARK_COLOURS.values()) if draws.chance(share) else list(_OTHER_COLOURS)
    return shifted(draws.choice(palette), draws, 0.06)


def shifted(colour: Colour, draws: Draws, amount: float) -> Colour:
    """Returns the colour with each channel moved by up to ``amount``, kept in ``[0, 1]``."""
    r, g, b = (min(max(channel + draws.uniform(-amount, amount), 0.0), 1.0) for channel in colour)
    return r, g, b


def _pieces(species: Species, draws: Draws) -> list[tuple[Shape, Coat]]:
    colour = shifted(MARK_COLOURS[species.colour], draws, 0.05)
    lean = draws.integer(-14, 14)
    coat = Coat(colour, rim=0.3, light=0.2)
    wide = draws.uniform(0.9, 1.1)
    if species.kind == "comb":
        bumps = [Ellipse((0.42 * i * wide, -0.22 - 0.2 * (i == 0)), 0.27, 0.34) for i in (-1, 0, 1)]
        return [(Union((*bumps, Capsule((-0.45 * wide, 0.0), (0.45 * wide, 0.0), 0.2, 0.2))), coat)]
    if species.kind == "horn":
        x, y = direction(-90 + lean)
        middle = 0.5 * x + 0.06, 0.5 * y
        return [(chain(((0.0, 0.1), middle, (1.0 * x, 1.0 * y)), 0.33 * wide, 0.04), coat)]
    if species.kind == "lantern":
        x, y = direction(-75 + lean)
        stalk = chain(((0.0, 0.1), (0.1 * x, 0.4 * y), (0.66 * x, 0.6 * y)), 0.1, 0.08)
        lamp = Ellipse((0.72 * x, 0.7 * y), 0.34 * wide, 0.34 * wide)
        return [(stalk, Coat(_DARK, rim=0.0)), (lamp, coat)]
    if species.kind == "plume":
        feathers: list[tuple[Shape, Coat]] = []
        for turn in (-48, 48, 0):
            x, y = direction(-90 + turn + lean)
            feathers.append((Lens((0.46 * x, 0.46 * y), 0.56, 0.17 * wide, (x, y)), coat))
        return feathers
    parts: list[tuple[Shape, Coat]] = [(Ellipse((0.0, 0.12), 0.8, 0.74 * wide), coat)]
    for turn in (-54, -18, 18, 54):
        x, y = direction(-90 + turn + lean // 2)
        parts.append((Capsule((0.0, 0.1), (0.62 * x, 0.56 * y + 0.1), 0.05, 0.05), Coat(_DARK, rim=0.0)))
    return parts
