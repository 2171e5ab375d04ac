"""The trial store: a study in Optuna's storage that many workers share, some of which die.

What it promises, whatever is killed at whatever moment: every planned trial is finished or failed in the end; none is
run to completion twice; a result that arrives late is accepted, once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from pydantic import ValidationError

from wsol_bench.errors import UsageError, WorkspaceError
from wsol_bench.search.cells import Attempt, Cell, CellState, End, cells_of
from wsol_bench.search.optuna_space import optuna_params
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.search.same_study import check_search, check_setting
from wsol_bench.search.storage_errors import if_unfinished, talking_to
from wsol_bench.search.study_address import StudyAddress, masked
from wsol_bench.search.study_setting import STUDY_FORMAT, SearchSetting, StudySetting

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_SETTING = "wsol_bench"


@dataclass
class TrialStore:
    """A study.

    Attributes:
        address: where it is kept.
        storage: of Optuna.
        clock: seconds, monotonic.
    """

    address: StudyAddress
    storage: BaseStorage
    clock: Callable[[], float] = time.monotonic
    _last_signs: dict[int, tuple[int, float]] = field(default_factory=dict, init=False)

    @classmethod
    def open(cls, address: StudyAddress) -> TrialStore:
        """Opens a study, which may be empty.

        Raises:
            UsageError: a database without ``#name`` does not hold exactly one study.
            WorkspaceError: the place cannot be read or written.
        """
        storage = address.open()
        if not address.name:
            with talking_to(address):
                names = sorted({study.study_name.partition("/")[0] for study in storage.get_all_studies()})
            if len(names) != 1:
                raise UsageError(
                    f"Expected the name of a study at {address.masked} but got none, and there are {len(names)}"
                    f"{': ' + ', '.join(names) if names else ''}; fix: add #NAME to the URL."
                )
            address = address.named(names[0])
        return cls(address, storage)

    # A study per method: methods have different parameters, and Optuna's pages compare trials of one study.

    def setting(self) -> StudySetting:
        """Returns what the study was made with.

        Raises:
            UsageError: there is no such study.
            WorkspaceError: it was made by something else, or by another version.
        """
        for setting in self._studies().values():
            return setting
        raise UsageError(
            f"Expected a study '{self.address.name}' at {self.address.masked} but there is none; fix: 'wsol-bench "
            "sweep' makes it."
        )

    def register(self, trials: Sequence[PlannedTrial], setting: StudySetting, finished: Iterable[str] = ()) -> None:
        """Makes sure that every trial of a plan is in the study; what failed is asked for again.

        Args:
            trials: the plan.
            setting: what workers must know. That of a study which is there already is replaced, as when the workspace
                has moved, except for its dataset.
            finished: ids of the trials whose records are complete in the workspace; all others that the study takes
                for complete have lost them and are run again.

        Raises:
            UsageError: the trials belong into another study.
            WorkspaceError: the place cannot be written.
        """
        whole = set(finished)
        by_method: dict[str, list[PlannedTrial]] = {}
        for trial in trials:
            by_method.setdefault(trial.config.method, []).append(trial)
        self.refuse_another(trials, setting)
        with talking_to(self.address):
            for method, planned in by_method.items():
                study = self._study_of(method)
                self.storage.set_study_user_attr(study, _SETTING, setting.model_dump(mode="json"))
                known = {cell.trial.config.trial_id: cell for cell in self._cells_of(study, setting)}
                for trial in planned:
                    cell = known.get(trial.config.trial_id)
                    if cell is None:
                        self._create(study, trial)
                        continue
                    lost = cell.state in (CellState.COMPLETE, CellState.DIVERGED)
                    if cell.state == CellState.FAILED or (lost and trial.config.trial_id not in whole):
                        self._renew(study, cell.attempt, deaths=0)

    def refuse_another(self, trials: Sequence[PlannedTrial], setting: StudySetting) -> None:
        """Makes sure that a plan or a search, from configuration 0 of each method on, may go on in this study.

        Raises:
            UsageError: the study has another dataset, its configurations are chosen in another way, or its search was
                begun with other options.
        """
        studies, place = self._studies(), self.address.masked
        for before in studies.values():
            check_setting(before, setting, place)
        recipes = {trial.config.method: trial for trial in trials if trial.index == 0}
        for study, before in studies.items():
            if before.search is None or setting.search is None:
                continue
            with talking_to(self.address):
                cells = self._cells_of(study, before)
            if cells and cells[0].trial.config.method in recipes:
                first = cells[0].trial
                check_search(before.search, setting.search, first, recipes[first.config.method], place)

    def searches(self) -> list[tuple[SearchSetting, list[Cell]]]:
        """Returns the search of each method with its trials so far; empty where all configurations are planned.

        Methods whose searches were begun by different commands have different settings.
        """
        found = []
        for study, setting in self._studies().items():
            if setting.search is not None:
                with talking_to(self.address):
                    found.append((setting.search, self._cells_of(study, setting)))
        return found

    def add(self, trial: PlannedTrial) -> None:
        """Adds a trial to the study of its method, which is there already."""
        with talking_to(self.address):
            self._create(self._study_of(trial.config.method), trial)

    def cells(self, only: Iterable[str] | None = None) -> list[Cell]:
        """Returns where every trial stands, by method and in the order of the plan.

        Args:
            only: ids of trials; all by default.
        """
        wanted = None if only is None else set(only)
        found = []
        for study, setting in self._studies().items():
            with talking_to(self.address):
                found += self._cells_of(study, setting)
        return [cell for cell in found if wanted is None or cell.trial.config.trial_id in wanted]

    def claim(self, worker: str, only: Iterable[str] | None = None) -> Attempt | None:
        """Takes the next waiting trial; None when there is none at the moment.

        Trials of workers that died are freed on the way.

        Args:
            worker: who asks.
            only: ids of trials to choose from; all by default.
        """
        wanted = None if only is None else set(only)
        for study, setting in self._studies().items():
            with talking_to(self.address):
                for cell in self._cells_without_the_dead(study, setting):
                    if wanted is not None and cell.trial.config.trial_id not in wanted:
                        continue
                    if cell.state == CellState.WAITING and self._take(cell.attempt, worker):
                        return replace(cell.attempt, state=TrialState.RUNNING, worker=worker)
        return None

    def beat(self, attempt: Attempt, number: int, progress: Mapping[str, Any]) -> bool:
        """Gives a sign of life; returns False when the attempt was given to somebody else."""
        with talking_to(self.address), if_unfinished() as lost:
            self.storage.set_trial_user_attr(attempt.key, "progress", {**progress, "beat": number})
        return not lost

    def complete(self, attempt: Attempt, values: Mapping[int, float], *, diverged: bool) -> bool:
        """Accepts a result; returns False when the attempt had been given to somebody else.

        Args:
            attempt: whose.
            values: ``{epoch: top-1 accuracy on val, percent}``; what Optuna shows. It decides nothing.
            diverged: whether the numbers stopped being finite.
        """
        finite = {epoch: value for epoch, value in values.items() if math.isfinite(value)}
        with talking_to(self.address), if_unfinished() as lost:
            for epoch, value in finite.items():
                self.storage.set_trial_intermediate_value(attempt.key, epoch, value)
            self.storage.set_trial_user_attr(attempt.key, "diverged", diverged)
            best = max(finite.values(), default=0.0)
            self.storage.set_trial_state_values(attempt.key, TrialState.COMPLETE, [best])
        return not lost

    def give_up(self, attempt: Attempt, end: End, message: str = "") -> bool:
        """Ends an attempt without a result; returns False when somebody else has ended it.

        Args:
            attempt: which.
            end: why; decides whether the trial is tried again.
            message: for people.
        """
        with talking_to(self.address), if_unfinished() as lost:
            self.storage.set_trial_user_attr(attempt.key, "end", end.value)
            self.storage.set_trial_user_attr(attempt.key, "message", masked(message))
            self.storage.set_trial_state_values(attempt.key, TrialState.FAIL)
        return not lost

    def bury(self, worker: str) -> None:
        """Frees what a worker was running; for launchers, which see that a process has ended.

        Args:
            worker: its name.
        """
        for cell in self.cells():
            if cell.state == CellState.RUNNING and cell.attempt.worker == worker:
                self.give_up(cell.attempt, End.DIED)

    def _studies(self) -> dict[int, StudySetting]:
        """The setting of each of Optuna's studies that belong to this one, by Optuna's id."""
        with talking_to(self.address):
            ours = [one for one in self.storage.get_all_studies() if one.study_name.startswith(f"{self.address.name}/")]
            # One without a setting and without trials is being made, or was when its maker was killed.
            there = [one for one in ours if _SETTING in one.user_attrs or self.storage.get_n_trials(one._study_id)]
        return {one._study_id: self._setting(one.user_attrs) for one in there}

    def _study_of(self, method: str) -> int:
        name = f"{self.address.name}/{method}"
        try:
            return self.storage.create_new_study([StudyDirection.MAXIMIZE], name)
        except DuplicatedStudyError:
            return self.storage.get_study_id_from_name(name)

    def _setting(self, attributes: Mapping[str, Any]) -> StudySetting:
        try:
            setting = StudySetting.model_validate(attributes[_SETTING])
        except (KeyError, ValidationError) as error:
            raise WorkspaceError(
                f"Expected {self.address.masked} to hold a study of this version of wsol-bench but got another one; "
                "fix: another --study."
            ) from error
        if setting.format != STUDY_FORMAT:
            raise WorkspaceError(
                f"Expected a study of format {STUDY_FORMAT} at {self.address.masked} but got {setting.format}; fix: "
                "another --study, or the version of wsol-bench that made it."
            )
        return setting

    def _cells_of(self, study: int, setting: StudySetting) -> list[Cell]:
        try:
            attempts = [Attempt.of(frozen) for frozen in self.storage.get_all_trials(study, deepcopy=False)]
        except (KeyError, ValidationError, ValueError) as error:
            raise WorkspaceError(
                f"Expected the study {self.address.masked} to hold trials of 'wsol-bench sweep' only but got another "
                f"one ({error}); fix: another --study."
            ) from error
        cells = cells_of(attempts, setting.max_deaths)
        if setting.search is None:
            return cells
        # Several workers may propose the last configuration of a search, and the first one counts; others have
        # proposed under the same number at the same time, and their place says which is which.
        return [cell.numbered(place) for place, cell in enumerate(cells[: setting.search.configs])]

    def _create(self, study: int, trial: PlannedTrial) -> None:
        params, distributions = optuna_params(trial.config)
        attributes = {
            "label": trial.label,
            "index": trial.index,
            "config": trial.config.model_dump(mode="json"),
            "turn": 0,
            "deaths": 0,
        }
        self._enqueue(study, params, distributions, attributes)

    def _renew(self, study: int, attempt: Attempt, *, deaths: int) -> None:
        before = self.storage.get_trial(attempt.key)
        kept = {name: before.user_attrs[name] for name in ("label", "index", "config")}
        attributes = kept | {"turn": attempt.turn + 1, "deaths": deaths}
        self._enqueue(study, before.params, before.distributions, attributes)

    def _enqueue(
        self, study: int, params: dict[str, Any], distributions: dict[str, BaseDistribution], attributes: dict[str, Any]
    ) -> None:
        template = create_trial(
            state=TrialState.WAITING, params=params, distributions=distributions, user_attrs=attributes
        )
        self.storage.create_new_trial(study, template)

    def _take(self, attempt: Attempt, worker: str) -> bool:
        with if_unfinished() as lost:
            if not self.storage.set_trial_state_values(attempt.key, TrialState.RUNNING):
                return False
            self.storage.set_trial_user_attr(attempt.key, "worker", worker)
        return not lost

    def _cells_without_the_dead(self, study: int, setting: StudySetting) -> list[Cell]:
        """Ends attempts without signs of life, makes the attempts that have to follow, and returns the cells then."""
        cells = self._cells_of(study, setting)
        silent = [cell for cell in cells if cell.state == CellState.RUNNING and self._is_silent(cell.attempt, setting)]
        for cell in silent:
            self.give_up(cell.attempt, End.DIED)
        if silent:
            cells = self._cells_of(study, setting)
        to_be_renewed = [cell.attempt for cell in cells if cell.to_be_renewed]
        for attempt in to_be_renewed:
            self._renew(study, attempt, deaths=attempt.deaths + (attempt.end == End.DIED))
        return self._cells_of(study, setting) if to_be_renewed else cells

    def _is_silent(self, attempt: Attempt, setting: StudySetting) -> bool:
        """Measures silence with the clock of who listens, from when it first heard: clocks of machines differ."""
        beat, since = self._last_signs.get(attempt.key, (-1, 0.0))
        if beat != attempt.beat:
            self._last_signs[attempt.key] = (attempt.beat, self.clock())
            return False
        return self.clock() - since > setting.grace
