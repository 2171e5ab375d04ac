"""What a search has tried, for those who judge it: read from its study, after running what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsol_bench.datasets.base import Dataset
from wsol_bench.errors import UsageError
from wsol_bench.search.cells import Cell
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.run_study import StudyRequest, run_study, setting_of
from wsol_bench.workflow.study import FINISHED
from wsol_bench.workflow.sweep import TrialOutcome, plan_status
from wsol_bench.workflow.workspace import Workspace


def searched_trials(
    dataset: Dataset,
    recipes: Sequence[PlannedTrial],
    workspace: Workspace,
    request: StudyRequest,
    *,
    run: bool,
    screen: Screen,
) -> list[TrialOutcome]:
    """Returns the first configurations that a search has tried of each method, in the order of their proposal.

    Args:
        dataset: images and labels.
        recipes: configuration 0 of each method.
        workspace: where the trials are.
        request: the search, and how missing trials are run.
        run: first run what is missing, as ``wsol-bench sweep`` does; otherwise there may be fewer, or unfinished ones.
        screen: progress.

    Raises:
        TrialsFailedError: some trials failed.
        UsageError: there is no such search and nothing may be run, or it was begun with other options.
        WorkspaceError: the study cannot be read.
    """
    assert request.search is not None  # noqa: S101 - a plan needs no study to be judged
    configs = request.search.configs
    cells = [cell for tried in _tried(dataset, recipes, workspace, request) for cell in tried[:configs]]
    if not cells and not run:
        raise UsageError(
            f"Expected a search by '{request.search.sampler}' of {', '.join(_methods(recipes))} at "
            f"{request.address(workspace).masked} but there is none; fix: 'wsol-bench sweep --sampler "
            f"{request.search.sampler}' with the same options, or leave out --allow-missing."
        )
    there = plan_status([cell.trial for cell in cells], workspace)
    whole = len(there) == configs * len(recipes) and all(one.status in FINISHED for one in there)
    if whole or not run:
        # A study that has what it takes is only read: others may be working on more of it.
        return there
    return run_study(dataset, recipes, workspace, request, screen=screen)


def _tried(
    dataset: Dataset, recipes: Sequence[PlannedTrial], workspace: Workspace, request: StudyRequest
) -> list[list[Cell]]:
    """The trials of each method that is in the study; a journal that is not there is not made."""
    address = request.address(workspace)
    if address.is_journal and not Path(address.place).is_file():
        return []
    store = TrialStore.open(address)
    store.refuse_another(recipes, setting_of(dataset, workspace, request))
    by_method = {cells[0].method: cells for _, cells in store.searches() if cells}
    return [by_method[method] for method in _methods(recipes) if method in by_method]


def _methods(recipes: Sequence[PlannedTrial]) -> list[str]:
    return [recipe.config.method for recipe in recipes]
