"""Two habits of arguments that the parser underneath does not have."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from wsol_bench.errors import UsageError


class HelpfulGroup(TyperGroup):
    """A group of commands that explains itself when it is called without any, and calls that no error."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments of the group."""
        return list(super().parse_args(ctx, args or ["--help"]))


class SeveralValuesCommand(TyperCommand):
    """A command without arguments whose list options take all values up to the next option: ``--iou 0.3 0.5 0.7``."""

    several: Collection[str] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments of the command."""
        return list(super().parse_args(ctx, spread(args, self.several)))


def spread(arguments: Sequence[str], several: Collection[str]) -> list[str]:
    """Repeats an option before each of its values: ``--iou 0.3 0.5`` becomes ``--iou 0.3 --iou 0.5``."""
    spread_out: list[str] = []
    current, fed = "", False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if argument.startswith("-"):
            current, fed = (name, bool(equals)) if name in several else ("", False)
            spread_out.append(argument)
        elif current and fed:
            spread_out += [current, argument]
        else:
            spread_out.append(argument)
            fed = True
    return spread_out


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Takes ``name=value`` texts apart.

    Raises:
        UsageError: a text has another form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = (piece.strip() for piece in text.partition("="))
        if not (name and equals and value):
            raise UsageError(f"Expected {option} name=value but got '{text}'.")
        if name in found:
            raise UsageError(f"Expected {option} {name}=... once but got it twice.")
        found[name] = value
    return found


def scalar(text: str) -> bool | int | float | str:
    """Reads a text as what it looks like: a switch (true, false), a whole number, a number, or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
