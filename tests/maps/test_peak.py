from __future__ import annotations

import numpy as np
import pytest

from wsol_bench.errors import UsageError
from wsol_bench.maps.peak import peaks


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_first_maximum_in_row_major_order(dtype: type) -> None:
    maps = np.zeros((3, 5, 7), dtype)
    maps[0, 4, 2] = maps[0, 3, 6] = 1
    maps[1, 0, 6] = maps[1, 1, 0] = 1
    maps[2, 4, 6] = 1
    found = peaks(maps)
    assert found.dtype == np.int16
    assert found.tolist() == [[6, 3], [6, 0], [6, 4]]
    assert peaks(maps[0]).tolist() == [6, 3]


@pytest.mark.parametrize("value", [0.0, 0.7, np.nan])
def test_constant_maps_point_nowhere(value: float) -> None:
    assert peaks(np.full((2, 3, 3), value)).tolist() == [[-1, -1], [-1, -1]]


def test_a_map_with_nan_points_nowhere() -> None:
    maps = np.random.default_rng(0).random((1, 4, 4))
    maps[0, 2, 2] = np.nan
    assert peaks(maps).tolist() == [[-1, -1]]


def test_shapes() -> None:
    assert peaks(np.zeros((0, 3, 3))).shape == (0, 2)
    for shape in [(3,), (1, 1, 3, 3), (2, 0, 3)]:
        with pytest.raises(UsageError, match="Expected maps of shape"):
            peaks(np.zeros(shape))
