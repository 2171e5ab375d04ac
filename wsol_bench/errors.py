"""Errors that a person reads: what was expected, what came instead, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

EXTRAS: Final = {
    "filelock": "train",
    "open_clip": "clip",
    "optuna": "train",
    "psycopg": "postgresql",
    "pycocotools": "coco",
    "ray": "ray",
    "safetensors": "train",
    "scipy": "mat",
    "submitit": "slurm",
    "timm": "train",
    "torch": "train",
    "torchvision": "train",
    "matplotlib": "plots",
    "jinja2": "report",
}
"""Optional packages by import name, and the extra of wsol-bench that installs each."""


class WsolBenchError(Exception):
    """Base of every error caused by input; the command line prints it without a traceback and exits with 2."""


class UsageError(WsolBenchError):
    """A name, option or argument that cannot be used."""


class DataError(WsolBenchError):
    """A file whose content cannot be used.

    Args:
        message: what is wrong and how to mend it.
        path: the offending file.
        line: 1-based line number, where the file is text.
    """

    def __init__(self, message: str, path: Path | None = None, line: int | None = None) -> None:
        self.path = path
        self.line = line
        where = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(where + message)


class WorkspaceError(WsolBenchError):
    """A place that cannot be read or written: a full disk, a read-only folder, a database that does not answer."""


class UnreachableError(WorkspaceError):
    """A database that does not answer at the moment; it may be worth asking again."""


class BusyError(WsolBenchError):
    """Another process is at work in the same place."""


class FirewallError(WsolBenchError):
    """Ground truth was asked for where only images and class labels may be seen."""


class PluginError(WsolBenchError):
    """A plug-in that cannot be imported, clashes with another, or does not fulfil its contract."""


class RecordError(WsolBenchError):
    """Records of a run that are missing, damaged, or of another version."""


class MissingPackageError(WsolBenchError):
    """A package that belongs to an optional part of wsol-bench and is not installed."""


def missing_package(error: ImportError) -> MissingPackageError | None:
    """Builds the error for a failed import of an optional package; None where the package is not one of ours."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    if extra is None:
        return None
    return MissingPackageError(
        f"Expected the package '{package}' but it cannot be imported ({error}); fix: pip install 'wsol-bench[{extra}]'."
    )


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Returns ``" Did you mean 'cub'?"`` for the closest choice, or an empty string when none is close."""
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    return f" Did you mean '{lowered[close[0]]}'?" if close else ""


def unknown_choice(option: str, got: str, choices: Iterable[str], *, hint: str = "") -> UsageError:
    """Builds the error for a name that is not among the known ones.

    Args:
        option: what the name stands for, as the user knows it (``--dataset``, ``protocol key``).
        got: the name that was given.
        choices: the names that would have been accepted.
        hint: a closing sentence, for instance the command that lists the choices.
    """
    known = sorted(choices)
    if not known:
        message = f"Expected {option} to be left out, as there is none to choose from, but got '{got}'."
    else:
        message = f"Expected {option} to be one of ({', '.join(known)}) but got '{got}'.{did_you_mean(got, known)}"
    return UsageError(f"{message} {hint}".rstrip())
