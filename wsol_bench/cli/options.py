"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from wsol_bench.errors import UsageError

if TYPE_CHECKING:
    from wsol_bench.workflow import mask_tables, selection_tables

BadImage = Literal["error", "skip"]
SamplerName = Literal["plan", "tpe", "random"]
SplitName = Literal["train", "val", "test"]
PrecisionName = Literal["fp32", "bf16"]

DEFAULT_WORKSPACE: Final = Path("wsol_workspace")

Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME[:OPTIONS]",
        help="cub, ilsvrc, tiny-imagenet, critters:96 (embedded), coco:name=mine, or a plug-in; see 'datasets list'.",
    ),
]
Root = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the images, for datasets made of files.")]
Metadata = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Holds train, val and test with image_ids.txt and so on; for the dataset 'coco', its JSON files.",
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
Precision = Annotated[
    PrecisionName,
    typer.Option(
        metavar="fp32|bf16",
        help="Arithmetic of the networks: bf16 is faster and rounds more; trials of the two are different ones.",
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile", help="Let torch.compile make faster kernels of training steps; results differ by rounding."
    ),
]
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
Sampler = Annotated[
    SamplerName,
    typer.Option(
        metavar="NAME",
        help="What chooses the configurations: the plan, or a sampler of Optuna (random, or tpe, which learns from the "
        "class accuracy of earlier trials): another protocol, with a study and results of its own.",
    ),
]
ChosenBy = Annotated[
    SamplerName,
    typer.Option(
        "--sampler", metavar="NAME", help="What chose the configurations of the selection: plan, tpe or random."
    ),
]
Study = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|URL",
        envvar="WSOL_BENCH_STUDY",
        show_envvar=False,
        help="Keeps the trials' states: a journal file, or postgresql://USER:PASSWORD@HOST/DATABASE#NAME for workers "
        "without a common disk. The environment variable WSOL_BENCH_STUDY keeps passwords out of sight.",
        show_default="(WORKSPACE/studies/DATASET.journal)",
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
    sampler: SamplerName,
) -> selection_tables.Study | mask_tables.MaskStudy:
    """Judges the latest selection on a dataset again, by boxes or by masks, for the commands that show it."""
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.judge_mask_plan import judge_mask_plan
    from wsol_bench.workflow.judge_plan import judge_plan
    from wsol_bench.workflow.mask_tables import MaskStudy
    from wsol_bench.workflow.selection_plan import read_plan
    from wsol_bench.workflow.selection_tables import Study as JudgedStudy
    from wsol_bench.workflow.workspace import Workspace

    place = Workspace(workspace)
    plan = read_plan(place, dataset, sampler)
    if plan.scored == "nothing":
        raise UsageError(
            f"Expected a selection that was scored but '{dataset}' has no ground truth of the test images; what the "
            f"sources chose is in {plan.results(place)}."
        )
    opened = open_dataset(dataset, root=root, metadata=metadata)
    several = threads or cores()
    if plan.scored == "masks":
        by_masks = judge_mask_plan(opened, plan, place, threads=several, allow_missing=allow_missing)
        return MaskStudy(opened, plan, place, by_masks)
    judged = judge_plan(opened, plan, place, threads=several, allow_missing=allow_missing)
    return JudgedStudy(opened, plan, place, judged)


def cores() -> int:
    """Returns the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
