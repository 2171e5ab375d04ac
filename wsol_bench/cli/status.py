"""``wsol-bench status``: how far a sweep is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import console, print_json, working


def status(
    dataset: options.Dataset = "critters",
    sampler: options.Sampler = "plan",
    study: options.Study = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show every change; Ctrl-C ends it.")] = False,
    json_: options.AsJson = False,
) -> None:
    """Show how far a sweep is.

    What runs where, what failed and why, and how long the rest takes. Looking changes nothing.

    \b
    Examples:
      wsol-bench status
      wsol-bench status --study /shared/studies/cub.journal --watch
    """
    from wsol_bench.errors import UsageError
    from wsol_bench.report.study_table import study_rows, study_screen
    from wsol_bench.search.study_address import StudyAddress
    from wsol_bench.search.trial_store import TrialStore
    from wsol_bench.workflow.study import study_address
    from wsol_bench.workflow.workspace import Workspace

    address = StudyAddress.parse(study) if study else study_address(None, Workspace(workspace), dataset, sampler)
    if address.is_journal and not Path(address.place).is_file():
        raise UsageError(f"Expected a study at {address.masked} but there is none; fix: 'wsol-bench sweep' makes it.")
    store = TrialStore.open(address)
    store.setting()
    if json_:
        print_json({"study": store.address.masked, "trials": study_rows(store.cells())})
        return
    with working():
        if watch:
            from wsol_bench.workflow.progress import Screen

            with Screen().live() as show:
                while not all(cell.finished for cell in store.cells()):
                    show(study_screen(store.cells()))
                    time.sleep(1.0)
    console().print(study_screen(store.cells()))
