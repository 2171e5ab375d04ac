"""Compiled functions that still import where no folder for their machine code is writable.

Numba compares the time stamp of a kernel's own file with its stored machine code. After editing something that kernels
of other files inline (``_flood.find``, the tables of ``_neighbours``), delete ``wsol_bench/maps/__pycache__``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compiles a function at its first call, without the GIL, and keeps the machine code on disk where it can.

    Numba refuses at import time when neither the package folder nor the user's cache folder can be written, as in many
    containers; such a machine compiles once per process instead.
    """
    try:
        return cast(_Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(_Function, numba.njit(nogil=True)(function))


def inlined(function: _Function) -> _Function:
    """Compiles a small function into each of its callers; it is never called from Python."""
    return cast(_Function, numba.njit(inline="always")(function))
