"""Searches that learn from earlier trials: Optuna's samplers instead of the plan.

What they propose depends on the order in which trials end, so that a search is not the grid that all methods share:
its results are those of another protocol, and its study has another name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from wsol_bench.errors import UsageError
from wsol_bench.methods.hparams import Value
from wsol_bench.protocol import SearchSampler
from wsol_bench.search.cells import Cell
from wsol_bench.search.optuna_space import optuna_distribution, optuna_params
from wsol_bench.search.plan import MethodOnDataset, PlannedTrial, drawn_by_others
from wsol_bench.search.study_setting import SearchSetting
from wsol_bench.search.trial_store import TrialStore

SAMPLERS: dict[SearchSampler, Callable[[int], BaseSampler]] = {
    # Trials that are running count as bad ones, or many workers would all try the same place.
    "tpe": lambda seed: TPESampler(seed=seed, constant_liar=True),
    "random": lambda seed: RandomSampler(seed=seed),
}

_PROPOSALS = 100
"""Proposals for one place after which a search has nothing new to propose."""

_SEEDS_APART = 1_000_003
"""So that a proposal made again does not repeat that of another place."""


def extend(store: TrialStore) -> bool:
    """Adds the next configuration of the first method that has not got all of its own; returns whether there was one.

    Args:
        store: a study.
    """
    for search, cells in store.searches():
        if cells and len(cells) < search.configs:
            store.add(_proposed(search, cells))
            return True
    return False


def _proposed(search: SearchSetting, cells: Sequence[Cell]) -> PlannedTrial:
    """Returns a configuration that the method has not got yet; few whole numbers or choices are soon proposed twice."""
    known = {cell.trial.config.trial_id for cell in cells}
    for again in range(_PROPOSALS):
        trial = drawn_by_others(cells[0].trial, len(cells), propose(search, cells, again))
        if trial.config.trial_id not in known:
            return trial
    raise UsageError(
        f"Expected --configs {len(cells)} or fewer, because '{search.sampler}' finds no other configuration of "
        f"'{cells[0].trial.config.method}', but got {search.configs}."
    )


def propose(search: SearchSetting, cells: Sequence[Cell], again: int = 0) -> dict[str, Value]:
    """Returns the searched parameters of the next configuration of a method.

    Args:
        search: the sampler and its seed. The proposal depends on it, on the number of earlier trials and on their
            results.
        cells: the trials of the method so far, its recipe first. What they reached is a class accuracy: class labels
            are all that a search may learn from, boxes belong to the judge.
        again: how many proposals for the same place were of no use.

    Raises:
        UsageError: everything is fixed.
    """
    seed = search.seed + len(cells) + again * _SEEDS_APART
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[search.sampler](seed))
    for cell in cells:
        params, distributions = optuna_params(cell.trial.config)
        if cell.attempt.value is not None:
            study.add_trial(create_trial(value=cell.attempt.value, params=params, distributions=distributions))
        elif not cell.finished:
            running = create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)
            study.add_trial(running)
    config = cells[0].trial.config
    plan = MethodOnDataset.of(config.method, config.dataset, str(config.hparams.get("backbone", "")) or None)
    space = {one.name: optuna_distribution(one.searched) for one in plan.parameters if one.name not in search.fixed}
    searched = {name: distribution for name, distribution in space.items() if distribution is not None}
    if not searched:
        raise UsageError(f"Expected a method with something to search but '{config.method}' has nothing left to draw.")
    return dict(study.ask(searched).params)
