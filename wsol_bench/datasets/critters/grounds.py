"""Textured grounds on which critters stand: ten families, each from its own recipe of noise, cells and strokes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wsol_bench.datasets.critters.canvas import Canvas, Coat, Colour
from wsol_bench.datasets.critters.draws import Draws
from wsol_bench.datasets.critters.shapes import Array, Capsule, Lens, direction, unit


@dataclass(frozen=True)
class Ground:
    """A family of backgrounds.

    Attributes:
        place: how captions say it, preposition included.
        colours: darkest, middle and lightest tone.
        fill: paints the whole canvas.
    """

    place: str
    colours: tuple[Colour, Colour, Colour]
    fill: Callable[[Canvas, Draws, tuple[Colour, Colour, Colour]], None]


def smooth_noise(canvas: Canvas, draws: Draws, columns: int, rows: int) -> Array:
    """Returns ``[size, size]`` noise in ``[0, 1)``, smooth between ``columns x rows`` random knots."""
    lattice = draws.array(rows + 2, columns + 2)
    ix, wx = _knots(canvas.x[0], columns)
    iy, wy = _knots(canvas.y[:, 0], rows)
    across = lattice[:, ix] * (1.0 - wx) + lattice[:, ix + 1] * wx
    return across[iy] * (1.0 - wy[:, None]) + across[iy + 1] * wy[:, None]


def grain(canvas: Canvas, draws: Draws, strength: float) -> None:
    """Lays fine noise and a slanting light over the finished picture, creature included."""
    fine = smooth_noise(canvas, draws, 56, 56)
    slope = draws.uniform(-0.14, 0.14) * (canvas.x - 0.5) + draws.uniform(-0.14, 0.14) * (canvas.y - 0.5)
    canvas.image *= (1.0 - 0.5 * strength + strength * fine) * (1.0 + slope)


def _knots(centres: Array, cells: int) -> tuple[np.typing.NDArray[np.int64], Array]:
    at = centres * float(cells)
    index = at.astype(np.int64)
    part = at - index.astype(np.float32)
    return index, part * part * (3.0 - 2.0 * part)


def _octaves(canvas: Canvas, draws: Draws, *layers: tuple[int, int, float]) -> Array:
    total = sum(weight for _, _, weight in layers)
    value = np.zeros((canvas.size, canvas.size), np.float32)
    for columns, rows, weight in layers:
        value += smooth_noise(canvas, draws, columns, rows) * (weight / total)
    return value


def _tones(canvas: Canvas, value: Array, colours: tuple[Colour, Colour, Colour]) -> None:
    """Colours ``value`` in [0, 1] from the darkest over the middle to the lightest tone."""
    value = value * 0.8 + 0.1
    low, high = np.minimum(value * 2.0, 1.0), np.maximum(value * 2.0 - 1.0, 0.0)
    for plane, (dark, middle, light) in enumerate(zip(*colours, strict=True)):
        canvas.image[plane] = dark + (middle - dark) * low + (light - middle) * high


def _stretch(value: Array, contrast: float) -> Array:
    return unit((value - 0.5) * contrast + 0.5)


def _triangle(phase: Array) -> Array:
    """Returns a wave of period 1 between 0 and 1."""
    wave: Array = np.abs((phase - np.floor(phase)) * 2.0 - 1.0)
    return wave


def _pebbles(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    near, second, tone = _cells(canvas, draws, draws.integer(7, 12))
    gap = np.minimum((second - near) * 6.0, 1.0)
    _tones(canvas, 0.12 + 0.85 * gap * (0.25 + 0.75 * tone) * (1.0 - 0.45 * near), colours)


def _tiles(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    cells = draws.integer(4, 7)
    cos, sin = direction(draws.integer(-40, 40))
    u = (canvas.x * cos + canvas.y * sin + 2.0) * float(cells)
    v = (canvas.y * cos - canvas.x * sin + 2.0) * float(cells)
    iu, iv = u.astype(np.int64), v.astype(np.int64)
    tone = draws.array(32, 32)[iv % 32, iu % 32]
    joint = np.minimum(np.minimum(0.5 - np.abs(u - np.floor(u) - 0.5), 0.5 - np.abs(v - np.floor(v) - 0.5)) * 14.0, 1.0)
    checker = ((iu + iv) % 2).astype(np.float32)
    value = (0.3 + 0.4 * checker + 0.3 * (tone - 0.5)) * joint + 0.05
    _tones(canvas, value + 0.12 * (_octaves(canvas, draws, (20, 20, 1.0)) - 0.5), colours)


def _leaves(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    _tones(canvas, 0.45 * _octaves(canvas, draws, (6, 6, 1.0), (24, 24, 1.0)), colours)
    for _ in range(44):
        length = draws.uniform(0.05, 0.1)
        tone = draws.uniform(0.35, 1.0)
        low, high = (colours[0], colours[1]) if draws.chance(0.5) else (colours[1], colours[2])
        colour = (_mix(low[0], high[0], tone), _mix(low[1], high[1], tone), _mix(low[2], high[2], tone))
        centre = draws.uniform(-0.02, 1.02), draws.uniform(-0.02, 1.02)
        leaf = Lens(centre, length, length * draws.uniform(0.3, 0.5), direction(draws.integer(0, 179)))
        canvas.paint(leaf, Coat(colour, rim=0.3))


def _grass(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    value = _octaves(canvas, draws, (48, 7, 1.0), (26, 4, 1.0), (5, 5, 0.8))
    _tones(canvas, _stretch(value, 1.8), colours)
    for _ in range(22):
        x, y, height = draws.uniform(0.0, 1.0), draws.uniform(0.1, 1.1), draws.uniform(0.1, 0.26)
        colour = colours[draws.integer(0, 2)]
        tip = x + draws.uniform(-0.06, 0.06), y - height
        canvas.paint(Capsule((x, y), tip, 0.009, 0.003), Coat(colour, rim=0.0, light=0.35))


def _ripples(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    cos, sin = direction(draws.integer(60, 120))
    bend = _octaves(canvas, draws, (4, 4, 1.0), (9, 9, 0.4))
    wave = _triangle((canvas.x * cos + canvas.y * sin) * draws.uniform(7.0, 12.0) + bend * 3.0)
    _tones(canvas, 0.15 + 0.55 * wave + 0.3 * _octaves(canvas, draws, (30, 30, 1.0)), colours)


def _snow(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    drifts = _octaves(canvas, draws, (3, 5, 1.0), (8, 14, 0.5))
    _tones(canvas, 0.75 * _stretch(drifts, 2.0) + 0.3 * smooth_noise(canvas, draws, 40, 40), colours)


def _moss(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    patches = _stretch(_octaves(canvas, draws, (6, 6, 1.0), (14, 14, 0.6)), 6.0)
    fine = _octaves(canvas, draws, (22, 22, 1.0), (45, 45, 1.0))
    _tones(canvas, 0.62 * patches + 0.5 * (fine - 0.25), colours)


def _planks(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    count = draws.integer(4, 7)
    across, rows, columns = (canvas.y, 44, 5) if draws.chance(0.5) else (canvas.x, 5, 44)
    at = across * float(count) + draws.uniform(0.0, 1.0)
    tone = draws.array(count + 2)[at.astype(np.int64)]
    joint = np.minimum((0.5 - np.abs(at - np.floor(at) - 0.5)) * 16.0, 1.0)
    fibre = smooth_noise(canvas, draws, columns, rows)
    _tones(canvas, (0.2 + 0.35 * tone + 0.4 * fibre) * (0.25 + 0.75 * joint), colours)


def _water(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    net = np.abs(_octaves(canvas, draws, (7, 9, 1.0), (13, 17, 0.7)) - 0.5)
    light = 1.0 - np.minimum(net * 9.0, 1.0)
    _tones(canvas, 0.5 * _octaves(canvas, draws, (3, 4, 1.0), (18, 30, 0.6)) + 0.5 * light * light, colours)


def _mist(canvas: Canvas, draws: Draws, colours: tuple[Colour, Colour, Colour]) -> None:
    cos, sin = direction(draws.integer(50, 130))
    slope = (canvas.x - 0.5) * cos + (canvas.y - 0.5) * sin + 0.5
    _tones(
        canvas, _stretch(0.75 * slope + 0.5 * _octaves(canvas, draws, (3, 3, 1.0), (7, 7, 0.6)) - 0.12, 1.2), colours
    )


def _cells(canvas: Canvas, draws: Draws, cells: int) -> tuple[Array, Array, Array]:
    """Returns distances to the nearest and second nearest of jittered points (in cells), and the nearest one's tone."""
    jitter = draws.array(3, cells + 2, cells + 2)
    grid = np.arange(-1, cells + 1, dtype=np.float32)
    points_x, points_y, tones = grid[None, :] + jitter[0], grid[:, None] + jitter[1], jitter[2]
    x, y = canvas.x * float(cells), canvas.y * float(cells)
    ix, iy = x.astype(np.int64), y.astype(np.int64)
    near = np.full((canvas.size, canvas.size), 1e6, np.float32)
    second, tone = near.copy(), np.zeros_like(near)
    for step_y in range(3):
        for step_x in range(3):
            at = (iy + step_y, ix + step_x)
            dx, dy = x - points_x[at], y - points_y[at]
            distance = dx * dx + dy * dy
            second = np.minimum(second, np.maximum(near, distance))
            tone = np.where(distance < near, tones[at], tone)
            near = np.minimum(near, distance)
    return np.sqrt(near), np.sqrt(second), tone


def _mix(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


GROUNDS: dict[str, Ground] = {
    "pebbles": Ground("on a pebble beach", ((0.2, 0.19, 0.18), (0.5, 0.47, 0.44), (0.86, 0.83, 0.78)), _pebbles),
    "grass": Ground("in tall grass", ((0.1, 0.22, 0.07), (0.28, 0.46, 0.15), (0.6, 0.72, 0.34)), _grass),
    "leaves": Ground("on fallen leaves", ((0.17, 0.1, 0.06), (0.5, 0.27, 0.1), (0.82, 0.6, 0.25)), _leaves),
    "sand": Ground("on a sand dune", ((0.62, 0.47, 0.28), (0.8, 0.66, 0.43), (0.95, 0.86, 0.66)), _ripples),
    "snow": Ground("in the snow", ((0.62, 0.7, 0.8), (0.82, 0.87, 0.93), (0.98, 0.98, 1.0)), _snow),
    "moss": Ground("on a mossy rock", ((0.25, 0.25, 0.24), (0.38, 0.41, 0.27), (0.47, 0.62, 0.25)), _moss),
    "planks": Ground("on wooden planks", ((0.22, 0.13, 0.08), (0.53, 0.35, 0.2), (0.8, 0.62, 0.42)), _planks),
    "tiles": Ground("on a tiled floor", ((0.28, 0.25, 0.28), (0.58, 0.44, 0.4), (0.88, 0.82, 0.76)), _tiles),
    "water": Ground("in shallow water", ((0.06, 0.3, 0.38), (0.2, 0.56, 0.62), (0.72, 0.92, 0.9)), _water),
    "mist": Ground("on a misty hill", ((0.33, 0.36, 0.42), (0.58, 0.6, 0.66), (0.9, 0.84, 0.8)), _mist),
}
"""The families by name."""
