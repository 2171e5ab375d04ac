"""A study in a workspace: where it is kept, what its workers are told, and how one of its trials is run."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from wsol_bench.atomic import write_text
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError
from wsol_bench.protocol import Sampler
from wsol_bench.registry import load_plugin_file
from wsol_bench.search.lease import Lease, LeaseLostError
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.study_setting import StudySetting
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.search.worker import Result
from wsol_bench.training.device import make_deterministic, pick_device
from wsol_bench.training.loop import run_trial
from wsol_bench.training.trial_data import TrialData
from wsol_bench.training.trial_folder import Status, TrialFolder, dataset_slug
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.sweep import load_trial_data
from wsol_bench.workflow.trial_log import ProgressReport, TrialLog
from wsol_bench.workflow.workspace import Workspace

FINISHED = ("complete", "diverged")


def study_address(text: str | None, workspace: Workspace, dataset: str, sampler: Sampler = "plan") -> StudyAddress:
    """Returns where the study of a dataset is kept: in the workspace, unless the user says otherwise.

    Args:
        text: what the user typed, if anything.
        workspace: holds ``studies/<dataset>.journal``, and ``<dataset>-<sampler>.journal`` of searches.
        dataset: as the user names it.
        sampler: what chooses the configurations.
    """
    name = dataset_slug(dataset if sampler == "plan" else f"{dataset}-{sampler}")
    return StudyAddress.parse(text or str(workspace.studies / f"{name}.journal")).named(name)


def register(store: TrialStore, trials: Sequence[PlannedTrial], setting: StudySetting) -> None:
    """Makes sure that a plan is in a study; what the workspace has lost, and what failed, is asked for again."""
    root = Path(setting.workspace)
    finished = [
        trial.config.trial_id for trial in trials if TrialFolder.of(root, trial.config).status(trial.config) in FINISHED
    ]
    store.register(trials, setting, finished)


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Writes ids of trials, one per line, for workers on machines that see the file."""
    write_text(path, "".join(f"{trial_id}\n" for trial_id in sorted(ids)))


def read_ids(path: Path) -> set[str]:
    """Reads what :func:`write_ids` wrote.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return set(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Expected a file with an id of a trial on each line but: {error}.", path) from error


@dataclass
class TrialRunner:
    """Runs trials of a study in this process.

    Attributes:
        setting: of the study.
        workspace: folder of the trials as this machine sees it.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        compiled: let torch.compile make faster kernels of training steps.
        screen: progress.
        bars: whether to show the progress of each trial.
        dataset: when it is open already.
    """

    setting: StudySetting
    workspace: Workspace
    device: str = "auto"
    compiled: bool = False
    screen: Screen = field(default_factory=lambda: Screen(quiet=True))
    bars: bool = False
    dataset: Dataset | None = None
    _ready: tuple[TrialData, torch.device] | None = field(default=None, init=False)

    def prepare(self) -> None:
        """Loads plug-ins, opens and packs the dataset, and finds the device.

        To be called before a trial is claimed: what is wrong here is wrong with this machine, not with a trial.

        Raises:
            WsolBenchError: a plug-in, the dataset or the device is missing, or of another version than planned for.
        """
        setting = self.setting
        for plugin in setting.plugins:
            load_plugin_file(Path(plugin))
        if self.dataset is None:
            root, metadata = (Path(folder) if folder else None for folder in (setting.root, setting.metadata))
            self.dataset = open_dataset(setting.dataset, root=root, metadata=metadata)
        if self.dataset.version != setting.dataset_version:
            raise DataError(
                f"Expected version {setting.dataset_version} of the dataset '{setting.dataset}', which the study was "
                f"planned for, but this machine has {self.dataset.version}; fix: the same files and the same version "
                "of wsol-bench on all machines."
            )
        place = pick_device(self.device)
        make_deterministic()
        on_bad_image: OnBadImage = "skip" if setting.on_bad_image == "skip" else "error"
        self._ready = load_trial_data(self.dataset, self.workspace, on_bad_image, self.screen), place

    def __call__(self, trial: PlannedTrial, lease: Lease) -> Result:
        """Runs a trial from where it stopped, reporting to the lease.

        Raises:
            LeaseLostError: another worker has the trial.
            Exception: it failed; why is in its log too.
        """
        folder = TrialFolder.of(self.workspace.root, trial.config)
        status = folder.status(trial.config)
        if status not in FINISHED:
            log = TrialLog(folder)
            log.write(f"started on {socket.gethostname()}, attempt {lease.attempt.turn + 1}")
            try:
                status = self._train(trial, lease, log)
            except LeaseLostError:
                log.write("given to another worker, because this one was silent for too long")
                raise
            except Exception:
                log.write(f"failed\n{traceback.format_exc()}")
                raise
            log.write(status)
        history = {line["epoch"]: line["val_top1"] for line in folder.history()}
        return Result({epoch: history[epoch] for epoch in folder.selectable_epochs()}, diverged=status == "diverged")

    def _train(self, trial: PlannedTrial, lease: Lease, log: TrialLog) -> Status:
        assert self._ready is not None  # noqa: S101 - prepared before anything is claimed
        data, place = self._ready
        bar: Any = self.screen.training(trial, f"{trial.label} on {trial.config.dataset}") if self.bars else None
        with bar or nullcontext() as shown:
            observer = ProgressReport(
                trial.config.epochs,
                log,
                lambda progress, at_once: lease.report(progress, at_once=at_once),
                place,
                [shown] if shown else [],
            )
            return run_trial(
                trial.config, data, self.workspace.root, device=place, keep_maps=self.setting.keep_maps,
                compiled=self.compiled, observer=observer,
            )  # fmt: skip
