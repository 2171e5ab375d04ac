"""One picture: a ground, things that lie about, one critter, and the sentence that describes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsol_bench.datasets.critters.anatomy import PART_NAMES, Anatomy, grow
from wsol_bench.datasets.critters.canvas import Canvas
from wsol_bench.datasets.critters.clutter import cover, scatter
from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.grounds import GROUNDS, grain
from wsol_bench.datasets.critters.limbs import Part
from wsol_bench.datasets.critters.marks import REACH, SPECIES, mark
from wsol_bench.datasets.critters.shapes import Bounds, Pose, around

# Every ingredient has a stream of its own, so that a change to one leaves the others as they were.
_LAYOUT, _GROUND, _CLUTTER, _CRITTER, _MARK, _FRONT, _WORDS = range(7)
_MARGIN = 0.015
_SMALLEST_MARK = 0.13
_DESERTED = ("a photo of a deserted place", "a deserted place", "an empty scene", "things lying")


@dataclass(frozen=True)
class Picture:
    """A rendered scene.

    Attributes:
        image: ``[S, S, 3]`` uint8 RGB.
        owner: ``[S, S]`` uint8; 0 outside the critter, else 1 + index into ``PART_NAMES`` of the part that is seen.
    """

    image: NDArray[np.uint8]
    owner: NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """Everything that is to be seen in one picture, independent of its resolution.

    Attributes:
        key: seed, split number and index of the picture; every random number follows from it.
        label: class index. It decides the mark and the words for it, and nothing else.
        ground: a key of ``GROUNDS``.
        anatomy: the critter without its mark.
        pose: where it stands.
        mark_height: height of the mark, in figure units.
    """

    key: tuple[int, int, int]
    label: int
    ground: str
    anatomy: Anatomy
    pose: Pose
    mark_height: float

    @classmethod
    def compose(cls, key: tuple[int, int, int], label: int) -> Scene:
        """Makes up the scene of a key."""
        layout = Draws(*key, _LAYOUT)
        ground = layout.choice(list(GROUNDS))
        anatomy = grow(Draws(*key, _CRITTER), GROUNDS[ground].colours[1])
        turned = Pose(degrees=layout.integer(-18, 18), flip=1.0 if layout.chance(0.5) else -1.0)
        wanted = layout.uniform()
        # Small boxes are more frequent than large ones: 10 to 55 % of the picture, 28 % on average.
        area = 0.1 + 0.45 * wanted * (0.55 + 0.45 * wanted)
        height = layout.uniform(0.58, 0.7)
        x0, y0, x1, y1 = _extent(anatomy, turned, height)
        scale = min(math.sqrt(area / ((x1 - x0) * (y1 - y0))), (1.0 - 2.0 * _MARGIN) / max(x1 - x0, y1 - y0))
        # On a small critter the mark is larger in proportion, lest it fall below a few pixels.
        height = max(height, _SMALLEST_MARK / scale)
        x0, y0, x1, y1 = _extent(anatomy, turned, height)
        scale = min(scale, (1.0 - 2.0 * _MARGIN) / max(x1 - x0, y1 - y0))
        x = _outward(layout, _MARGIN - scale * x0, 1.0 - _MARGIN - scale * x1)
        y = _outward(layout, _MARGIN - scale * y0, 1.0 - _MARGIN - scale * y1)
        return cls(key, label, ground, anatomy, replace(turned, x=x, y=y, scale=scale), height)

    def render(self, size: int, *, deserted: bool = False) -> Picture:
        """Paints the scene on ``size x size`` pixels; a ``deserted`` one is the same place without the critter."""
        canvas = Canvas(size)
        ground = Draws(*self.key, _GROUND)
        family = GROUNDS[self.ground]
        tint = [ground.uniform(0.88, 1.08) for _ in range(3)]
        dark, middle, light = ((r * tint[0], g * tint[1], b * tint[2]) for r, g, b in family.colours)
        family.fill(canvas, ground, (dark, middle, light))
        scatter(canvas, Draws(*self.key, _CLUTTER))
        if not deserted:
            self._critter(canvas)
            self._front(canvas)
        grain(canvas, ground, 0.16)
        return Picture(canvas.pixels(), canvas.owner)

    def caption(self) -> str:
        """Returns a sentence that is true of the picture and names the class."""
        words = Draws(*self.key, _WORDS)
        adjective, place = SPECIES[self.label].adjective, GROUNDS[self.ground].place
        colour, pattern = self.anatomy.colour, self.anatomy.pattern
        feature = words.choice(self.anatomy.features)
        form = words.integer(0, 3)
        if form == 0:
            return f"a photo of {_a(adjective)} {feature} critter {place}"
        if form == 1:
            return f"{_a(pattern)} {colour} {adjective} critter {place}"
        if form == 2:
            return f"a photo of {_a(colour)} {adjective} critter with {_a(pattern)} body {place}"
        return f"{_a(adjective)} critter, {feature}, {pattern} and {colour}, {place}"

    def caption_deserted(self) -> str:
        """Returns a sentence that is true of the place without the critter."""
        return f"{Draws(*self.key, _WORDS).choice(_DESERTED)} {GROUNDS[self.ground].place}"

    def mark_circle(self) -> tuple[float, float, float]:
        """Returns centre and radius, in canvas coordinates, of a circle that holds the mark of any class."""
        u, v = _mark_pose(self.anatomy, self.mark_height).point(0.0, -0.4)
        x, y = self.pose.point(u, v)
        return x, y, self.pose.scale * self.mark_height * REACH

    def _critter(self, canvas: Canvas) -> None:
        parts = list(self.anatomy.parts)
        crown = _mark_pose(self.anatomy, self.mark_height)
        marks = [
            Part("mark", shape.placed(crown), coat)
            for shape, coat in mark(SPECIES[self.label], Draws(*self.key, _MARK))
        ]
        # The head hides the foot of the mark.
        first = next(i for i, part in enumerate(parts) if part.name == "head")
        x0, _, x1, y1 = around(part.shape.placed(self.pose).bounds() for part in parts)
        canvas.shadow(0.5 * (x0 + x1), y1 - 0.02, 0.5 * (x1 - x0), 0.22 * (x1 - x0), 0.5)
        for part in parts[:first] + marks + parts[first:]:
            canvas.paint(part.shape, part.coat, owner=PART_NAMES.index(part.name) + 1, pose=self.pose)

    def _front(self, canvas: Canvas) -> None:
        """Sometimes hides a bit of the critter, never its mark."""
        front = Draws(*self.key, _FRONT)
        if not front.chance(0.4):
            return
        place, reach = front.uniform(-0.9, 0.7), self.pose.scale * front.uniform(0.25, 0.45)
        x, y = self.pose.point(place, front.uniform(0.5, 1.0))
        mark_x, mark_y, radius = self.mark_circle()
        if math.sqrt((x - mark_x) * (x - mark_x) + (y - mark_y) * (y - mark_y)) > radius + 1.3 * reach:
            cover(canvas, front, x, y, reach)


def _extent(anatomy: Anatomy, turned: Pose, mark_height: float) -> Bounds:
    """Returns the bounds of the turned critter with room for the mark of any class."""
    u, v = _mark_pose(anatomy, mark_height).point(0.0, -0.4)
    x, y = turned.point(u, v)
    reach = 0.85 * mark_height
    boxes = [part.shape.placed(turned).bounds() for part in anatomy.parts]
    return around([*boxes, (x - reach, y - reach, x + reach, y + reach)])


def _outward(draws: Draws, low: float, high: float) -> float:
    """Returns a number between ``low`` and ``high``, more often near either than in the middle."""
    part = draws.uniform()
    return low + (high - low) * part * part * (3.0 - 2.0 * part)


def _mark_pose(anatomy: Anatomy, height: float) -> Pose:
    return replace(anatomy.crown, scale=height)


def _a(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
