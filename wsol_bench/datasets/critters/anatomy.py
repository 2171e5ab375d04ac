"""What a critter is made of, whatever its class: a body plan in a coat."""

from __future__ import annotations

from dataclasses import dataclass

from wsol_bench.datasets.critters.bodies import PLANS
from wsol_bench.datasets.critters.canvas import Coat, Colour, random_pattern
from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.limbs import Coats, Part
from wsol_bench.datasets.critters.marks import bright, shifted
from wsol_bench.datasets.critters.shapes import Pose

PART_NAMES = ("body", "head", "legs", "tail", "wing", "ears", "eyes", "mark")
"""Parts that can be seen of a critter; the owner of a pixel is the index of its part plus one."""

BODY_COLOURS: dict[str, Colour] = {
    "brown": (0.5, 0.31, 0.17),
    "grey": (0.55, 0.55, 0.57),
    "green": (0.26, 0.58, 0.24),
    "orange": (0.88, 0.5, 0.2),
    "pink": (0.93, 0.62, 0.68),
    "teal": (0.12, 0.5, 0.5),
    "cream": (0.93, 0.85, 0.66),
    "purple": (0.45, 0.3, 0.58),
    "black": (0.17, 0.16, 0.2),
}
PATTERNS = ("plain", "striped", "spotted", "patchy", "two-toned")


@dataclass(frozen=True)
class Anatomy:
    """A critter without its mark, in figure coordinates (facing +x, y down, about two units long).

    Attributes:
        parts: back to front.
        crown: where the mark stands, and which way up it is there; its scale is 1.
        colour: name of the body colour.
        pattern: name of the pattern, ``plain`` included.
        features: what can be said about its build.
    """

    parts: tuple[Part, ...]
    crown: Pose
    colour: str
    pattern: str
    features: tuple[str, ...]


def grow(draws: Draws, ground: Colour) -> Anatomy:
    """Returns a random critter; ``ground`` is the background's middle tone, from which its colour keeps apart."""
    colour = next(name for name in draws.shuffled(list(BODY_COLOURS)) if _contrast(BODY_COLOURS[name], ground) > 0.2)
    pattern = draws.choice(PATTERNS)
    fur = shifted(BODY_COLOURS[colour], draws, 0.04)
    second = _companion(fur, draws)
    coats = Coats(
        body=Coat(fur, second, random_pattern(pattern, draws)),
        plain=Coat(fur),
        far=Coat((fur[0] * 0.72, fur[1] * 0.72, fur[2] * 0.72), rim=0.25),
        second=Coat(second),
        # Feet, wing tips and tails wear the colours of marks now and then: a colour alone does not give the class away.
        accent=Coat(bright(draws, 0.3)),
        horn=Coat(draws.choice(((0.25, 0.2, 0.18), (0.7, 0.5, 0.25), (0.6, 0.55, 0.5)))),
    )
    parts, head, features = draws.choice(PLANS)(draws, coats)
    return Anatomy(tuple(parts), Pose(*head.top(0.82), 1.0, head.upright), colour, pattern, features)


def _companion(fur: Colour, draws: Draws) -> Colour:
    """Returns a second colour: a lighter or darker tone of the fur, or another fur colour."""
    if draws.chance(0.3):
        return next(colour for colour in draws.shuffled(list(BODY_COLOURS.values())) if _contrast(colour, fur) > 0.25)
    r, g, b = fur
    if max(fur) > 0.6 and draws.chance(0.7):
        return 0.5 * r, 0.48 * g, 0.48 * b
    return r + 0.55 * (1.0 - r), g + 0.55 * (1.0 - g), b + 0.5 * (1.0 - b)


def _contrast(one: Colour, other: Colour) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
