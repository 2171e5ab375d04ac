"""What a worker must know of a study beside the configurations of its trials; kept in the study itself."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from wsol_bench.errors import UsageError
from wsol_bench.protocol import SearchSampler
from wsol_bench.search.plan import PlanRequest

STUDY_FORMAT = 1
"""Raised when what a study keeps changes; other formats are refused."""


class SearchSetting(BaseModel):
    """How a search chooses configurations, where they are not planned beforehand.

    Attributes:
        sampler: name of a sampler.
        configs: how many configurations each method gets.
        seed: of the search.
        fixed: parameters that the user has set; they are not searched.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sampler: SearchSampler
    configs: int = Field(gt=0)
    seed: int = 0
    fixed: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: PlanRequest, sampler: SearchSampler) -> Self:
        """Returns the search that takes the place of a plan.

        Raises:
            UsageError: the plan has several seeds.
        """
        if plan.seeds != 1:
            raise UsageError(
                f"Expected --seeds 1 with --sampler {sampler}, which tries each configuration once, but got "
                f"{plan.seeds}."
            )
        return cls(sampler=sampler, configs=plan.configs, seed=plan.hparam_seed, fixed=tuple(plan.overrides or ()))


class StudySetting(BaseModel):
    """How the trials of a study are run.

    Attributes:
        format: of the study.
        dataset: as the user names it.
        dataset_version: of its content.
        root: folder of its files, or empty.
        metadata: folder of its four-file metadata, or empty.
        workspace: folder of the trials, as the machine that made the study sees it.
        plugins: files of plug-ins.
        on_bad_image: ``error`` or ``skip``.
        keep_maps: whether maps are recorded too.
        heartbeat: seconds between two signs of life of a worker.
        grace: seconds without one after which a worker counts as dead.
        max_deaths: workers that may die on a trial before it counts as failed.
        search: what chooses the configurations; None when they are planned beforehand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = STUDY_FORMAT
    dataset: str
    dataset_version: str
    root: str = ""
    metadata: str = ""
    workspace: str
    plugins: tuple[str, ...] = ()
    on_bad_image: str = "error"
    keep_maps: bool = False
    heartbeat: float = Field(default=5.0, gt=0)
    grace: float = Field(default=60.0, gt=0)
    max_deaths: int = Field(default=3, ge=0)
    search: SearchSetting | None = None
