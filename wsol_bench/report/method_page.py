"""What ``wsol-bench methods show`` prints of a method: parameters, recipe, budget, and the numbers to expect."""

from __future__ import annotations

from typing import Any

from wsol_bench.methods.hparams import Choice, Distribution, Fixed, IntUniform, LogUniform, Uniform, Value
from wsol_bench.search.plan import MethodOnDataset, Parameter


def method_page(plan: MethodOnDataset, *, title: str, dataset: str, origin: str) -> dict[str, Any]:
    """Returns the page as plain values, for ``--json``.

    Args:
        plan: the method on the dataset.
        title: one line about the method.
        dataset: as the user named it.
        origin: where the method is registered.
    """
    return {
        "method": plan.baseline.method,
        "title": title,
        "citation": plan.baseline.citation,
        "origin": origin,
        "dataset": dataset,
        "epochs": plan.recipe.epochs,
        "batch_size": plan.recipe.batch_size,
        "parameters": [
            {
                "parameter": one.name,
                "value": one.value,
                "searched": distribution_text(one.searched),
                "meaning": _meaning(one),
            }
            for one in plan.parameters
        ],
        "backbones": plan.recipe.backbones,
        "recipes": sorted(plan.baseline.datasets),
        "expected": [entry.model_dump() for entry in plan.baseline.expected],
    }


def distribution_text(distribution: Distribution) -> str:
    """Says in words where a parameter is drawn from: ``log-uniform 0.01 .. 0.2``, ``integer 3 .. 8``, ``fixed``."""
    match distribution:
        case LogUniform(low, high):
            return f"log-uniform {low:g} .. {high:g}"
        case Uniform(low, high):
            return f"uniform {low:g} .. {high:g}"
        case IntUniform(low, high):
            return f"integer {low} .. {high}"
        case Choice(values):
            return f"one of {', '.join(map(value_text, values))}"
        case Fixed():
            return "fixed"
        case _:
            return str(distribution)


def value_text(value: Value) -> str:
    """Formats a hyper-parameter for people: numbers without trailing zeros, switches as ``--set`` takes them."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _meaning(parameter: Parameter) -> str:
    fixed = parameter.searched
    if isinstance(fixed, Fixed) and fixed.values is not None:
        return f"{parameter.doc} ({', '.join(map(value_text, fixed.values))})"
    return parameter.doc
