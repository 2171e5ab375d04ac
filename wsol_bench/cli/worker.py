"""``wsol-bench worker``: work on a study that ``wsol-bench sweep`` made."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import working
from wsol_bench.errors import UsageError

_PARENT_INTERVAL: Final = 2.0


def worker(
    study: options.Study = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            help="Where this machine sees the workspace.",
            show_default="the study's",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where this machine has the images.", show_default="the study's"),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where this machine has the metadata.", show_default="the study's"),
    ] = None,
    only: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ids of trials to take, one per line.", show_default="all"),
    ] = None,
    device: options.Device = "auto",
    compile_: options.Compile = False,
    name: Annotated[str, typer.Option(metavar="NAME", help="Unique.", show_default="host, process, digits")] = "",
    quiet: options.Quiet = False,
) -> None:
    """Take trials from a study until none is left.

    Any number of workers, on any machines that see the study and the workspace, share the work. A worker may be killed
    at any moment: after a minute without a sign of life its trial goes to another one, which continues with the epoch
    that was in progress.

    \b
    Examples:
      wsol-bench worker --study /shared/studies/cub.journal --root /data/CUB
      WSOL_BENCH_STUDY='postgresql://me:secret@db/sweeps#cub' wsol-bench worker
    """
    if study is None:
        raise UsageError("Expected --study FILE|URL, as 'wsol-bench sweep' prints it, but got none.")
    signal.signal(signal.SIGTERM, _interrupt)
    _end_with_the_launcher()
    # From here on torch is needed, which takes seconds to import.
    from wsol_bench.search.study_address import StudyAddress
    from wsol_bench.search.trial_store import TrialStore
    from wsol_bench.search.worker import Worker
    from wsol_bench.training.parallel import refuse_several
    from wsol_bench.workflow.progress import Screen
    from wsol_bench.workflow.study import TrialRunner, read_ids
    from wsol_bench.workflow.workspace import Workspace

    refuse_several("worker")
    screen = Screen(quiet=quiet)
    wanted = None if only is None else read_ids(only)
    with working():
        store = TrialStore.open(StudyAddress.parse(study))
        setting = store.setting()
        here = {"root": root, "metadata": metadata, "workspace": workspace}
        setting = setting.model_copy(update={key: str(path) for key, path in here.items() if path is not None})
        runner = TrialRunner(setting, Workspace(Path(setting.workspace)), device, compile_, screen, bars=True)
        runner.prepare()
        done = Worker(store, runner, name, wanted, say=screen.say).work()
    screen.say(f"nothing is left to do; this worker completed {done} trials.")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Slurm and launchers end a worker with SIGTERM; its trial is then given back as with Ctrl-C."""
    raise KeyboardInterrupt


def _end_with_the_launcher() -> None:
    """Watches the launcher, if one says that it is one: nobody is left behind when it is killed."""
    from wsol_bench.search.launchers.base import PARENT_VARIABLE

    parent = os.environ.get(PARENT_VARIABLE, "")
    if not parent.isdecimal():
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(_PARENT_INTERVAL)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
