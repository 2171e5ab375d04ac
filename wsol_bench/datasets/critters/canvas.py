# ruff: noqa: D102 - the methods of patterns are documented once, in `Pattern`
"""The canvas: paints shapes with coats of colour and remembers which part of the creature owns each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.shapes import Array, Bounds, Point, Pose, Shape, direction, unit

Colour = tuple[float, float, float]
NOTHING = 0
"""Owner of the pixels that belong to no part of the creature."""


class Pattern(Protocol):
    """Where the second colour of a coat shows."""

    def weight(self, u: Array, v: Array, pixel: float) -> Array:
        """Returns ``[0, 1]`` shares of the second colour at figure coordinates; ``pixel`` is a pixel's width there."""
        ...


@dataclass(frozen=True)
class Stripes:
    """Parallel bands, ``period`` apart, across the unit vector ``axis``."""

    period: float
    axis: Point
    share: float = 0.45

    def weight(self, u: Array, v: Array, pixel: float) -> Array:
        phase = (u * self.axis[0] + v * self.axis[1]) / self.period
        off = np.abs(phase - np.floor(phase) - 0.5)
        return _covered((off - 0.5 * self.share) * self.period, pixel)


@dataclass(frozen=True)
class Spots:
    """Round spots: ``x, y, radius`` each."""

    spots: tuple[tuple[float, float, float], ...]

    def weight(self, u: Array, v: Array, pixel: float) -> Array:
        nearest: Array | None = None
        for x, y, radius in self.spots:
            du, dv = u - x, v - y
            away = np.sqrt(du * du + dv * dv) - radius
            nearest = away if nearest is None else np.minimum(nearest, away)
        return np.zeros_like(u) if nearest is None else _covered(nearest, pixel)


@dataclass(frozen=True)
class HalfPlane:
    """Everything beyond the line ``u * axis_u + v * axis_v = level``: bellies, caps and saddles."""

    axis: Point
    level: float

    def weight(self, u: Array, v: Array, pixel: float) -> Array:
        return _covered(self.level - (u * self.axis[0] + v * self.axis[1]), pixel)


@dataclass(frozen=True, eq=False)
class Patches:
    """Irregular patches, from smooth noise on a wrapped lattice with ``cells`` knots per unit."""

    lattice: Array
    cells: float

    def weight(self, u: Array, v: Array, pixel: float) -> Array:
        rows, columns = self.lattice.shape
        u, v = u * self.cells + 100.0, v * self.cells + 100.0
        iu, iv = u.astype(np.int32), v.astype(np.int32)
        wu, wv = u - iu.astype(np.float32), v - iv.astype(np.float32)
        left, right, top, bottom = iu % columns, (iu + 1) % columns, iv % rows, (iv + 1) % rows
        above = self.lattice[top, left] * (1.0 - wu) + self.lattice[top, right] * wu
        below = self.lattice[bottom, left] * (1.0 - wu) + self.lattice[bottom, right] * wu
        value = above * (1.0 - wv) + below * wv
        return unit((value - 0.5) * 12.0 + 0.5)


@dataclass(frozen=True)
class Coat:
    """How a shape is painted.

    Attributes:
        colour: RGB in ``[0, 1]``.
        second: colour where the pattern shows.
        pattern: None for a plain coat.
        rim: darkening at the outline, ``[0, 1]``.
        light: how much lighter the top is than the bottom.
    """

    colour: Colour
    second: Colour = (0.0, 0.0, 0.0)
    pattern: Pattern | None = None
    rim: float = 0.35
    light: float = 0.3


class Canvas:
    """A square picture in the making, in coordinates from 0 to 1, x to the right and y down.

    Attributes:
        size: side in pixels.
        image: ``[3, size, size]`` float32 colour planes, ``[0, 1]`` and a little beyond.
        owner: ``[size, size]`` uint8, the creature part that covers at least half of the pixel and is not itself
            covered, or :data:`NOTHING`.
        x: ``[1, size]`` float32 pixel centres.
        y: ``[size, 1]`` float32 pixel centres.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.image = np.zeros((3, size, size), np.float32)
        self.owner = np.full((size, size), NOTHING, np.uint8)
        centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
        self.x, self.y = centres[None, :], centres[:, None]

    def paint(self, shape: Shape, coat: Coat, *, owner: int = NOTHING, pose: Pose | None = None) -> None:
        """Paints a shape over what is there.

        Args:
            shape: in figure coordinates when ``pose`` is given, else in canvas coordinates.
            coat: its colours; the pattern lives in figure coordinates.
            owner: the creature part painted, or :data:`NOTHING` for anything that may hide the creature.
            pose: where the figure stands.
        """
        pose = pose or _UNMOVED
        placed = shape.placed(pose)
        window = self._window(placed)
        if window is None:
            return
        x, y = self.x[:, window[1]], self.y[window[0]]
        distance = placed.distance(x, y)
        cover = unit(0.5 - distance * float(self.size))
        colour = _column(coat.colour)
        if coat.pattern is not None:
            u, v = pose.local(x, y)
            weight = coat.pattern.weight(u, v, 1.0 / (self.size * pose.scale))
            colour = colour + weight * (_column(coat.second) - colour)
        if coat.rim or coat.light:
            colour = colour * self._shade(coat, placed, distance, y)
        under = self.image[:, window[0], window[1]]
        under += cover * (colour - under)
        self.owner[window][cover >= 0.5] = owner

    def shadow(self, x: float, y: float, width: float, height: float, depth: float) -> None:
        """Darkens a soft ellipse of half-axes ``width, height`` by up to ``depth``."""
        window = self._window(_SoftBox(x, y, width, height))
        if window is None:
            return
        u, v = (self.x[:, window[1]] - x) / width, (self.y[window[0]] - y) / height
        self.image[:, window[0], window[1]] *= 1.0 - depth * np.maximum(1.0 - (u * u + v * v), 0.0)

    def pixels(self) -> NDArray[np.uint8]:
        """Returns the picture as ``[size, size, 3]`` uint8."""
        levels = (unit(self.image) * 255.0 + 0.5).astype(np.uint8)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))

    def _shade(self, coat: Coat, placed: Shape, distance: Array, y: Array) -> Array:
        _, top, _, bottom = placed.bounds()
        height = max(bottom - top, 1e-6)
        lit = 1.0 + coat.light * ((0.5 * (top + bottom)) - y) / height
        depth = 0.22 * height
        return lit * (1.0 - coat.rim * unit(distance / depth + 1.0))

    def _window(self, shape: Shape | _SoftBox) -> tuple[slice, slice] | None:
        left, top, right, bottom = shape.bounds()
        rows = slice(max(int(top * self.size) - 1, 0), min(int(bottom * self.size) + 2, self.size))
        columns = slice(max(int(left * self.size) - 1, 0), min(int(right * self.size) + 2, self.size))
        empty = bottom <= 0 or right <= 0 or rows.start >= rows.stop or columns.start >= columns.stop
        return None if empty else (rows, columns)


def random_pattern(name: str, draws: Draws) -> Pattern | None:
    """Returns a pattern for a body about two units long; ``plain`` is None.

    Args:
        name: ``plain``, ``striped``, ``spotted``, ``patchy`` or ``two-toned``.
        draws: where its parameters come from.
    """
    if name == "striped":
        return Stripes(draws.uniform(0.3, 0.55), direction(draws.integer(-35, 35)), draws.uniform(0.35, 0.55))
    if name == "spotted":
        grid = [(-1.2 + 0.42 * i, -0.84 + 0.42 * j) for i in range(7) for j in range(5)]
        spots = [
            (x + draws.uniform(-0.1, 0.1), y + draws.uniform(-0.1, 0.1), draws.uniform(0.08, 0.17))
            for x, y in draws.shuffled(grid)[:22]
        ]
        return Spots(tuple(spots))
    if name == "patchy":
        return Patches(draws.array(16, 16), draws.uniform(2.2, 3.2))
    if name == "two-toned":
        return HalfPlane(direction(90 + draws.integer(-12, 12)), draws.uniform(-0.02, 0.18))
    return None


@dataclass(frozen=True)
class _SoftBox:
    x: float
    y: float
    width: float
    height: float

    def bounds(self) -> Bounds:
        return self.x - self.width, self.y - self.height, self.x + self.width, self.y + self.height


_UNMOVED = Pose()


def _column(colour: Colour) -> Array:
    return np.asarray(colour, np.float32)[:, None, None]


def _covered(distance: Array, pixel: float) -> Array:
    return unit(0.5 - distance / pixel)
