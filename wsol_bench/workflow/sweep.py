"""The sweep: runs every planned trial that is not finished yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.training.device import make_deterministic, pick_device
from wsol_bench.training.loop import run_trial
from wsol_bench.training.trial_data import TrialData
from wsol_bench.training.trial_folder import Status, TrialFolder
from wsol_bench.workflow.pack_dataset import pack_split
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.workspace import Workspace


@dataclass(frozen=True)
class TrialOutcome:
    """A trial after a sweep.

    Attributes:
        trial: the cell of the plan.
        folder: where its files lie.
        status: ``complete`` or ``diverged`` when it ran; ``missing`` or ``partial`` in a dry run; ``failed`` when a
            study says so.
        epochs: finished epochs that can be selected.
    """

    trial: PlannedTrial
    folder: TrialFolder
    status: Status | Literal["failed"]
    epochs: tuple[int, ...]


def plan_status(trials: Sequence[PlannedTrial], workspace: Workspace) -> list[TrialOutcome]:
    """Returns how far every planned trial is, without running anything."""
    return [_outcome(trial, TrialFolder.of(workspace.root, trial.config)) for trial in trials]


def run_sweep(
    dataset: Dataset,
    trials: Sequence[PlannedTrial],
    workspace: Workspace,
    *,
    device: str = "auto",
    on_bad_image: OnBadImage = "error",
    keep_maps: bool = False,
    compiled: bool = False,
    screen: Screen,
) -> list[TrialOutcome]:
    """Runs what is missing, trial after trial, and returns the outcome of all.

    Stopping it at any moment loses at most the epoch in progress: calling it again goes on from there.

    Args:
        dataset: images and labels.
        trials: the plan.
        workspace: where everything is written.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        on_bad_image: ``error`` or ``skip``.
        keep_maps: also record maps at native resolution.
        compiled: let torch.compile make faster kernels of training steps.
        screen: progress.
    """
    todo = [one.trial for one in plan_status(trials, workspace) if one.status in ("missing", "partial")]
    if todo:
        place = pick_device(device)
        make_deterministic()
        data = load_trial_data(dataset, workspace, on_bad_image, screen)
        skipped = len(data.train.skipped) + len(data.val.skipped) + len(data.test.skipped)
        if skipped:
            screen.say(f"{skipped} unreadable images are skipped; the provenance of each trial counts them.")
        for number, trial in enumerate(todo, start=1):
            title = f"[{number}/{len(todo)}] {trial.label} on {trial.config.dataset}"
            with screen.training(trial, title) as observer:
                status = run_trial(
                    trial.config,
                    data,
                    workspace.root,
                    device=place,
                    keep_maps=keep_maps,
                    compiled=compiled,
                    observer=observer,
                )
            if status == "diverged":
                screen.say(f"{title}: the loss is no longer finite; epochs before that remain valid.")
    return plan_status(trials, workspace)


def load_trial_data(dataset: Dataset, workspace: Workspace, on_bad_image: OnBadImage, screen: Screen) -> TrialData:
    """Packs the three splits (once per workspace) and returns what training may see."""
    packed = {split: pack_split(dataset, split, workspace, on_bad_image, screen) for split in ("train", "val", "test")}
    return TrialData(**packed, class_names=tuple(dataset.class_names))


def _outcome(trial: PlannedTrial, folder: TrialFolder) -> TrialOutcome:
    return TrialOutcome(trial, folder, folder.status(trial.config), folder.selectable_epochs())
