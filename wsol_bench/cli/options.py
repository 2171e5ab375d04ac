"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

if TYPE_CHECKING:
    from wsol_bench.workflow.selection_tables import Study

BadImage = Literal["error", "skip"]
SplitName = Literal["train", "val", "test"]

DEFAULT_WORKSPACE: Final = Path("wsol_workspace")

Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME[:OPTIONS]",
        help="tiny-imagenet, critters:96 (embedded), folder:name=cub,frame=224, or a plug-in; see 'datasets list'.",
    ),
]
Root = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the images, for datasets made of files.")]
Metadata = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="For the dataset 'folder': holds train, val and test with image_ids.txt and so on.",
        show_default="ROOT/metadata",
    ),
]
Workspace = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        envvar="WSOL_BENCH_WORKSPACE",
        help="Holds packed images, trials, pseudo-boxes and results.",
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto (a GPU where there is one), cpu, cuda, cuda:1.")]
OnBadImage = Annotated[
    BadImage,
    typer.Option(metavar="error|skip", help="What an unreadable image does: stop, or be left out and counted."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", "-m", metavar="NAME", help="Method; repeatable.", show_default="cam"),
]
Configs = Annotated[int, typer.Option(metavar="N", help="Configurations per method: the recipe, then random draws.")]
Seeds = Annotated[int, typer.Option(metavar="N", help="Runs per configuration, with seeds from 0 on.")]
HparamSeed = Annotated[int, typer.Option(metavar="N", help="Seed of the random draws.")]
Epochs = Annotated[int | None, typer.Option(metavar="N", help="Replaces the recipe's number of epochs.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Fix a hyper-parameter, as in --set lr=0.01; repeatable. See 'methods show'.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Processes for box proposals, threads of the judge.", show_default="one per core"
    ),
]

AllowMissing = Annotated[
    bool,
    typer.Option(
        "--allow-missing",
        help="Run nothing; judge what is recorded and whole. Every row then says what is missing.",
    ),
]
JudgeThreads = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="Records read at the same time.", show_default="one per core"),
]


def judged_study(
    dataset: str,
    root: Path | None,
    metadata: Path | None,
    workspace: Path,
    threads: int | None,
    allow_missing: bool,
) -> Study:
    """Judges the latest selection on a dataset again, for the commands that show it."""
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.judge_plan import judge_plan
    from wsol_bench.workflow.selection_plan import read_plan
    from wsol_bench.workflow.selection_tables import Study
    from wsol_bench.workflow.workspace import Workspace

    place = Workspace(workspace)
    plan = read_plan(place, dataset)
    opened = open_dataset(dataset, root=root, metadata=metadata)
    judged = judge_plan(opened, plan, place, threads=threads or cores(), allow_missing=allow_missing)
    return Study(opened, plan, place, judged)


def cores() -> int:
    """Returns the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
