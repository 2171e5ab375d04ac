"""From what a user types to a dataset: ``critters``, ``critters:size=96,seed=1``, ``folder:name=cub,frame=224``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import DataError, UsageError, unknown_choice
from wsol_bench.registry import DATASETS

DEFAULT_DATASET = "critters"

_FOLDERS = ("root", "metadata")


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as the user names it.

    Attributes:
        text: what was typed.
        name: the registered name.
        options: what follows the colon; a bare number is the ``size``.
    """

    text: str
    name: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> DatasetSpec:
        """Takes ``name``, ``name:224`` or ``name:option=value,option=value`` apart.

        Raises:
            UsageError: an option is given twice or has no name or value.
        """
        name, _, tail = text.partition(":")
        options: dict[str, str] = {}
        for part in tail.split(",") if tail else ():
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals and key.isdecimal():
                key, value = "size", key
            if not key or not value:
                raise UsageError(
                    f"Expected --dataset like '{name}:option=value,option=value' but got '{text}'; fix: see '{part}'."
                )
            if key in options:
                raise UsageError(f"Expected each option of '{text}' once but got '{key}' twice.")
            options[key] = value
        return cls(text, name, options)

    @property
    def family(self) -> str:
        """The name under which recipes are kept: ``cub`` for ``folder:name=CUB``, else the registered name."""
        return self.options.get("name", self.name).lower()


def open_dataset(spec: str = DEFAULT_DATASET, *, root: Path | None = None, metadata: Path | None = None) -> Dataset:
    """Opens a dataset.

    Options are the parameters of the dataset's constructor that are numbers, texts, switches (``true``, ``false``) or
    lists of texts (a file with one per line). A class method ``from_spec(options, ...)``, where there is one,
    takes them instead.

    Args:
        spec: a registered name, followed by ``:`` and options where the dataset has any.
        root: folder of the files, for datasets that have any.
        metadata: folder of the four-file metadata, for the dataset ``folder``.

    Raises:
        UsageError: the name or an option is unknown, an option's value does not fit, or a folder is missing or one
            too many.
        DataError: the files are not what the dataset expects.
    """
    parsed = DatasetSpec.parse(spec)
    dataset_class: Any = DATASETS.get(parsed.name)
    parameters = inspect.signature(dataset_class).parameters
    arguments: dict[str, Any] = {}
    for name, folder in zip(_FOLDERS, (root, metadata), strict=True):
        if name in parameters and folder is not None:
            arguments[name] = folder
        elif name in parameters and parameters[name].default is inspect.Parameter.empty:
            raise UsageError(
                f"Expected --{name} DIR with the files of '{parsed.name}' (its official layout, unpacked) but got none."
            )
        elif folder is not None:
            raise UsageError(
                f"Expected no --{name} for the dataset '{parsed.name}' but got '{folder}'; fix: leave it out."
            )
    opened: Dataset
    if hasattr(dataset_class, "from_spec"):
        opened = dataset_class.from_spec(parsed.options, **arguments)
    else:
        opened = dataset_class(**arguments, **_typed_options(parsed, dataset_class))
    return opened


def option_names(dataset_class: type[Dataset]) -> list[str]:
    """Returns the options that a dataset takes after the colon."""
    return list(_option_kinds(dataset_class))


def _typed_options(spec: DatasetSpec, dataset_class: type[Dataset]) -> dict[str, Any]:
    kinds = _option_kinds(dataset_class)
    typed: dict[str, Any] = {}
    for key, text in spec.options.items():
        if key not in kinds:
            raise unknown_choice(f"an option of the dataset '{spec.name}'", key, kinds)
        typed[key] = _typed(f"{spec.name}:{key}", text, kinds[key])
    for key, parameter in inspect.signature(dataset_class).parameters.items():
        if key in kinds and key not in typed and parameter.default is inspect.Parameter.empty:
            raise UsageError(f"The dataset '{spec.name}' needs the option {key}; fix: {spec.name}:{key}=...")
    return typed


def _option_kinds(dataset_class: type[Dataset]) -> dict[str, type]:
    """The constructor's parameters that can be typed on a command line, and what each of them holds."""
    kinds = {}
    for name, hint in get_type_hints(dataset_class.__init__).items():
        accepted = [kind for kind in (hint, *get_args(hint)) if kind in (bool, int, float, str, Sequence[str])]
        if name not in (*_FOLDERS, "return") and accepted:
            kinds[name] = accepted[0]
    return kinds


def _typed(option: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"Expected {option} to be true or false but got '{text}'.")
        return text.lower() == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            number = "a whole number" if kind is int else "a number"
            raise UsageError(f"Expected {option} to be {number} but got '{text}'.") from None
    return text if kind is str else _lines(option, Path(text).expanduser())


def _lines(option: str, path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Expected {option} to be a text file with one entry per line but: {error}.", path) from error
    return [line.strip() for line in lines if line.strip()]
