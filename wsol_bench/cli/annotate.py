"""``wsol-bench annotate``: make pseudo-boxes, list annotators, compare boxes with ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_json, print_rows, working
from wsol_bench.cli.parsing import pairs, scalar

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def annotate(
    context: typer.Context,
    with_: Annotated[
        str, typer.Option("--with", metavar="NAME", help="Annotator; 'wsol-bench annotate list' shows all.")
    ] = "ss",
    split: Annotated[options.SplitName, typer.Option(metavar="NAME", help="train, val or test.")] = "val",
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Option of the annotator, as in --option mode=quality; repeatable."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Replaces the recipe's number of epochs of the classifier."),
    ] = None,
    workers: options.Workers = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    device: options.Device = "auto",
    on_bad_image: options.OnBadImage = "error",
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Make pseudo-boxes for a split without manual boxes.

    Trains the classifier that scores boxes (class labels only) unless it is there already. The boxes are written to
    WORKSPACE/pseudo_boxes/DATASET/ANNOTATOR/SPLIT in the field's four-file format, with a card that tells how they
    were made.

    \b
    Examples:
      wsol-bench annotate --with ss --split val
      wsol-bench annotate report --boxes DIR --metadata DIR
    """
    if context.invoked_subcommand is not None:
        return
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.annotate import AnnotationRequest
    from wsol_bench.workflow.annotate import annotate as run
    from wsol_bench.workflow.progress import Screen
    from wsol_bench.workflow.workspace import Workspace

    chosen = {name: scalar(value) for name, value in pairs("--option", option).items()}
    request = AnnotationRequest(dataset, with_, split, chosen, workers or options.cores(), epochs)
    place = Workspace(workspace)
    opened = open_dataset(dataset, root=root, metadata=metadata)
    with working():
        card = run(opened, request, place, device=device, on_bad_image=on_bad_image, screen=Screen(quiet=quiet))
    folder = request.folder(place, opened)
    if json_:
        print_json({"folder": folder, "card": card.model_dump(mode="json")})
    else:
        typer.echo(card.as_yaml())
        typer.echo(f"{card.recipe.images} boxes are in {folder}")


@app.command("list")
def list_annotators(json_: options.AsJson = False) -> None:
    """List annotators and what their boxes were supervised with."""
    from wsol_bench.registry import ANNOTATORS

    rows = [{"name": name, "supervision": found.supervision} for name, found in ANNOTATORS.loadable().items()]
    print_rows(rows, as_json=json_, broken=ANNOTATORS.broken())


@app.command()
def report(
    boxes: Annotated[Path, typer.Option(metavar="DIR", help="Pseudo-boxes in the four-file format.")],
    metadata: Annotated[Path, typer.Option(metavar="DIR", help="Manual boxes in the same format.")],
    frame: Annotated[
        int, typer.Option(metavar="PX", help="Side of the square frame in which boxes are compared.")
    ] = 224,
    json_: options.AsJson = False,
) -> None:
    """Compare pseudo-boxes with ground truth: mean IoU, CorLoc.

    Any set of boxes in the four-file format will do. Each folder holds localization.txt, or one folder below does.
    """
    from wsol_bench.workflow.annotate_report import report as run

    found = run(boxes, metadata, frame=frame)
    if json_:
        print_json(found)
    else:
        width = max(map(len, found))
        for key, value in found.items():
            typer.echo(f"{key:{width}}  {value:.2f}" if isinstance(value, float) else f"{key:{width}}  {value}")
