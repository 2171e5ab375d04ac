"""From what a user types to a dataset: ``critters``, ``critters:224``, ``critters:size=96,seed=1``, ``tiny-imagenet``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import UsageError
from wsol_bench.registry import DATASETS

DEFAULT_DATASET = "critters"


def open_dataset(spec: str = DEFAULT_DATASET, *, root: Path | None = None, metadata: Path | None = None) -> Dataset:
    """Opens a dataset.

    Args:
        spec: a registered name, for generated datasets followed by ``:`` and options (a bare number is the size).
        root: folder of the files, for datasets that have any.
        metadata: folder of the four-file metadata, for the dataset ``folder``.

    Raises:
        UsageError: the name or an option is unknown, or a needed folder is not given.
        DataError: the files are not what the dataset expects.
    """
    name, _, tail = spec.partition(":")
    dataset_class: Any = DATASETS.get(name)
    if hasattr(dataset_class, "from_spec"):
        opened: Dataset = dataset_class.from_spec(_options(spec, tail))
        return opened
    if tail:
        raise UsageError(f"Expected no options for the dataset '{name}' but got '{tail}'.")
    parameters = inspect.signature(dataset_class).parameters
    arguments: dict[str, Any] = {}
    if "root" in parameters:
        if root is None:
            raise UsageError(f"Expected --root DIR with the files of '{name}' (its official layout, unpacked).")
        arguments["root"] = root
    if "metadata" in parameters and metadata is not None:
        arguments["metadata"] = metadata
    opened = dataset_class(**arguments)
    return opened


def _options(spec: str, tail: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, tail.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "size", part
        if key in options:
            raise UsageError(f"Expected each option of '{spec}' once but got '{key}' twice.")
        options[key.strip()] = value.strip()
    return options
