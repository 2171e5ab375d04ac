"""``wsol-bench evaluate``: score a folder of maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import console, print_json, working
from wsol_bench.cli.parsing import SeveralValuesCommand
from wsol_bench.errors import UsageError

if TYPE_CHECKING:
    from wsol_bench.workflow.evaluate import EvaluationResult


class EvaluateCommand(SeveralValuesCommand):
    """Lists as people write them: ``--iou 0.3 0.5 0.7``."""

    several = ("--iou", "--also", "--merge")


def evaluate(
    maps: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of <image id>.npy maps, or of Parquet shards of maps."),
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with image_ids.txt, localization.txt and so on.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which folder below --metadata, where there are several.")
    ] = None,
    tau_step: Annotated[
        str | None,
        typer.Option(
            metavar="STEP",
            help="Distance of thresholds, or 'levels' for all cuts of an 8-bit map.",
            show_default="0.001, or the dialect's own",
        ),
    ] = None,
    contours: Annotated[
        Literal["largest", "all", "both"],
        typer.Option(metavar="WHICH", help="largest (MaxBoxAcc), all (every contour a candidate, V2), or both."),
    ] = "largest",
    iou: Annotated[
        list[float] | None,
        typer.Option(metavar="IOU...", help="IoU thresholds, also as 30 50 70.", show_default="0.3 0.5 0.7"),
    ] = None,
    dialect: Annotated[
        Literal["choe2020", "ts_cam", "sat"],
        typer.Option(metavar="NAME", help="Whose boxes: choe2020, ts_cam or sat. Never compare across dialects."),
    ] = "choe2020",
    masks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Root of the mask files: score PxAP instead of boxes.")
    ] = None,
    tau: Annotated[float | None, typer.Option(metavar="TAU", help="A frozen threshold to report as well.")] = None,
    also: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help="More metrics: otsu, errors, pointing.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Lines 'id,class1[,...,class5]', for Top-1 and Top-5 localization."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Make anything odd about a map an error.")] = False,
    per_image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a CSV with IoU and box of every image.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a figure of the curve (PNG, PDF, SVG).")
    ] = None,
    shard: Annotated[str | None, typer.Option(metavar="K/N", help="Score the K-th of N parts of the split.")] = None,
    save_state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the counts, for --merge on another machine.")
    ] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE...", help="Add up saved counts instead of reading maps."),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, metavar="N", help="Bootstrap replicates behind each interval; 0: none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the bootstrap.")] = 0,
    level: Annotated[float, typer.Option(metavar="P", help="Nominal coverage of the intervals.")] = 0.95,
    frame: Annotated[int, typer.Option(min=1, metavar="PX", help="Side of the square frame of maps and boxes.")] = 224,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Worker threads.", show_default="one per core"),
    ] = None,
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Score a folder of maps against boxes or masks.

    A drop-in for the field's evaluator: the same maps, the same metadata, the same numbers. No deep-learning package
    is needed. Maps that are missing, constant, not finite or of another size have a defined outcome, are counted and
    shown.

    \b
    Examples:
      wsol-bench evaluate --maps DIR --metadata DIR --iou 0.3 0.5 0.7
      wsol-bench evaluate --maps DIR --metadata DIR --shard 1/2 --save-state 1.npz
      wsol-bench evaluate --merge 1.npz 2.npz
    """
    if bool(merge) == (maps is not None or metadata is not None):
        raise UsageError("Expected --maps DIR and --metadata DIR, or --merge FILE... alone.")
    from wsol_bench.metrics.box_acc import DEFAULT_IOU_THRESHOLDS
    from wsol_bench.workflow import evaluate as work
    from wsol_bench.workflow.progress import Screen

    if merge:
        _print(work.merge(merge, figure=figure, save_state=save_state, strict=strict), json_)
        return
    if maps is None or metadata is None:
        raise UsageError("Expected both --maps DIR and --metadata DIR but got one of them.")
    with working(), Screen(quiet=quiet).bar("scoring maps") as progress:
        result = work.evaluate(
            maps,
            metadata,
            split=split,
            tau_step=cast(Any, tau_step),
            contours=contours,
            iou=iou or DEFAULT_IOU_THRESHOLDS,
            dialect=dialect,
            masks=masks,
            tau=tau,
            also=cast(Any, also or ()),
            predictions=predictions,
            shard=shard,
            save_state=save_state,
            per_image=per_image,
            figure=figure,
            strict=strict,
            bootstrap=bootstrap,
            seed=seed,
            level=level,
            frame=frame,
            threads=threads or options.cores(),
            progress=progress,
        )
    _print(result, json_)


def _print(result: EvaluationResult, as_json: bool) -> None:
    if as_json:
        print_json(result.to_json())
        return
    from wsol_bench.workflow.evaluate_output import render_table

    console().print(render_table(result))
