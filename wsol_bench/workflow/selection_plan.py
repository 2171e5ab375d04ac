"""What a selection judged, as a file: with it and the records every row can be derived again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from wsol_bench.annotations.firewall import Access
from wsol_bench.atomic import write_text
from wsol_bench.errors import UsageError
from wsol_bench.protocol import Protocol, Sampler, SearchedProtocol, load_protocol
from wsol_bench.training.trial_folder import Status, TrialFolder, dataset_slug
from wsol_bench.workflow.scored import Scored
from wsol_bench.workflow.workspace import Workspace
from wsol_bench.yaml_file import StrictModel, read_yaml, yaml_text

FILE = "selection.yaml"

UNPROPOSED = "unproposed"
"""Stands for the trial of a configuration that a search was to try but has not proposed."""


class PlannedRun(StrictModel):
    """One run that competes.

    Attributes:
        label: name in tables, ``cam/3``; ``cam/3+tpe`` where the configuration was searched.
        method: registered name.
        trial: its id, or :data:`UNPROPOSED`.
        status: how far it was when it was judged.
        epochs: its finished epochs that may be selected.
    """

    label: str
    method: str
    trial: str
    status: Status | Literal["failed"]
    epochs: tuple[int, ...]


class SelectionPlan(StrictModel):
    """The content of ``selection.yaml``.

    Attributes:
        version: of this layout.
        dataset: the dataset as the user named it.
        dataset_version: version of its content.
        protocol: name of a protocol of the benchmark, or the content of one's own.
        sources: what selects, in the user's words.
        scored: against what: ``boxes``, ``masks`` by PxAP, or ``nothing`` without ground truth of the test images.
        replicates: bootstrap replicates behind each interval.
        sampler: what chose the configurations.
        runs: everything that was planned, in order.
    """

    version: Literal[1] = 1
    dataset: str
    dataset_version: str
    protocol: str | Protocol
    sources: tuple[str, ...]
    scored: Scored = "boxes"
    replicates: int
    sampler: Sampler = "plan"
    runs: tuple[PlannedRun, ...]

    @model_validator(mode="after")
    def _labelled(self) -> Self:
        for run in self.runs:
            number = run.label.rpartition("/")[2]
            if number.partition("+")[2] != ("" if self.sampler == "plan" else self.sampler):
                raise ValueError(f"the run '{run.label}' was not chosen by the sampler '{self.sampler}'")
        return self

    @property
    def unfinished(self) -> tuple[PlannedRun, ...]:
        """Runs whose training has not come to its end, with or without epochs that can be judged."""
        return tuple(run for run in self.runs if run.status in ("missing", "partial", "failed"))

    @property
    def rules(self) -> Protocol:
        """The protocol itself, marked where the configurations were searched."""
        protocol = load_protocol(self.protocol) if isinstance(self.protocol, str) else self.protocol
        return protocol if self.sampler == "plan" else SearchedProtocol.of(protocol, self.sampler)

    @property
    def options(self) -> str:
        """The options by which commands find this plan: ``-d critters --sampler tpe``."""
        return _options(self.dataset, self.sampler)

    def results(self, workspace: Workspace) -> Path:
        """Returns the folder of the plan and of the rows that it explains."""
        return workspace.results(self.dataset, self.sampler)

    def folder_of(self, run: PlannedRun, workspace: Workspace) -> Path:
        """Returns the folder of a run's trial."""
        return workspace.root / "trials" / dataset_slug(self.dataset) / dataset_slug(run.method) / run.trial

    def write(self, folder: Path) -> None:
        """Writes the plan beside the rows that it explains."""
        write_text(folder / FILE, yaml_text(self.model_dump(mode="json")))


def training_accesses(plan: SelectionPlan, workspace: Workspace) -> dict[str, list[Access]]:
    """Returns the annotations read in training by label of the run; runs without provenance are missing.

    Raises:
        RecordError: the provenance of a run is damaged.
    """
    found = {run.label: TrialFolder(plan.folder_of(run, workspace)).accesses() for run in plan.runs}
    return {label: accesses for label, accesses in found.items() if accesses is not None}


def read_plan(workspace: Workspace, dataset: str, sampler: Sampler = "plan") -> SelectionPlan:
    """Reads the plan of the latest selection on a dataset.

    Args:
        workspace: where it was made.
        dataset: as the user names it.
        sampler: what chose the configurations.

    Raises:
        UsageError: there was none yet.
        DataError: the file is not valid.
    """
    path = workspace.results(dataset, sampler) / FILE
    if not path.is_file():
        known = sorted(place.parent.name for place in workspace.root.glob(f"results/*/{FILE}"))
        listed = f"; this workspace has one of {', '.join(known)}" if known else ""
        searched = "" if sampler == "plan" else f" searched by '{sampler}'"
        raise UsageError(
            f"Expected a selection on '{dataset}'{searched} in {workspace.root} but there is none{listed}; fix: "
            f"'wsol-bench select {_options(dataset, sampler)}', or -w DIR."
        )
    return read_yaml(path, SelectionPlan)


def searched_label(label: str, sampler: Sampler) -> str:
    """Returns the name of a run in tables: ``cam/3+tpe`` is not the ``cam/3`` of the plan."""
    return label if sampler == "plan" else f"{label}+{sampler}"


def _options(dataset: str, sampler: Sampler) -> str:
    searched = "" if sampler == "plan" else f" --sampler {sampler}"
    return f"-d {shlex.quote(dataset)}{searched}"
