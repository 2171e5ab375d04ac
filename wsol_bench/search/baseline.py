"""Baselines: ``baselines/<method>.yaml`` with recipe, budget, search space and the printed numbers to expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wsol_bench.content import content_folder
from wsol_bench.errors import DataError
from wsol_bench.methods.base import Method
from wsol_bench.methods.hparams import Choice, Distribution, IntUniform, LogUniform, Uniform, Value
from wsol_bench.training.config import OptimizerParams


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """One searched parameter; exactly one of the four kinds."""

    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    int_uniform: tuple[int, int] | None = None
    choice: tuple[Value, ...] | None = None

    def distribution(self) -> Distribution:
        """Returns the distribution that the entry stands for."""
        if self.uniform is not None:
            return Uniform(*self.uniform)
        if self.log_uniform is not None:
            return LogUniform(*self.log_uniform)
        if self.int_uniform is not None:
            return IntUniform(*self.int_uniform)
        return Choice(self.choice or ())


class Recipe(_Strict):
    """How a method is run on one dataset: budget, defaults, and ranges that replace the method's own."""

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0, default=32)
    recipe: dict[str, Value] = {}
    space: dict[str, Range] = {}


class Baseline(_Strict):
    """The content of one file of ``baselines/``."""

    method: str
    citation: str = ""
    space: dict[str, Range] = {}
    datasets: dict[str, Recipe]
    expected: tuple[dict[str, Any], ...] = ()

    def recipe_for(self, dataset: str) -> Recipe:
        """Returns the recipe of a dataset (``critters:224`` finds ``critters``), or the file's ``default`` one."""
        family = dataset.partition(":")[0]
        found = self.datasets.get(dataset) or self.datasets.get(family) or self.datasets.get("default")
        if found is None:
            raise DataError(
                f"Expected a recipe of '{self.method}' for '{dataset}' or a 'default' one, but found neither."
            )
        return found


def load_baseline(method: str, method_class: type[Method]) -> Baseline:
    """Loads ``baselines/<method>.yaml``; a method without a file gets the shared ranges and a plain recipe.

    Raises:
        DataError: the file is not a valid baseline, or names a parameter that the method does not have.
    """
    path = content_folder("baselines") / f"{method}.yaml"
    if not path.is_file():
        return Baseline(method=method, datasets={"default": Recipe(epochs=10)})
    baseline = _parse(path)
    known = {**OptimizerParams.declarations(), **method_class.HParams.declarations()}
    for recipe in baseline.datasets.values():
        for name in (*recipe.recipe, *recipe.space, *baseline.space):
            if name not in known:
                raise DataError(f"Expected parameters of '{method}' ({', '.join(known)}) but got '{name}'.", path)
    return baseline


def _parse(path: Path) -> Baseline:
    try:
        return Baseline.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise DataError(f"Expected YAML but got: {error}", path) from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise DataError(f"Expected a baseline but: {problems}", path) from error
