"""The trial plan: every configuration of a sweep, enumerated before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.methods.base import Method
from wsol_bench.methods.hparams import Distribution, Fixed, Value, draw
from wsol_bench.registry import METHODS
from wsol_bench.search.baseline import Recipe, load_baseline
from wsol_bench.training.config import OptimizerParams, TrialConfig


@dataclass(frozen=True)
class PlannedTrial:
    """One cell of the plan.

    Attributes:
        index: number of the configuration within its method; 0 is the recipe, the others are drawn.
        config: the complete configuration.
    """

    index: int
    config: TrialConfig

    @property
    def label(self) -> str:
        """How tables name it: ``cam/0``, or ``cam/0/seed1`` for a seed other than 0."""
        seed = f"/seed{self.config.seed}" if self.config.seed else ""
        return f"{self.config.method}/{self.index}{seed}"


@dataclass(frozen=True)
class PlanRequest:
    """What the user asked for.

    Attributes:
        methods: registered names.
        configs: configurations per method: the recipe, then ``configs - 1`` draws.
        seeds: runs per configuration, with seeds ``0..seeds-1``.
        hparam_seed: seed of the draws.
        epochs: replaces the recipe's budget when given.
        overrides: parameters set by the user; they are not drawn.
    """

    methods: tuple[str, ...] = ("cam",)
    configs: int = 1
    seeds: int = 1
    hparam_seed: int = 0
    epochs: int | None = None
    overrides: Mapping[str, Value] | None = None


def enumerate_trials(request: PlanRequest, dataset: str, dataset_version: str) -> list[PlannedTrial]:
    """Lists the trials of a sweep, in a fixed order: by method, configuration, seed.

    Draws depend on the hyper-parameter seed, the configuration's index and the parameter's name only, so a longer plan
    extends a shorter one and all methods share the draws of the parameters that they have in common.

    Raises:
        UsageError: an unknown method or parameter, or fewer than one configuration or seed.
    """
    if request.configs < 1 or request.seeds < 1:
        raise UsageError(f"Expected --configs and --seeds of at least 1 but got {request.configs} and {request.seeds}.")
    trials = []
    for name in request.methods:
        method_class: type[Method] = METHODS.get(name)
        recipe, space = _search_space(name, method_class, dataset)
        _check_overrides(request.overrides or {}, method_class)
        for index in range(request.configs):
            values = dict(recipe.recipe)
            if index:
                values |= {key: draw(key, spread, request.hparam_seed, index) for key, spread in space.items()}
            values |= dict(request.overrides or {})
            for seed in range(request.seeds):
                config = _config(method_class, name, dataset, dataset_version, values, recipe, request.epochs, seed)
                trials.append(PlannedTrial(index, config))
    return trials


def describe_space(name: str, dataset: str) -> dict[str, tuple[Any, Distribution, str]]:
    """Returns ``{parameter: (default on this dataset, distribution, doc)}`` of a method, shared parameters first."""
    method_class: type[Method] = METHODS.get(name)
    recipe, space = _search_space(name, method_class, dataset)
    known = {**OptimizerParams.declarations(), **method_class.HParams.declarations()}
    return {
        key: (recipe.recipe.get(key, default), space.get(key, spread), doc)
        for key, (default, spread, doc) in known.items()
    }


def _search_space(name: str, method_class: type[Method], dataset: str) -> tuple[Recipe, dict[str, Distribution]]:
    baseline = load_baseline(name, method_class)
    recipe = baseline.recipe_for(dataset)
    declared = {**OptimizerParams.declarations(), **method_class.HParams.declarations()}
    space = {key: spread for key, (_, spread, _) in declared.items() if not isinstance(spread, Fixed)}
    space |= {key: entry.distribution() for key, entry in (baseline.space | recipe.space).items()}
    return recipe, space


def _check_overrides(overrides: Mapping[str, Value], method_class: type[Method]) -> None:
    known = {**OptimizerParams.declarations(), **method_class.HParams.declarations()}
    for key in overrides:
        if key not in known:
            raise unknown_choice("--set", key, known)


def _config(
    method_class: type[Method],
    name: str,
    dataset: str,
    dataset_version: str,
    values: Mapping[str, Value],
    recipe: Recipe,
    epochs: int | None,
    seed: int,
) -> TrialConfig:
    own = method_class.HParams.declarations()
    shared = OptimizerParams.declarations()
    return TrialConfig(
        method=name,
        dataset=dataset,
        dataset_version=dataset_version,
        hparams=method_class.HParams.from_dict({k: v for k, v in values.items() if k in own}).as_dict(),
        optimizer=OptimizerParams.from_dict({k: v for k, v in values.items() if k in shared}).as_dict(),
        epochs=epochs or recipe.epochs,
        batch_size=recipe.batch_size,
        seed=seed,
    )
