"""The trial plan: every configuration of a sweep, enumerated before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wsol_bench.datasets.open_dataset import DatasetSpec
from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.methods.hparams import Distribution, Fixed, HyperParams, Value, draw
from wsol_bench.registry import DATASETS, METHODS
from wsol_bench.search.baseline import DEFAULT_RECIPE, Baseline, Recipe, checked_value, load_baseline
from wsol_bench.training.config import OptimizerParams, Precision, TrialConfig

_Groups = tuple[type[HyperParams], type[HyperParams]]
"""The shared parameters, and the method's own."""


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
        methods: registered names; repetitions count once.
        configs: configurations per method: the recipe, then ``configs - 1`` draws.
        seeds: runs per configuration, with seeds ``0..seeds-1``.
        hparam_seed: seed of the draws.
        epochs: replaces the recipe's budget when given.
        overrides: parameters set by the user, as values or as text; they are not drawn.
        precision: of the networks.
    """

    methods: tuple[str, ...] = ("cam",)
    configs: int = 1
    seeds: int = 1
    hparam_seed: int = 0
    epochs: int | None = None
    overrides: Mapping[str, Value] | None = None
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        for option, number in (("--configs", self.configs), ("--seeds", self.seeds), ("--epochs", self.epochs)):
            if number is not None and number < 1:
                raise UsageError(f"Expected {option} to be at least 1 but got {number}.")
        if not self.methods:
            raise UsageError("Expected at least one --method but got none.")

    @property
    def recipes(self) -> PlanRequest:
        """Configuration 0 of each method, from which a search begins."""
        return replace(self, configs=1, seeds=1)


@dataclass(frozen=True)
class Parameter:
    """A hyper-parameter of a method on a dataset.

    Attributes:
        name: as ``--set`` takes it.
        value: what the recipe sets it to.
        searched: where the sweep draws it from; :class:`~wsol_bench.methods.hparams.Fixed` when it does not.
        doc: one sentence.
    """

    name: str
    value: Value
    searched: Distribution
    doc: str


@dataclass(frozen=True)
class MethodOnDataset:
    """Everything that is known about a method on a dataset before it runs.

    Attributes:
        baseline: the content of the method's file.
        recipe: the part of it for the dataset.
        parameters: shared parameters first.
    """

    baseline: Baseline
    recipe: Recipe
    parameters: tuple[Parameter, ...]

    @classmethod
    def of(cls, method: str, dataset: str, backbone: str | None = None) -> MethodOnDataset:
        """Looks a method up.

        Args:
            method: registered name.
            dataset: what the user typed, or a family that the method has a recipe for.
            backbone: the one that the user set, if any; the recipe may have values for it.

        Raises:
            UsageError: an unknown method or dataset.
            DataError: the method's baseline file is not valid.
        """
        baseline = load_baseline(method, METHODS.get(method))
        known = {*DATASETS, *baseline.datasets} - {DEFAULT_RECIPE}
        name = DatasetSpec.parse(dataset).name
        if name not in known:
            raise unknown_choice("--dataset", name, known)
        recipe = baseline.recipe_for(dataset)
        values = recipe.values_for(backbone)
        ranges = {key: entry.distribution() for key, entry in (baseline.space | recipe.space).items()}
        return cls(
            baseline,
            recipe,
            tuple(
                Parameter(key, values.get(key, default), ranges.get(key, spread), doc)
                for group in _groups(method)
                for key, (default, spread, doc) in group.declarations().items()
            ),
        )


def enumerate_trials(request: PlanRequest, dataset: str, dataset_version: str) -> list[PlannedTrial]:
    """Lists the trials of a sweep, in a fixed order: by method, configuration, seed.

    Draws depend on the hyper-parameter seed, the configuration's index and the parameter's name only, so a longer plan
    extends a shorter one and all methods share the draws of the parameters that they have in common.

    Raises:
        UsageError: an unknown method or parameter, a value that does not fit, or nothing left to draw.
        DataError: a method's baseline file is not valid.
    """
    groups = {name: _groups(name) for name in request.methods}
    _refuse_unknown(request.overrides or {}, groups)
    trials = []
    for name, (shared, own) in groups.items():
        overrides = _typed_overrides(request.overrides or {}, (shared, own))
        plan = MethodOnDataset.of(name, dataset, str(overrides.get("backbone", "")) or None)
        for index in range(request.configs):
            drawn = _drawn(plan, overrides, request.hparam_seed, index, name) if index else {}
            values = {one.name: one.value for one in plan.parameters} | drawn | overrides
            for seed in range(request.seeds):
                config = TrialConfig(
                    method=name,
                    dataset=dataset,
                    dataset_version=dataset_version,
                    hparams=_part(own, values),
                    optimizer=_part(shared, values),
                    epochs=request.epochs or plan.recipe.epochs,
                    batch_size=plan.recipe.batch_size,
                    seed=seed,
                    precision=request.precision,
                )
                trials.append(PlannedTrial(index, config))
    return trials


def drawn_by_others(recipe: PlannedTrial, index: int, values: Mapping[str, Value]) -> PlannedTrial:
    """Returns a trial whose searched parameters somebody else has chosen.

    Args:
        recipe: configuration 0 of the method.
        index: number of the new configuration.
        values: what to change, as the plan would draw it.

    Raises:
        UsageError: a parameter is unknown or its value does not fit.
    """
    config = recipe.config
    groups = _groups(config.method)
    changed = {**config.summary(), **{key: checked_value(key, value, groups) for key, value in values.items()}}
    shared, own = (_part(group, changed) for group in groups)
    return PlannedTrial(index, config.model_copy(update={"optimizer": shared, "hparams": own}))


def _groups(method: str) -> _Groups:
    return OptimizerParams, METHODS.get(method).HParams


def _drawn(
    plan: MethodOnDataset, overrides: Mapping[str, Value], seed: int, index: int, method: str
) -> dict[str, Value]:
    free = [one for one in plan.parameters if not isinstance(one.searched, Fixed) and one.name not in overrides]
    if not free:
        raise UsageError(
            f"Expected --configs 1 but got more, and '{method}' has nothing left to draw: all would be the same."
        )
    return {one.name: draw(one.name, one.searched, seed, index) for one in free}


def _part(group: type[HyperParams], values: Mapping[str, Value]) -> dict[str, Value]:
    return group.from_dict({key: values[key] for key in group.declarations()}).as_dict()


def _refuse_unknown(overrides: Mapping[str, Value], groups: Mapping[str, _Groups]) -> None:
    """A parameter may be set that only some of the methods have, but not one that none of them has."""
    known = {key for pair in groups.values() for group in pair for key in group.declarations()}
    for key in overrides:
        if key not in known:
            hint = f"'wsol-bench methods show {next(iter(groups))}' explains them."
            raise unknown_choice("--set", key, known, hint=hint)


def _typed_overrides(overrides: Mapping[str, Value], groups: _Groups) -> dict[str, Value]:
    typed = {}
    for key, (default, _, _) in {key: one for group in groups for key, one in group.declarations().items()}.items():
        if key in overrides:
            given = overrides[key]
            try:
                value = _from_text(given, type(default)) if isinstance(given, str) else given
                typed[key] = checked_value(key, value, groups)
            except UsageError as error:
                raise UsageError(f"--set {key}={given}: {error}") from error
    return typed


def _from_text(text: str, kind: type) -> Value:
    """Reads a text as the declared type; what cannot be read stays a text, for the error to show."""
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        value: Value = kind(text)
    except (KeyError, ValueError):
        return text
    return value
