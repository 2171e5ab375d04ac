"""Whether what is asked for can go on in a study that is there already, or belongs into another one."""

from __future__ import annotations

from wsol_bench.errors import UsageError
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.search.study_setting import SearchSetting, StudySetting
from wsol_bench.training.config import TrialConfig

_ANOTHER = "fix: the same options, or a search of its own by another --study"


def check_setting(before: StudySetting, wanted: StudySetting, place: str) -> None:
    """Refuses another dataset, and another way of choosing configurations.

    Args:
        before: of the study.
        wanted: what is asked for.
        place: of the study, for the message.

    Raises:
        UsageError: it belongs into another study.
    """
    if before.dataset != wanted.dataset:
        raise UsageError(
            f"Expected the study {place} to have the dataset '{wanted.dataset}' but it has '{before.dataset}'; fix: "
            "another --study."
        )
    if _chosen_by(before) != _chosen_by(wanted):
        raise UsageError(
            f"Expected the configurations of the study {place} to be chosen by '{_chosen_by(wanted)}' but they are by "
            f"'{_chosen_by(before)}'; fix: another --study."
        )


def check_search(
    before: SearchSetting, wanted: SearchSetting, began_with: PlannedTrial, recipe: PlannedTrial, place: str
) -> None:
    """Refuses to continue the search of a method with anything but more or fewer configurations.

    What a sampler has learnt, and what is compared in the end, would otherwise be of two searches.

    Args:
        before: how the search was begun.
        wanted: what is asked for.
        began_with: configuration 0 of the search.
        recipe: configuration 0 of what is asked for.
        place: of the study, for the message.

    Raises:
        UsageError: it belongs into another study.
    """
    ours, theirs = recipe.config, began_with.config
    if ours.dataset_version != theirs.dataset_version:
        raise UsageError(
            f"Expected version {theirs.dataset_version} of the dataset '{ours.dataset}', which the search at {place} "
            f"was made on, but got {ours.dataset_version}; fix: the same files and the same version of wsol-bench, or "
            "a search of its own by another --study."
        )
    fixed, free = sorted({*wanted.fixed} - {*before.fixed}), sorted({*before.fixed} - {*wanted.fixed})
    if fixed:
        raise UsageError(f"Expected no --set {fixed[0]}, which the search at {place} draws, but got one; {_ANOTHER}.")
    if free:
        raise UsageError(
            f"Expected --set {free[0]}={theirs.summary().get(free[0], 'VALUE')}, with which the search at {place} was "
            f"begun, but got none; {_ANOTHER}."
        )
    if before.seed != wanted.seed:
        raise UsageError(
            f"Expected --hparam-seed {before.seed}, with which the search at {place} was begun, but got {wanted.seed}; "
            f"{_ANOTHER}."
        )
    if ours != theirs:
        raise UsageError(
            f"Expected the '{ours.method}' that the search at {place} was begun with but got other values: "
            f"{_differences(theirs, ours)}; {_ANOTHER}."
        )


def _chosen_by(setting: StudySetting) -> str:
    return "plan" if setting.search is None else setting.search.sampler


def _differences(before: TrialConfig, now: TrialConfig) -> str:
    old, new = (config.model_dump(exclude={"hparams", "optimizer"}) | config.summary() for config in (before, now))
    return ", ".join(
        f"{name} {new.get(name)} instead of {old.get(name)}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    )
