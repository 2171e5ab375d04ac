"""``wsol-bench datasets``: what there is, whether it is whole, what it looks like, and its packed images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_json, print_rows, working
from wsol_bench.cli.parsing import HelpfulGroup

app = typer.Typer(cls=HelpfulGroup, help="List, check, look at and pack datasets.", rich_markup_mode=None)


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
def check(
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    on_bad_image: options.OnBadImage = "error",
    json_: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Read every image, label and box once, and count them.

    All problems are listed, not just the first. The exit status is 1 when the boxes of val or test cannot be used,
    or an image cannot be read that is not to be skipped.
    """
    from wsol_bench.datasets.open_dataset import open_dataset
    from wsol_bench.workflow.check_dataset import check as run
    from wsol_bench.workflow.check_dataset import is_sound
    from wsol_bench.workflow.progress import Screen

    opened = open_dataset(dataset, root=root, metadata=metadata)
    with working():
        rows = run(opened, screen=Screen(quiet=quiet))
    if json_:
        print_json({"dataset": opened.name, "version": opened.version, "rows": rows})
    else:
        print_rows([{key: value for key, value in row.items() if key != "problems"} for row in rows], as_json=False)
        for row in rows:
            for problem in row["problems"]:
                typer.echo(f"{row['split']}: {problem}")
    if not is_sound(rows, on_bad_image):
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


def first_sentence(text: str | None) -> str:
    """Returns the first sentence of a docstring, without its markup."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"\.\s+(?=[A-Z])", paragraph)[0].rstrip(".").replace("``", "")
