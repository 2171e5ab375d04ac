# ruff: noqa: D102 - the methods of shapes are documented once, in `Shape`
"""Plane shapes as signed distances: the same shape at every resolution, anti-aliased without supersampling.

Only ``+ - * /``, square root, minimum and maximum touch pixels: IEEE 754 rounds them the same way everywhere, so the
pixels are equal on every machine. Sines and cosines are taken of whole degrees and rounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
"""Always float32 in fact; the stubs of numpy make float64 of every product with a Python number."""
Point = tuple[float, float]
Bounds = tuple[float, float, float, float]


def direction(degrees: int) -> Point:
    """Returns the unit vector at an angle in whole degrees (0: right, 90: down)."""
    # Nine digits are more than float32 keeps and fewer than libraries disagree about.
    return round(math.cos(math.radians(degrees)), 9), round(math.sin(math.radians(degrees)), 9)


@dataclass(frozen=True)
class Pose:
    """Where a figure stands: flipped left to right or not, turned, scaled, then moved.

    Attributes:
        x: image x of the figure's origin, in image widths.
        y: image y of the figure's origin, in image heights.
        scale: image widths per unit of the figure.
        degrees: clockwise turn.
        flip: 1.0, or -1.0 to mirror.
    """

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    degrees: int = 0
    flip: float = 1.0

    def vector(self, u: float, v: float) -> Point:
        """Turns and flips a direction, without scaling it."""
        cos, sin = direction(self.degrees)
        return cos * self.flip * u - sin * v, sin * self.flip * u + cos * v

    def point(self, u: float, v: float) -> Point:
        """Returns the image point of a figure point."""
        du, dv = self.vector(u, v)
        return self.x + self.scale * du, self.y + self.scale * dv

    def local(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Returns figure coordinates of image points, the inverse of :meth:`point`."""
        cos, sin = direction(self.degrees)
        dx, dy = (x - self.x) / self.scale, (y - self.y) / self.scale
        return (dx * cos + dy * sin) * self.flip, dy * cos - dx * sin


class Shape(Protocol):
    """A region of the plane."""

    def distance(self, x: Array, y: Array) -> Array:
        """Returns the signed distance (negative inside, nearly exact at the outline) of the points ``x, y``."""
        ...

    def bounds(self) -> Bounds:
        """Returns ``x0, y0, x1, y1`` of a box that holds the shape."""
        ...

    def placed(self, pose: Pose) -> Shape:
        """Returns the shape as it stands after the pose."""
        ...


@dataclass(frozen=True)
class Capsule:
    """A line with round ends from ``start`` to ``end`` whose radius changes from ``r0`` to ``r1``."""

    start: Point
    end: Point
    r0: float
    r1: float

    def distance(self, x: Array, y: Array) -> Array:
        (x0, y0), (x1, y1) = self.start, self.end
        dx, dy = x1 - x0, y1 - y0
        length2 = max(dx * dx + dy * dy, 1e-12)
        px, py = x - x0, y - y0
        t = unit(px * (dx / length2) + py * (dy / length2))
        ex, ey = px - t * dx, py - t * dy
        away: Array = np.sqrt(ex * ex + ey * ey)
        return away - (t * (self.r1 - self.r0) + self.r0)

    def bounds(self) -> Bounds:
        (x0, y0), (x1, y1), r0, r1 = self.start, self.end, self.r0, self.r1
        return min(x0 - r0, x1 - r1), min(y0 - r0, y1 - r1), max(x0 + r0, x1 + r1), max(y0 + r0, y1 + r1)

    def placed(self, pose: Pose) -> Capsule:
        return Capsule(pose.point(*self.start), pose.point(*self.end), pose.scale * self.r0, pose.scale * self.r1)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse with half-axis ``a`` along the unit vector ``axis`` and ``b`` across."""

    centre: Point
    a: float
    b: float
    axis: Point = (1.0, 0.0)

    def distance(self, x: Array, y: Array) -> Array:
        u, v = _along(self.centre, self.axis, x, y)
        u, v = u / self.a, v / self.b
        k0 = np.sqrt(u * u + v * v + 1e-6)
        u, v = u / self.a, v / self.b
        k1 = np.sqrt(u * u + v * v + 1e-6 / (self.a * self.a))
        return k0 * (k0 - 1.0) / k1

    def bounds(self) -> Bounds:
        (x, y), (cos, sin) = self.centre, self.axis
        w = math.sqrt((self.a * cos) * (self.a * cos) + (self.b * sin) * (self.b * sin))
        h = math.sqrt((self.a * sin) * (self.a * sin) + (self.b * cos) * (self.b * cos))
        return x - w, y - h, x + w, y + h

    def placed(self, pose: Pose) -> Ellipse:
        axis = pose.vector(*self.axis)
        return Ellipse(pose.point(*self.centre), pose.scale * self.a, pose.scale * self.b, axis)


@dataclass(frozen=True)
class Lens:
    """A leaf with two sharp tips, ``length`` from the centre to a tip along ``axis``, ``width`` to its side."""

    centre: Point
    length: float
    width: float
    axis: Point = (1.0, 0.0)

    def distance(self, x: Array, y: Array) -> Array:
        u, v = _along(self.centre, self.axis, x, y)
        radius = (self.length * self.length + self.width * self.width) / (2.0 * self.width)
        # The farther of the two arcs decides, and it is the one on the other side of the axis.
        v = np.abs(v) + (radius - self.width)
        return np.sqrt(u * u + v * v) - radius

    def bounds(self) -> Bounds:
        return Ellipse(self.centre, self.length, self.width, self.axis).bounds()

    def placed(self, pose: Pose) -> Lens:
        axis = pose.vector(*self.axis)
        return Lens(pose.point(*self.centre), pose.scale * self.length, pose.scale * self.width, axis)


@dataclass(frozen=True)
class Polygon:
    """A convex polygon given by its corners in order, in either sense."""

    corners: tuple[Point, ...]

    def distance(self, x: Array, y: Array) -> Array:
        edges = list(zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True))
        turn = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges)
        farthest: Array | None = None
        for (x0, y0), (x1, y1) in edges:
            nx, ny = y1 - y0, x0 - x1
            length = max(math.sqrt(nx * nx + ny * ny), 1e-9) * (1.0 if turn > 0 else -1.0)
            side = (x - x0) * (nx / length) + (y - y0) * (ny / length)
            farthest = side if farthest is None else np.maximum(farthest, side)
        if farthest is None:
            return np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, np.float32)
        return farthest

    def bounds(self) -> Bounds:
        xs, ys = [x for x, _ in self.corners], [y for _, y in self.corners]
        return min(xs), min(ys), max(xs), max(ys)

    def placed(self, pose: Pose) -> Polygon:
        return Polygon(tuple(pose.point(*corner) for corner in self.corners))


@dataclass(frozen=True)
class Union:
    """Several shapes as one; ``blend`` is the width over which joints are rounded (0: plain union)."""

    shapes: tuple[Shape, ...]
    blend: float = 0.0

    def distance(self, x: Array, y: Array) -> Array:
        joined = self.shapes[0].distance(x, y)
        for shape in self.shapes[1:]:
            other = shape.distance(x, y)
            if self.blend > 0:
                h = unit((other - joined) * (0.5 / self.blend) + 0.5)
                joined = other + h * (joined - other) - h * (1.0 - h) * self.blend
            else:
                joined = np.minimum(joined, other)
        return joined

    def bounds(self) -> Bounds:
        # A blend bulges by at most a quarter of its width.
        bulge = 0.25 * self.blend
        x0, y0, x1, y1 = around(shape.bounds() for shape in self.shapes)
        return x0 - bulge, y0 - bulge, x1 + bulge, y1 + bulge

    def placed(self, pose: Pose) -> Union:
        return Union(tuple(shape.placed(pose) for shape in self.shapes), pose.scale * self.blend)


@dataclass(frozen=True)
class Outset:
    """A shape grown by ``width`` on all sides, for outlines."""

    shape: Shape
    width: float

    def distance(self, x: Array, y: Array) -> Array:
        return self.shape.distance(x, y) - self.width

    def bounds(self) -> Bounds:
        # Sharp tips move out by more than the width.
        x0, y0, x1, y1 = self.shape.bounds()
        return x0 - 4 * self.width, y0 - 4 * self.width, x1 + 4 * self.width, y1 + 4 * self.width

    def placed(self, pose: Pose) -> Outset:
        return Outset(self.shape.placed(pose), pose.scale * self.width)


def chain(corners: Sequence[Point], r0: float, r1: float, *, rounds: int = 1) -> Union:
    """Returns a bent line along ``corners`` whose radius changes steadily from ``r0`` to ``r1``.

    Args:
        corners: control points; the line starts and ends at the outer two and passes by the others.
        r0: radius at the start.
        r1: radius at the end.
        rounds: how often corners are cut (Chaikin's subdivision); each round doubles the number of links.
    """
    points = list(corners)
    for _ in range(rounds):
        cut = [points[0]]
        for (ax, ay), (bx, by) in pairwise(points):
            cut += [(0.75 * ax + 0.25 * bx, 0.75 * ay + 0.25 * by), (0.25 * ax + 0.75 * bx, 0.25 * ay + 0.75 * by)]
        points = [*cut, points[-1]]
    radii = [r0 + (r1 - r0) * i / (len(points) - 1) for i in range(len(points))]
    links = zip(points, points[1:], radii, radii[1:], strict=False)
    return Union(tuple(Capsule(start, end, before, after) for start, end, before, after in links))


def unit(value: Array) -> Array:
    """Returns the array clipped to ``[0, 1]``."""
    clipped: Array = np.minimum(np.maximum(value, 0.0), 1.0)
    return clipped


def around(boxes: Iterable[Bounds]) -> Bounds:
    """Returns the smallest box around several."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _along(centre: Point, axis: Point, x: Array, y: Array) -> tuple[Array, Array]:
    px, py = x - centre[0], y - centre[1]
    cos, sin = axis
    return px * cos + py * sin, py * cos - px * sin
