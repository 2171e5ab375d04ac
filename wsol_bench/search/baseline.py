"""Baselines: ``baselines/<method>.yaml`` with recipe, budget, search space and the printed numbers to expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import Field, model_validator

from wsol_bench.content import content_folder
from wsol_bench.datasets.open_dataset import DatasetSpec
from wsol_bench.errors import DataError, UsageError, unknown_choice
from wsol_bench.methods.hparams import Choice, Distribution, HyperParams, IntUniform, LogUniform, Uniform, Value
from wsol_bench.training.config import OptimizerParams
from wsol_bench.yaml_file import StrictModel, read_content, validated

if TYPE_CHECKING:
    from wsol_bench.methods.base import Method

DEFAULT_RECIPE: Final = "default"
"""The recipe of datasets that a file does not name."""


class Range(StrictModel):
    """One searched parameter: exactly one of the four kinds, the lower bound first."""

    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    int_uniform: tuple[int, int] | None = None
    choice: tuple[Value, ...] | None = None

    @model_validator(mode="after")
    def _one_sound_kind(self) -> Self:
        given = [kind for kind in type(self).model_fields if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of {', '.join(type(self).model_fields)} but has {' and '.join(given) or 'none'}"
            )
        bounds = self.uniform or self.log_uniform or self.int_uniform
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"{given[0]} needs a lower bound below the upper one but has {list(bounds)}")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform needs positive bounds but has {list(self.log_uniform)}")
        if self.choice is not None and not self.choice:
            raise ValueError("choice needs at least one value")
        return self

    def distribution(self) -> Distribution:
        """Returns the distribution that the entry stands for."""
        if self.uniform is not None:
            return Uniform(*self.uniform)
        if self.log_uniform is not None:
            return LogUniform(*self.log_uniform)
        if self.int_uniform is not None:
            return IntUniform(*self.int_uniform)
        return Choice(self.choice or ())

    def extremes(self) -> tuple[Value, ...]:
        """Returns the bounds, or all values of a choice."""
        return self.uniform or self.log_uniform or self.int_uniform or self.choice or ()


class Recipe(StrictModel):
    """How a method is run on one dataset: budget, values, and ranges that replace the method's own.

    Attributes:
        backbones: values that replace those of ``recipe`` when the user sets this backbone.
    """

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0, default=32)
    recipe: dict[str, Value] = Field(default_factory=dict)
    backbones: dict[str, dict[str, Value]] = Field(default_factory=dict)
    space: dict[str, Range] = Field(default_factory=dict)

    def values_for(self, backbone: str | None) -> dict[str, Value]:
        """Returns the values of the recipe, for the backbone that the user set or the recipe's own."""
        return self.recipe | self.backbones.get(backbone or "", {})


class Expected(StrictModel):
    """A number printed in a paper, to be expected at full scale.

    Attributes:
        value: percent.
    """

    dataset: str
    backbone: str = ""
    val_boxes: str
    selection: str
    tau_from: str
    metric: str
    value: float = Field(ge=0, le=100)


class Baseline(StrictModel):
    """The content of one file of ``baselines/``.

    Attributes:
        extends: another method whose ranges and recipes hold where this file says nothing; never its expected numbers.
    """

    method: str
    extends: str | None = None
    citation: str = ""
    space: dict[str, Range] = Field(default_factory=dict)
    datasets: dict[str, Recipe]
    expected: tuple[Expected, ...] = ()

    def recipe_for(self, dataset: str) -> Recipe:
        """Returns the recipe of a dataset as the user names it, or the file's ``default`` one.

        ``critters:224`` finds ``critters``, and ``folder:name=cub`` finds ``cub``.

        Raises:
            DataError: the file has neither.
        """
        for name in (dataset, DatasetSpec.parse(dataset).family, DEFAULT_RECIPE):
            if name in self.datasets:
                return self.datasets[name]
        raise DataError(f"Expected a recipe of '{self.method}' for '{dataset}' or a 'default' one, but found neither.")


def load_baseline(method: str, method_class: type[Method]) -> Baseline:
    """Loads ``baselines/<method>.yaml``; a method without a file gets the shared ranges and a plain recipe.

    Raises:
        DataError: the file is not a valid baseline of this method.
    """
    path = content_folder("baselines") / f"{method}.yaml"
    if not path.is_file():
        return Baseline(method=method, datasets={DEFAULT_RECIPE: Recipe(epochs=10)})
    return read_baseline(path, method, (OptimizerParams, method_class.HParams))


def read_baseline(path: Path, method: str, parameters: Sequence[type[HyperParams]]) -> Baseline:
    """Reads and checks one baseline file.

    Args:
        path: the file.
        method: whose baseline it must be.
        parameters: declarations of everything that may be set.

    Raises:
        DataError: it is not a valid baseline, belongs to another method, names a parameter that the method does not
            have, or gives one a value that does not fit; with the file and the key.
    """
    baseline = validated(_extended(read_content(path), path), Baseline, path)
    if baseline.method != method:
        raise DataError(f"Expected 'method: {method}' but got 'method: {baseline.method}'.", path)
    named = [("space", key, value) for key, value in _drawable(baseline.space)]
    for name, recipe in baseline.datasets.items():
        named += [(f"datasets.{name}.recipe", key, value) for key, value in recipe.recipe.items()]
        for backbone, values in recipe.backbones.items():
            named += [(f"datasets.{name}.backbones.{backbone}", key, value) for key, value in values.items()]
        named += [(f"datasets.{name}.space", key, value) for key, value in _drawable(recipe.space)]
    for where, key, value in named:
        try:
            checked_value(key, value, parameters)
        except UsageError as error:
            raise DataError(f"{where}.{key}: {error}", path) from error
    return baseline


def checked_value(key: str, value: Any, parameters: Sequence[type[HyperParams]]) -> Value:
    """Returns the value of one parameter in its declared type.

    Raises:
        UsageError: the parameter is unknown or the value does not fit.
    """
    for group in parameters:
        if key in group.declarations():
            return group.from_dict({key: value}).as_dict()[key]
    raise unknown_choice("a hyper-parameter", key, [name for group in parameters for name in group.declarations()])


def _extended(content: Any, path: Path) -> Any:
    """Fills a file's content up with what the method that it extends says of ranges and recipes."""
    if not isinstance(content, dict) or not isinstance(content.get("extends"), str):
        return content
    base_path = path.with_name(f"{content['extends']}.yaml")
    if not base_path.is_file():
        raise DataError(f"Expected 'extends' to name another baseline but there is no {base_path.name}.", path)
    base = _extended(read_content(base_path), base_path)
    return content | {key: _merged(base.get(key, {}), content.get(key) or {}) for key in ("space", "datasets")}


def _merged(base: Any, own: Any) -> Any:
    """Merges two mappings key by key; a range is taken whole, and ``null`` takes a key of the base away."""
    if not isinstance(base, dict) or not isinstance(own, dict) or set(own) & set(Range.model_fields):
        return own
    merged = base | {key: _merged(base[key], value) if key in base else value for key, value in own.items()}
    return {key: value for key, value in merged.items() if value is not None}


def _drawable(space: Mapping[str, Range]) -> list[tuple[str, Value]]:
    """The extreme values of every range: if these fit, so does everything drawn."""
    return [(key, value) for key, entry in space.items() for value in entry.extremes()]
