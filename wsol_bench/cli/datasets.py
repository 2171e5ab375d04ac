"""``wsol-bench datasets``: what there is, whether it is whole, what it looks like, and its packed images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_json, print_rows, working
from wsol_bench.cli.parsing import HelpfulGroup

app = typer.Typer(cls=HelpfulGroup, help="Prepare, check, look at and pack datasets.", rich_markup_mode=None)


@app.command("list")
def list_datasets(json_: options.AsJson = False) -> None:
    """List datasets and their options."""
    from wsol_bench.datasets.open_dataset import option_names
    from wsol_bench.registry import DATASETS

    rows = [
        {"name": name, "what": first_sentence(found.__doc__), "options": option_names(found)}
        for name, found in DATASETS.loadable().items()
    ]
    print_rows(rows, as_json=json_, broken=DATASETS.broken())


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name as in 'datasets list'.")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the archives and what is in them.")],
    download: Annotated[
        bool, typer.Option("--download", help="Fetch what its authors offer at a direct address.")
    ] = False,
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Name the official archives of a dataset; check and unpack them.

    Those that lie in --root are compared with their checksums and unpacked.
    Nothing is fetched without --download. The exit status is 1 while an archive is missing.

    \b
    Example:
      wsol-bench datasets prepare cub --root data/cub
    """
    from wsol_bench.workflow.prepare_dataset import find_card
    from wsol_bench.workflow.prepare_dataset import prepare as run
    from wsol_bench.workflow.progress import Screen

    card = find_card(name)
    with working():
        rows = run(card, root, download=download, screen=Screen(quiet=quiet))
    if json_:
        print_json({"dataset": card.model_dump(exclude={"archives"}), "rows": rows})
    else:
        typer.echo(f"{card.title}: {card.classes} classes, {card.annotation} for val and test; {card.cite}")
        typer.echo(f"Terms: {card.licence}")
        for row in rows:
            typer.echo(f"\n{row['file']}: {row['state']}")
            for key in ("from", "md5", "into", "note"):
                if row[key]:
                    typer.echo(f"  {key:<5}{row[key]}")
        typer.echo("\nMind:")
        for pitfall in card.pitfalls:
            typer.echo(f"- {pitfall}")
        typer.echo(f"\nNext: wsol-bench datasets check -d {name} --root {root}   (docs/datasets.md has the layout)")
    if any(row["state"] == "missing" for row in rows):
        raise typer.Exit(1)


@app.command()
def check(
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    on_bad_image: options.OnBadImage = "error",
    subset: Annotated[bool, typer.Option("--subset", help="Counts other than the official ones are meant.")] = False,
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Read every image, label, box and mask once, and count them.

    All problems are listed, not just the first. The exit status is 1 when boxes or masks of val or test cannot be
    used, an image cannot be read that is not to be skipped, your splits share an image, or counts are not those of
    the official dataset (but for --subset).
    """
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.check_dataset import check as run
    from wsol_bench.workflow.check_dataset import is_sound
    from wsol_bench.workflow.progress import Screen

    opened = open_dataset(dataset, root=root, metadata=metadata)
    with working():
        rows = run(opened, screen=Screen(quiet=quiet), subset=subset)
    if json_:
        print_json({"dataset": opened.name, "version": opened.version, "rows": rows})
    else:
        print_rows(_without_empty_columns(rows), as_json=False)
        for kind in ("problems", "notes"):
            for row in rows:
                for sentence in row[kind]:
                    typer.echo(f"{row['split']}: {'note: ' if kind == 'notes' else ''}{sentence}")
    if not is_sound(rows, on_bad_image, subset=subset):
        raise typer.Exit(1)


@app.command()
def sheet(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture to write (PNG or JPEG).")] = Path("sheet.png"),
    split: Annotated[options.SplitName, typer.Option(metavar="NAME", help="train, val or test.")] = "val",
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Number of images, spread over the split.")] = 48,
    boxes: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="Draw boxes: gt, pseudo=ss, or a folder; repeatable."),
    ] = None,
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    json_: options.AsJson = False,
) -> None:
    """Draw a contact sheet, with boxes of any source.

    \b
    Example:
      wsol-bench datasets sheet --boxes gt --boxes pseudo=ss --out sheet.png
    """
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.sheet import write_sheet
    from wsol_bench.workflow.workspace import Workspace

    opened = open_dataset(dataset, root=root, metadata=metadata)
    drawn = write_sheet(opened, split, count, boxes or [], Workspace(workspace).pseudo_boxes(dataset), out)
    if json_:
        print_json({"file": out, "images": drawn})
    else:
        typer.echo(f"{drawn} images are in {out}")


@app.command()
def show(
    image: Annotated[str, typer.Argument(metavar="ID", help="Id of an image, or the end of one.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture to write (PNG or JPEG).")] = Path("image.png"),
    boxes: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="More boxes: noise:25, or a folder; repeatable."),
    ] = None,
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    json_: options.AsJson = False,
) -> None:
    """Draw one image with every annotation that there is of it.

    Manual boxes, all named pseudo-boxes that hold it, and its masks beside it.

    \b
    Example:
      wsol-bench datasets show 30107316117.jpg -d cub --root DIR
    """
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.show_image import show_image
    from wsol_bench.workflow.workspace import Workspace

    opened = open_dataset(dataset, root=root, metadata=metadata)
    facts, rows = show_image(opened, image, boxes or [], Workspace(workspace).pseudo_boxes(dataset), out)
    if json_:
        print_json({"image": facts, "rows": rows, "file": out})
        return
    for key, value in facts.items():
        if value is not None:
            typer.echo(f"{key.replace('_', ' ')}: {value}")
    print_rows(rows, as_json=False)
    typer.echo(f"the picture is in {out}")


@app.command()
def pack(
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    on_bad_image: options.OnBadImage = "error",
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Decode and squash all images once, before any sweep.

    A sweep does the same when it starts; this shows sizes and seconds, needs no GPU, and says beforehand whether the
    disk has room. What is packed already is checked and left alone.

    \b
    Example:
      wsol-bench datasets pack -d tiny-imagenet --root tiny-imagenet-200
    """
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.pack_dataset import pack_dataset
    from wsol_bench.workflow.progress import Screen
    from wsol_bench.workflow.workspace import Workspace

    opened = open_dataset(dataset, root=root, metadata=metadata)
    place = Workspace(workspace)
    with working():
        rows = pack_dataset(opened, place, on_bad_image=on_bad_image, screen=Screen(quiet=quiet))
    if json_:
        print_json({"dataset": opened.name, "version": opened.version, "folder": place.packed, "rows": rows})
    else:
        print_rows(rows, as_json=False)


@app.command()
def stats(
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture to write (PNG, PDF or SVG).", show_default="none")
    ] = None,
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    json_: options.AsJson = False,
) -> None:
    """Say how large objects are, where, and what a blind guess scores.

    Boxes: the whole frame and the best box in the centre. Masks: PxAP of a map with one value
    everywhere and of one that falls from the centre.

    \b
    Example:
      wsol-bench datasets stats -d cub --root DIR --figure boxes.png
    """
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.dataset_stats import dataset_stats

    opened = open_dataset(dataset, root=root, metadata=metadata)
    with working():
        rows = dataset_stats(opened, figure)
    print_rows(rows, as_json=json_)
    if figure is not None and not json_:
        typer.echo(f"the figure is in {figure}")


def _without_empty_columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keeps the columns of a check that say something; sentences are printed below the table."""
    always = ("split", "images", "classes", "unreadable")
    keep = [key for key in rows[0] if key in always or any(row[key] not in (0, None) for row in rows)]
    return [{key: row[key] for key in keep if key not in ("problems", "notes")} for row in rows]


def first_sentence(text: str | None) -> str:
    """Returns the first sentence of a docstring, without its markup."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"\.\s+(?=[A-Z])", paragraph)[0].rstrip(".").replace("``", "")
