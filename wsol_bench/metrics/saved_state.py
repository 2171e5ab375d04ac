"""Reading back what an accumulator saved: every array must be there, with the shape that the settings imply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from wsol_bench.errors import DataError

State = dict[str, NDArray[Any]]
"""Arrays by name, as ``np.savez`` takes them and ``np.load`` returns them."""


def restore(expected: State, saved: Mapping[str, NDArray[Any]]) -> State:
    """Returns the saved arrays with the dtypes of ``expected``.

    Args:
        expected: the state of an empty accumulator with the same settings.
        saved: arrays read from a file; more than the expected ones may be there.

    Raises:
        DataError: an array is missing or does not fit.
    """
    restored: State = {}
    for name, array in expected.items():
        found = saved.get(name)
        if found is None or found.shape != array.shape or found.dtype.kind != array.dtype.kind:
            got = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise DataError(
                f"Expected a saved state with '{name}' as {array.dtype} {list(array.shape)} but got {got}; fix: load "
                "it with the settings it was saved with."
            )
        restored[name] = found.astype(array.dtype)
    return restored
