"""MATLAB files of official archives; needs scipy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import DataError


def read_variable(path: Path, name: str, *, fields: tuple[str, ...] = ()) -> NDArray[Any]:
    """Returns a variable of a ``.mat`` file as a one-dimensional array.

    Args:
        path: the file.
        name: the variable.
        fields: fields that the struct must have.

    Raises:
        DataError: the file is missing or damaged, or lacks the variable or a field.
    """
    import scipy.io

    try:
        content = scipy.io.loadmat(str(path), squeeze_me=True)
    except FileNotFoundError:
        raise DataError("Expected this file but it does not exist.", path) from None
    # The reader raises whatever its parser stumbles over.
    except (OSError, ValueError, TypeError, NotImplementedError, EOFError, KeyError, IndexError) as error:
        raise DataError(f"Expected a MATLAB file (version 7 or older) but: {error}.", path) from error
    except scipy.io.matlab.MatReadError as error:
        raise DataError(f"Expected a MATLAB file but: {error}.", path) from error
    if name not in content:
        held = ", ".join(key for key in content if not key.startswith("__"))
        raise DataError(f"Expected the variable '{name}' but the file holds: {held}.", path)
    variable: NDArray[Any] = np.atleast_1d(content[name])
    missing = [field for field in fields if field not in (variable.dtype.names or ())]
    if missing:
        raise DataError(
            f"Expected '{name}' to have the fields {', '.join(fields)} but {', '.join(missing)} is missing.", path
        )
    return variable
