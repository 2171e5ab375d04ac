"""Hyper-parameters in Optuna's words, for its pages and its samplers."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from wsol_bench.methods.hparams import Choice, Distribution, IntUniform, LogUniform, Uniform, Value
from wsol_bench.search.plan import MethodOnDataset
from wsol_bench.training.config import TrialConfig


def optuna_distribution(distribution: Distribution) -> BaseDistribution | None:
    """Returns Optuna's counterpart of a distribution; None for what is not searched."""
    match distribution:
        case Uniform(low, high):
            return FloatDistribution(low, high)
        case LogUniform(low, high):
            return FloatDistribution(low, high, log=True)
        case IntUniform(low, high):
            return IntDistribution(low, high)
        case Choice(values):
            return CategoricalDistribution(values)
        case _:
            return None


def optuna_params(config: TrialConfig) -> tuple[dict[str, Value], dict[str, BaseDistribution]]:
    """Returns the searched parameters of a configuration and their distributions.

    A value outside of its range, as recipes and users may set it, is left out: Optuna would refuse it. The
    configuration itself is always kept whole beside these.
    """
    plan = MethodOnDataset.of(config.method, config.dataset, str(config.hparams.get("backbone", "")) or None)
    values = config.summary()
    distributions = {one.name: optuna_distribution(one.searched) for one in plan.parameters}
    fitting = {
        name: distribution
        for name, distribution in distributions.items()
        if distribution is not None and distribution._contains(distribution.to_internal_repr(values[name]))
    }
    return {name: values[name] for name in fitting}, fitting
