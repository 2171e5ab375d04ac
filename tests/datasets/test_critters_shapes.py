from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.datasets.critters.canvas import NOTHING, Canvas, Coat
from wsol_bench.datasets.critters.shapes import (
    Capsule,
    Ellipse,
    Lens,
    Outset,
    Polygon,
    Pose,
    Shape,
    Union,
    chain,
    direction,
)

SHAPES: dict[str, Shape] = {
    "capsule": Capsule((-0.3, 0.1), (0.4, -0.2), 0.2, 0.05),
    "point capsule": Capsule((0.1, 0.1), (0.1, 0.1), 0.2, 0.2),
    "ellipse": Ellipse((0.1, -0.1), 0.6, 0.2, direction(35)),
    "lens": Lens((0.0, 0.1), 0.7, 0.25, direction(-50)),
    "polygon": Polygon(((-0.5, -0.4), (0.6, -0.3), (0.2, 0.5))),
    "chain": chain(((-0.6, 0.2), (0.0, -0.3), (0.6, 0.3)), 0.15, 0.05, rounds=2),
    "blend": Union((Ellipse((-0.3, 0.0), 0.3, 0.3), Ellipse((0.3, 0.0), 0.3, 0.2)), 0.3),
    "outset": Outset(Capsule((-0.3, 0.1), (0.4, -0.2), 0.1, 0.05), 0.1),
}
POSE = Pose(0.45, 0.55, 0.3, 27, -1.0)


def grid(count: int = 401) -> tuple[np.ndarray, np.ndarray]:
    line = np.linspace(-1.5, 1.5, count).astype(np.float32)
    return line[None, :], line[:, None]


@pytest.mark.parametrize("name", SHAPES)
def test_bounds_hold_the_shape_and_are_nearly_tight(name: str) -> None:
    x, y = grid()
    inside = SHAPES[name].distance(x, y) < 0
    x0, y0, x1, y1 = SHAPES[name].bounds()
    columns, rows = x[0, inside.any(axis=0)], y[inside.any(axis=1), 0]
    assert x0 <= columns[0] + 1e-4
    assert y0 <= rows[0] + 1e-4
    assert columns[-1] <= x1 + 1e-4
    assert rows[-1] <= y1 + 1e-4
    slack = 0.35 if name == "outset" else 0.09
    assert max(columns[0] - x0, rows[0] - y0, x1 - columns[-1], y1 - rows[-1]) < slack


@pytest.mark.parametrize("name", SHAPES)
def test_a_pose_moves_a_shape_and_scales_its_distances(name: str) -> None:
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1.2, 1.2, (2, 200)).astype(np.float32)
    moved = np.array([POSE.point(a, b) for a, b in zip(u.tolist(), v.tolist(), strict=True)], np.float32).T
    here, there = SHAPES[name].distance(u, v), SHAPES[name].placed(POSE).distance(moved[0], moved[1])
    np.testing.assert_allclose(there, POSE.scale * here, atol=2e-5)
    np.testing.assert_allclose(POSE.local(moved[0], moved[1]), (u, v), atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_distances_are_those_to_the_outline_near_it(name: str) -> None:
    x, y = grid(601)
    distance = SHAPES[name].distance(x, y)
    inside = distance < 0
    edge = np.zeros_like(inside)
    edge[:, 1:] |= inside[:, 1:] != inside[:, :-1]
    edge[1:] |= inside[1:] != inside[:-1]
    rows, columns = np.nonzero(edge)
    # A cell of the grid is 0.005 wide: the outline passes within it.
    assert np.abs(distance[rows, columns]).max() < 0.012


def test_a_disc_covers_its_area_at_every_size() -> None:
    for size in (64, 100, 224):
        canvas = Canvas(size)
        disc = Ellipse((0.52, 0.47), 0.31, 0.31)
        canvas.paint(disc, Coat((1.0, 1.0, 1.0), rim=0.0, light=0.0), owner=3)
        area = np.pi * 0.31**2
        assert canvas.image[0].mean() == pytest.approx(area, rel=0.002)
        assert (canvas.owner == 3).mean() == pytest.approx(area, rel=0.01)


def test_the_last_shape_owns_the_pixel() -> None:
    canvas = Canvas(64)
    coat = Coat((0.5, 0.5, 0.5))
    canvas.paint(Ellipse((0.5, 0.5), 0.3, 0.3), coat, owner=1)
    canvas.paint(Ellipse((0.6, 0.5), 0.1, 0.1), coat, owner=2)
    canvas.paint(Ellipse((0.4, 0.5), 0.1, 0.1), coat)
    assert canvas.owner[32, 38] == 2
    assert canvas.owner[32, 25] == NOTHING
    assert canvas.owner[15, 32] == 1


def test_shapes_beyond_the_edge_are_cut_or_left_out() -> None:
    canvas = Canvas(64)
    coat = Coat((1.0, 1.0, 1.0), rim=0.0, light=0.0)
    for x in (-3.0, 4.0):
        canvas.paint(Ellipse((x, 0.5), 0.2, 0.2), coat)
        canvas.shadow(x, 0.5, 0.2, 0.2, 0.5)
    assert canvas.image.max() == 0
    canvas.paint(Ellipse((0.0, 0.5), 0.2, 0.2), coat)
    assert canvas.image[0, 32, 0] == 1
    assert canvas.image[0, 32, 20] == 0
