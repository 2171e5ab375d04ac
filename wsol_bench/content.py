"""Where the versioned content lives: protocols, baselines, pseudo-boxes and leaderboards.

A wheel carries the content folders as package data; in a source checkout they stand beside the package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, get_args

from wsol_bench.errors import WsolBenchError

Folder = Literal["protocols", "baselines", "pseudo_boxes", "leaderboards"]
FOLDERS: Final[tuple[str, ...]] = get_args(Folder)

_PACKAGE = Path(__file__).resolve().parent


def content_folder(name: Folder) -> Path:
    """Returns one of the content folders, of the installed wheel or of the source checkout.

    Raises:
        WsolBenchError: the installation carries no such folder.
    """
    if name in FOLDERS:
        for candidate in (_PACKAGE / "_content" / name, _PACKAGE.parent / name):
            if candidate.is_dir():
                return candidate
    raise WsolBenchError(
        f"Expected the installation of wsol-bench at {_PACKAGE} to carry the folder '{name}' but it does not; "
        "fix: install the package again."
    )
