"""Where the versioned content lives: protocols, baselines, pseudo-boxes and leaderboards.

A wheel carries the content folders as package data; in a source checkout they stand beside the package.
"""

from __future__ import annotations

from pathlib import Path

from wsol_bench.errors import WsolBenchError

FOLDERS = ("protocols", "baselines", "pseudo_boxes", "leaderboards")


def content_folder(name: str) -> Path:
    """Returns the folder ``protocols``, ``baselines``, ``pseudo_boxes`` or ``leaderboards``.

    Raises:
        WsolBenchError: the installation carries no such folder.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "_content" / name, package.parent / name):
        if name in FOLDERS and candidate.is_dir():
            return candidate
    raise WsolBenchError(f"This installation of wsol-bench carries no folder '{name}'. Fix: install the package again.")
