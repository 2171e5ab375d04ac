"""Things that lie about and are no critter: some resemble its parts, some wear the colours of the marks."""

from __future__ import annotations

from collections.abc import Callable

from wsol_bench.datasets.critters.anatomy import BODY_COLOURS, PATTERNS
from wsol_bench.datasets.critters.canvas import Canvas, Coat, Colour, random_pattern
from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.marks import bright, shifted
from wsol_bench.datasets.critters.shapes import Capsule, Ellipse, Lens, Polygon, Pose, Shape, Union, chain, direction

Piece = tuple[Shape, Coat]


def scatter(canvas: Canvas, draws: Draws) -> None:
    """Paints two to six random things on the ground."""
    for _ in range(draws.integer(2, 6)):
        pieces = draws.choice(_THINGS)(draws)
        scale = 0.045 + 0.12 * draws.uniform() * draws.uniform(0.3, 1.0)
        pose = Pose(
            draws.uniform(0.02, 0.98),
            draws.uniform(0.02, 0.98),
            scale,
            draws.integer(-25, 25),
            1.0 if draws.chance(0.5) else -1.0,
        )
        canvas.shadow(pose.x, pose.y + 0.8 * scale, 1.3 * scale, 0.4 * scale, 0.4)
        for shape, coat in pieces:
            canvas.paint(shape, coat, pose=pose)


def cover(canvas: Canvas, draws: Draws, x: float, y: float, reach: float) -> None:
    """Paints a stone, a tuft or a leaf in front of whatever is at ``x, y``, within ``reach`` of it."""
    pieces = draws.choice((_stone, _tuft, _leaf))(draws)
    for shape, coat in pieces:
        canvas.paint(shape, coat, pose=Pose(x, y, reach / 1.2, draws.integer(-15, 15)))


def _stone(draws: Draws) -> list[Piece]:
    grey = draws.uniform(0.3, 0.65)
    colour = shifted((grey, grey * 0.97, grey * 0.92), draws, 0.05)
    second = colour[0] * 0.7, colour[1] * 0.75, colour[2] * 0.7
    wide = draws.uniform(0.7, 1.0)
    lump = Union((Ellipse((-0.2, 0.1), wide, 0.6), Ellipse((0.25, -0.1), 0.6, draws.uniform(0.45, 0.75))), 0.4)
    return [(lump, Coat(colour, second, random_pattern(draws.choice(("plain", "patchy", "spotted")), draws)))]


def _leaf(draws: Draws) -> list[Piece]:
    colour = shifted(draws.choice(_LEAF_COLOURS), draws, 0.08)
    axis = direction(draws.integer(-80, 80))
    vein = Capsule((-0.8 * axis[0], -0.8 * axis[1]), (1.15 * axis[0], 1.15 * axis[1]), 0.06, 0.05)
    return [
        (Lens((0.0, 0.0), 1.0, draws.uniform(0.3, 0.5), axis), Coat(colour)),
        (vein, Coat((colour[0] * 0.6, colour[1] * 0.6, colour[2] * 0.6), rim=0.0)),
    ]


def _ball(draws: Draws) -> list[Piece]:
    colour = bright(draws, 0.3)
    coat = Coat(colour, bright(draws, 0.3), random_pattern(draws.choice(PATTERNS), draws))
    return [(Ellipse((0.0, 0.0), 0.75, 0.75), coat)]


def _egg(draws: Draws) -> list[Piece]:
    """A body without a critter around it."""
    colour, second = _fur(draws), _fur(draws)
    coat = Coat(colour, second, random_pattern(draws.choice(PATTERNS), draws))
    return [(Ellipse((0.0, 0.0), 1.15, draws.uniform(0.6, 0.85), direction(draws.integer(-40, 40))), coat)]


def _stool(draws: Draws) -> list[Piece]:
    """A body on legs, but headless: a log on props."""
    coat = Coat(_fur(draws), _fur(draws), random_pattern(draws.choice(PATTERNS), draws))
    dark = Coat((coat.colour[0] * 0.7, coat.colour[1] * 0.7, coat.colour[2] * 0.7))
    deep, long = draws.uniform(0.3, 0.45), draws.uniform(0.5, 0.95)
    props: list[Piece] = [(Capsule((x, 0.1), (x * 1.15, long), 0.13, 0.1), dark) for x in (-0.7, 0.7)]
    return [*props, (Capsule((-0.8, 0.0), (0.8, 0.0), deep, deep), coat)]


def _mushroom(draws: Draws) -> list[Piece]:
    cap = Polygon(tuple((0.95 * x, 0.75 * y) for x, y in (direction(180 + 20 * i) for i in range(10))))
    coat = Coat(bright(draws, 0.3), (0.96, 0.94, 0.88), random_pattern(draws.choice(("plain", "spotted")), draws))
    stem = Capsule((0.0, 0.0), (draws.uniform(-0.15, 0.15), 0.85), 0.22, 0.28)
    return [(stem, Coat((0.9, 0.86, 0.76))), (cap, coat)]


def _twig(draws: Draws) -> list[Piece]:
    """A tail or a leg of nobody."""
    bend = draws.uniform(-0.6, 0.6)
    rope = chain(((-1.4, bend), (-0.4, 0.0), (0.4, 0.2 * bend), (1.3, -bend)), draws.uniform(0.12, 0.2), 0.08)
    return [(rope, Coat(_fur(draws)))]


def _tuft(draws: Draws) -> list[Piece]:
    colour = shifted((0.3, 0.5, 0.16), draws, 0.1)
    blades: list[Piece] = []
    for turn in (-40, 35, -18, 15, 0):
        x, y = direction(-90 + turn + draws.integer(-8, 8))
        long = draws.uniform(0.8, 1.2)
        tone = draws.uniform(0.75, 1.2)
        blade = Capsule((0.12 * x, 0.5), (long * x, 0.5 + 1.3 * long * y), 0.13, 0.03)
        blades.append((blade, Coat((colour[0] * tone, colour[1] * tone, colour[2] * tone), rim=0.0)))
    return blades


def _button(draws: Draws) -> list[Piece]:
    """Two discs, like an eye."""
    dark: Colour = (0.1, 0.09, 0.1)
    return [
        (Ellipse((0.0, 0.0), 0.5, 0.5), Coat(draws.choice(((0.95, 0.95, 0.92), bright(draws, 0.3))))),
        (Ellipse((0.08, 0.0), 0.24, 0.24), Coat(dark, rim=0.0)),
    ]


_LEAF_COLOURS: tuple[Colour, ...] = ((0.3, 0.52, 0.16), (0.75, 0.5, 0.14), (0.62, 0.24, 0.1), (0.45, 0.42, 0.14))
_THINGS: tuple[Callable[[Draws], list[Piece]], ...] = (
    _stone,
    _leaf,
    _ball,
    _egg,
    _stool,
    _mushroom,
    _twig,
    _tuft,
    _button,
)


def _fur(draws: Draws) -> Colour:
    return shifted(draws.choice(list(BODY_COLOURS.values())), draws, 0.05)
