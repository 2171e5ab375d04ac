"""Studies of planned trials that nobody has to train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsol_bench.search.plan import PlannedTrial, PlanRequest, enumerate_trials
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.study_setting import StudySetting
from wsol_bench.search.trial_store import TrialStore


def planned(configs: int = 3, **request: Any) -> list[PlannedTrial]:
    return enumerate_trials(PlanRequest(configs=configs, **request), "critters", "1")


def setting(workspace: Path, **changes: Any) -> StudySetting:
    return StudySetting(dataset="critters", dataset_version="1", workspace=str(workspace), **changes)


def journal(folder: Path) -> StudyAddress:
    return StudyAddress.parse(str(folder / "study.journal"))


def opened(folder: Path, **fields: Any) -> TrialStore:
    return TrialStore(journal(folder), journal(folder).open(), **fields)
