"""Errors that a person reads: what was expected, what came instead, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


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


class FirewallError(WsolBenchError):
    """Ground truth was asked for where only images and class labels may be seen."""


class PluginError(WsolBenchError):
    """A plug-in that cannot be imported, clashes with another, or does not fulfil its contract."""


class RecordError(WsolBenchError):
    """Records of a run that are missing, damaged, or of another version."""


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
    listed = ", ".join(known) if known else "nothing is registered"
    message = f"Expected {option} to be one of ({listed}) but got '{got}'.{did_you_mean(got, known)}"
    return UsageError(f"{message} {hint}".rstrip())
