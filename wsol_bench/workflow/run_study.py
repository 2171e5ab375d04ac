"""``wsol-bench sweep``: registers the plan in a study and works on it, here or with workers elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.errors import UsageError, WsolBenchError
from wsol_bench.registry import LAUNCHERS, plugin_files
from wsol_bench.search.cells import Cell, CellState
from wsol_bench.search.launchers.base import WorkerCommand
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.search.study_address import StudyAddress
from wsol_bench.search.study_setting import SearchSetting, StudySetting
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.search.worker import Worker
from wsol_bench.training.parallel import launched
from wsol_bench.workflow.launch import run_workers
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.study import TrialRunner, register, study_address, write_ids
from wsol_bench.workflow.sweep import TrialOutcome, plan_status, run_sweep
from wsol_bench.workflow.workspace import Workspace

_BEATS_PER_GRACE = 12
_SHOWN_FAILURES = 5


@dataclass(frozen=True)
class StudyRequest:
    """How ``wsol-bench sweep`` is to run a plan.

    Attributes:
        dataset_spec: the dataset as the user named it.
        root: folder of its images.
        metadata: folder of its metadata.
        study: where the states of trials are kept; in the workspace by default.
        workers: how many a launcher starts; None works in this process.
        launcher: registered name.
        launch_options: of the launcher.
        device: of the trials.
        on_bad_image: ``error`` or ``skip``.
        keep_maps: also record maps at native resolution.
        retries: how often a trial is taken up again after its worker died.
        grace: seconds of silence after which a worker counts as dead.
        compiled: let torch.compile make faster kernels of training steps.
        search: what chooses the configurations; None when they are planned beforehand.
    """

    dataset_spec: str
    root: Path | None = None
    metadata: Path | None = None
    study: str | None = None
    workers: int | None = None
    launcher: str = "local"
    launch_options: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    on_bad_image: OnBadImage = "error"
    keep_maps: bool = False
    retries: int = 3
    grace: float = 60.0
    compiled: bool = False
    search: SearchSetting | None = None

    def __post_init__(self) -> None:
        # An unknown launcher is named before anything is registered.
        LAUNCHERS.get(self.launcher)

    def address(self, workspace: Workspace) -> StudyAddress:
        """Returns where the study is kept; that of a search has a name of its own."""
        sampler = "plan" if self.search is None else self.search.sampler
        return study_address(self.study, workspace, self.dataset_spec, sampler)


def run_study(
    dataset: Dataset, trials: Sequence[PlannedTrial], workspace: Workspace, request: StudyRequest, *, screen: Screen
) -> list[TrialOutcome]:
    """Runs what a plan is missing and returns the outcome of every trial.

    Trials of the study that are not part of this plan are left alone. A search has a study of its own, which begins
    with the given trials and grows. Processes that torchrun has started train the trials together, one after another
    and without a study.

    Raises:
        TrialsFailedError: some trials failed; all others are finished.
        UsageError: the study has another dataset, or the launcher cannot be used.
        WorkspaceError: the workspace or the study cannot be written.
    """
    if launched()[1] > 1:
        return _together(dataset, trials, workspace, request, screen)
    store = TrialStore.open(request.address(workspace))
    methods = {trial.config.method for trial in trials}
    # What a search has proposed so far is looked after like a plan: what failed or was lost is run again.
    proposed = [cell.trial for _, cells in store.searches() for cell in cells[1:] if cell.method in methods]
    register(store, [*trials, *proposed], setting_of(dataset, workspace, request))
    only = {trial.config.trial_id for trial in trials} if request.search is None else None
    screen.say(f"study {store.address.masked}; 'wsol-bench status' shows it, 'wsol-bench worker' helps.")
    if not _all_finished(store, only):
        if request.workers is None:
            runner = TrialRunner(
                store.setting(), workspace, request.device, request.compiled, screen, bars=True, dataset=dataset
            )
            runner.prepare()
            Worker(store, runner, only=only, say=screen.say).work()
        else:
            _launch(store, workspace, request, only, screen)
    # The study of a search may hold other methods, which other commands have asked for.
    cells = [cell for cell in store.cells(only) if cell.method in methods]
    if only is None:
        trials = [cell.trial for cell in cells]
    failed = [cell for cell in cells if cell.state == CellState.FAILED]
    if failed:
        raise TrialsFailedError(failed, len(cells), workspace)
    return plan_status(trials, workspace)


def setting_of(dataset: Dataset, workspace: Workspace, request: StudyRequest) -> StudySetting:
    """Returns what the workers of a study must know."""

    def absolute(path: Path | None) -> str:
        return "" if path is None else str(path.expanduser().resolve())

    return StudySetting(
        dataset=request.dataset_spec,
        dataset_version=dataset.version,
        root=absolute(request.root),
        metadata=absolute(request.metadata),
        workspace=absolute(workspace.root),
        plugins=tuple(str(path) for path in plugin_files()),
        on_bad_image=request.on_bad_image,
        keep_maps=request.keep_maps,
        heartbeat=request.grace / _BEATS_PER_GRACE,
        grace=request.grace,
        max_deaths=request.retries,
        search=request.search,
    )


class TrialsFailedError(WsolBenchError):
    """Some trials of a sweep failed; says which, and why.

    Args:
        failed: the trials.
        planned: how many the plan has.
        workspace: holds their logs.
    """

    def __init__(self, failed: Sequence[Cell], planned: int, workspace: Workspace) -> None:
        self.failed = failed
        reasons = "; ".join(f"{cell.trial.label}: {cell.message}" for cell in failed[:_SHOWN_FAILURES])
        more = f"; and {len(failed) - _SHOWN_FAILURES} more" if len(failed) > _SHOWN_FAILURES else ""
        super().__init__(
            f"{len(failed)} of {planned} trials failed; the others are complete. {reasons}{more}. Fix: see trial.log "
            f"in the trials' folders under {workspace.root / 'trials'}; the same command tries these again."
        )


def _all_finished(store: TrialStore, only: set[str] | None) -> bool:
    whole = all(len(cells) == search.configs for search, cells in store.searches())
    return whole and all(cell.finished for cell in store.cells(only))


def _together(
    dataset: Dataset, trials: Sequence[PlannedTrial], workspace: Workspace, request: StudyRequest, screen: Screen
) -> list[TrialOutcome]:
    if request.workers is not None or request.search is not None or request.study is not None:
        raise UsageError(
            "Expected no --workers, --study or --sampler under torchrun, which trains one trial at a time in all of "
            "its processes; fix: leave them out, or run 'wsol-bench sweep' without torchrun."
        )
    return run_sweep(
        dataset,
        trials,
        workspace,
        device=request.device,
        on_bad_image=request.on_bad_image,
        keep_maps=request.keep_maps,
        compiled=request.compiled,
        screen=screen,
    )


def _launch(
    store: TrialStore, workspace: Workspace, request: StudyRequest, only: set[str] | None, screen: Screen
) -> None:
    arguments = ["--device", request.device, *(["--compile"] if request.compiled else [])]
    logs = (workspace.studies / f"{store.address.name}-workers").resolve()
    if only is not None:
        # Named after its content, so that sweeps at the same time do not change each other's.
        plan = logs / f"plan-{hashlib.sha256(''.join(sorted(only)).encode()).hexdigest()[:12]}.txt"
        write_ids(plan, only)
        arguments += ["--only", str(plan)]
    command = WorkerCommand(store.address, arguments, logs)
    launcher = LAUNCHERS.get(request.launcher)(command, request.launch_options)
    run_workers(
        store,
        launcher,
        request.workers or 1,
        finished=lambda: _all_finished(store, only),
        only=only,
        screen=screen,
    )
