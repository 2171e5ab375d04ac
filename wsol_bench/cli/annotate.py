"""``wsol-bench annotate``: make, import and judge pseudo-boxes, and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_json, print_rows, working
from wsol_bench.cli.parsing import pairs, scalar
from wsol_bench.errors import UsageError

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
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Fix a hyper-parameter of the classifier, as in --set backbone=resnet18; repeatable. See 'methods "
            "show cam'.",
        ),
    ] = None,
    precision: options.Precision = "fp32",
    workers: options.Workers = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    device: options.Device = "auto",
    on_bad_image: options.OnBadImage = "error",
    quality: Annotated[
        bool, typer.Option(help="Compare the finished boxes with manual ones, where there are any, for the card.")
    ] = True,
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Make pseudo-boxes for a split without manual boxes.

    Trains the classifier that scores proposals (class labels only) unless it is there already. The boxes are written
    to WORKSPACE/pseudo_boxes/DATASET/ANNOTATOR/SPLIT in the field's four-file format, with a card that tells how they
    were made. Stopped at any moment, the same command goes on from there.

    \b
    Examples:
      wsol-bench annotate --with ss --split val
      wsol-bench annotate --with clip -d critters:224
      wsol-bench annotate --with clip --option weights=ViT-B-16.pt
    """
    if context.invoked_subcommand is not None:
        return
    from wsol_bench.annotators.card import read_card
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.annotate import AnnotationRequest, ClassifierRequest
    from wsol_bench.workflow.annotate import annotate as run
    from wsol_bench.workflow.annotate_quality import judge_boxes
    from wsol_bench.workflow.progress import Screen
    from wsol_bench.workflow.workspace import Workspace

    chosen = {name: scalar(value) for name, value in pairs("--option", option).items()}
    classifier = ClassifierRequest(epochs, pairs("--set", set_), precision)
    request = AnnotationRequest(dataset, with_, split, chosen, workers or options.cores(), classifier)
    place = Workspace(workspace)
    opened = open_dataset(dataset, root=root, metadata=metadata)
    with working():
        card = run(opened, request, place, device=device, on_bad_image=on_bad_image, screen=Screen(quiet=quiet))
    folder = request.folder(place, opened)
    if quality and opened.has_ground_truth(split):
        judge_boxes(opened, split, place.pseudo_boxes(dataset), [with_])
        card = read_card(folder)
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
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    with_: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME", help="Set to judge; repeatable.", show_default="all of the workspace"),
    ] = None,
    split: Annotated[options.SplitName, typer.Option(metavar="NAME", help="train, val or test.")] = "val",
    boxes: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead: boxes of any folder in the four-file format.")
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Manual boxes for --boxes, or the metadata of the dataset 'folder'."),
    ] = None,
    frame: Annotated[
        int, typer.Option(metavar="PX", help="Side of the square frame in which --boxes are compared.")
    ] = 224,
    common: Annotated[
        bool, typer.Option("--common", help="Of --boxes compare only images that --metadata has too.")
    ] = False,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    json_: options.AsJson = False,
) -> None:
    """Compare pseudo-boxes with manual ones: mean IoU, CorLoc.

    The sets of a workspace are judged in the frame of their dataset, with every step of the funnel, and the result is
    written into their cards.

    \b
    Examples:
      wsol-bench annotate report
      wsol-bench annotate report --boxes boxes/val --metadata CUB/val
    """
    if boxes is not None:
        _report_folders(boxes, metadata, frame, common, json_)
        return
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.report.annotation_rows import funnel_rows, quality_row
    from wsol_bench.workflow.annotate_quality import judge_boxes
    from wsol_bench.workflow.workspace import Workspace

    opened = open_dataset(dataset, root=root, metadata=metadata)
    found = judge_boxes(opened, split, Workspace(workspace).pseudo_boxes(dataset), with_)
    if json_:
        print_json({"dataset": opened.name, "split": split, "sets": {one.name: one.as_dict() for one in found}})
        return
    rows = [quality_row(one.name, one.supervision, one.boxes, one.replaced) for one in found]
    print_rows(rows, as_json=False)
    print_rows(funnel_rows([(one.name, one.funnel) for one in found if one.funnel is not None]), as_json=False)
    first = found[0].boxes
    typer.echo(
        f"Percent. Manual boxes cover {first.mean_gt_area:.2f}; the whole frame as box would reach a mean IoU of "
        f"{first.whole_frame_mean_iou:.2f} and a CorLoc of {first.whole_frame_corloc:.2f}."
    )


def _report_folders(boxes: Path, metadata: Path | None, frame: int, common: bool, json_: bool) -> None:
    from wsol_bench.workflow.annotate_report import report as run

    if metadata is None:
        raise UsageError("Expected --metadata DIR with the manual boxes that --boxes are compared with but got none.")
    found = run(boxes, metadata, frame=frame, common=common)
    if json_:
        print_json(found)
    else:
        width = max(map(len, found))
        for key, value in found.items():
            typer.echo(f"{key:{width}}  {value:.2f}" if isinstance(value, float) else f"{key:{width}}  {value}")


@app.command()
def show(
    with_: Annotated[str, typer.Option("--with", metavar="NAME", help="Set of boxes.")] = "ss",
    split: Annotated[options.SplitName, typer.Option(metavar="NAME", help="train, val or test.")] = "val",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture to write.", show_default="annotate-NAME.png")
    ] = None,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Number of images, spread over the split.")] = 18,
    ground_truth: Annotated[bool, typer.Option(help="Draw manual boxes too, and say the IoU.")] = True,
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    json_: options.AsJson = False,
) -> None:
    """Draw how boxes came about, step by step.

    Shows proposals, the peak of the class map, the best survivors, the final box and the manual one; of annotators
    that threshold a map, the map.

    \b
    Example:
      wsol-bench annotate show --with rpn --count 12
    """
    from wsol_bench.annotators.store import split_folder
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.annotate_sheet import write_annotation_sheet
    from wsol_bench.workflow.workspace import Workspace

    opened = open_dataset(dataset, root=root, metadata=metadata)
    folder = split_folder(Workspace(workspace).pseudo_boxes(dataset), opened.name, with_, split)
    target = out or Path(f"annotate-{with_}.png")
    drawn = write_annotation_sheet(opened, split, folder, count, target, ground_truth=ground_truth)
    if json_:
        print_json({"file": target, "images": drawn})
    else:
        typer.echo(f"{drawn} images are in {target}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Option("--from", metavar="DIR", help="Folder with boxes, or one above it.")],
    dataset: Annotated[
        str,
        typer.Option("--dataset", "-d", metavar="NAME[:OPTIONS]", help="As 'select' will name it: folder:name=cub."),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call boxes other than the released ones.")
    ] = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    json_: options.AsJson = False,
) -> None:
    """Take boxes made elsewhere into the workspace.

    They are copied as they are, with a card.

    The folders released with the realistic protocol are recognised by their names and become ss-released, rpn-released
    and clip-released.

    \b
    Examples:
      wsol-bench annotate import --from released -d folder:name=cub
      wsol-bench annotate import --from my_boxes -d folder:name=cub --name mine
    """
    from wsol_bench.workflow.annotate_import import import_boxes
    from wsol_bench.workflow.workspace import Workspace

    done = import_boxes(source, dataset, Workspace(workspace), name=name)
    rows = [
        {
            "set": one.name,
            "split": one.split,
            "images": one.card.recipe.images,
            "supervision": one.card.recipe.supervision,
            "notes": one.card.notes,
        }
        for one in done
    ]
    print_rows(rows, as_json=json_)
    if not json_:
        typer.echo(
            f"Written to {done[0].folder.parents[1]}. 'select -d {dataset} --val pseudo={done[0].name}' uses them."
        )


@app.command()
def noise(
    metadata: Annotated[Path, typer.Option(metavar="DIR", help="Manual boxes or masks in the four-file format.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the noisy sets go.")],
    masks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Root of the mask files: erode masks, do not shake boxes.")
    ] = None,
    level: Annotated[
        list[float] | None,
        typer.Option(metavar="PERCENT", help="Level; repeatable.", show_default="those of the published studies"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the noise on boxes.")] = 0,
    kernel: Annotated[bool, typer.Option("--kernel", help="Erode masks ring by ring, as the thesis did.")] = False,
    json_: options.AsJson = False,
) -> None:
    """Write manual annotations with known noise.

    'select --val noise:25' needs no such folder; other evaluators do.

    \b
    Examples:
      wsol-bench annotate noise --metadata val --out noisy --level 25
      wsol-bench annotate noise --metadata val --masks images --out noisy
    """
    from wsol_bench.annotations.noise import LEVELS
    from wsol_bench.workflow.annotate_noise import MASK_LEVELS, write_eroded_masks, write_noisy_boxes

    levels = None if level is None else [one / 100 for one in level]
    with working():
        if masks is None:
            rows = write_noisy_boxes(metadata, out, LEVELS if levels is None else levels, seed)
        else:
            rows = write_eroded_masks(metadata, masks, out, MASK_LEVELS if levels is None else levels, by_kernel=kernel)
    print_rows(rows, as_json=json_)
