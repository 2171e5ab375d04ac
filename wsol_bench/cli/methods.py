"""``wsol-bench methods``: what can be trained, and how."""

from __future__ import annotations

from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import console, print_json, print_rows, table, working
from wsol_bench.cli.parsing import HelpfulGroup, pairs

app = typer.Typer(cls=HelpfulGroup, help="List methods, show their recipes, measure their cost.", rich_markup_mode=None)


@app.command("list")
def list_methods(json_: options.AsJson = False) -> None:
    """List methods."""
    from wsol_bench.registry import METHODS

    rows = [{"name": name, "title": found.title, "paper": found.citation} for name, found in METHODS.loadable().items()]
    print_rows(rows, as_json=json_, broken=METHODS.broken())


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="Registered name.")],
    dataset: options.Dataset = "critters",
    json_: options.AsJson = False,
) -> None:
    """Show a method's recipe, search space and expected numbers."""
    from wsol_bench.registry import METHODS
    from wsol_bench.report.method_page import method_page, value_text
    from wsol_bench.search.plan import MethodOnDataset

    plan = MethodOnDataset.of(name, dataset)
    page = method_page(plan, title=METHODS.get(name).title, dataset=dataset, origin=METHODS.origin(name))
    if json_:
        print_json(page)
        return
    screen = console()
    screen.print(f"{page['method']}: {page['title']}", markup=False)
    screen.print(page["citation"], markup=False)
    screen.print(f"Registered by {page['origin']}.", markup=False, soft_wrap=True)
    rows = [row | {"value": value_text(row["value"])} for row in page["parameters"]]
    screen.print(table(rows, f"\nOn {dataset}: {page['epochs']} epochs, batches of {page['batch_size']}"))
    if page["expected"]:
        screen.print(table(page["expected"], "Numbers printed in papers, to expect at full scale, percent"))
    for backbone, values in page["backbones"].items():
        changed = ", ".join(f"{key} {value_text(value)}" for key, value in values.items())
        screen.print(f"With --set backbone={backbone}: {changed}.", markup=False)
    screen.print("'--set NAME=VALUE' of 'sweep' and 'select' fixes a parameter.", markup=False)
    screen.print(f"Recipes: {', '.join(page['recipes'])}.", markup=False)


@app.command()
def cost(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[METHOD]...", help="Registered names.", show_default="all")
    ] = None,
    dataset: options.Dataset = "critters",
    set_: options.Overrides = None,
    frame: Annotated[int, typer.Option(min=32, metavar="PX", help="Side of the images.")] = 224,
    classes: Annotated[int, typer.Option(min=1, metavar="N", help="Number of classes.")] = 200,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images in the larger batch.")] = 32,
    device: options.Device = "auto",
    json_: options.AsJson = False,
) -> None:
    """Measure parameters, multiply-accumulates and time per image.

    Times are those of this machine, the best of five rounds; the map is part of what is timed.

    \b
    Examples:
      wsol-bench methods cost cam acol --set backbone=resnet50
      wsol-bench methods cost --frame 64
    """
    from wsol_bench.registry import METHODS
    from wsol_bench.training.device import pick_device
    from wsol_bench.workflow.method_cost import method_cost

    place = pick_device(device)
    overrides = pairs("--set", set_)
    with working():
        rows = [
            method_cost(name, dataset, overrides, frame=frame, classes=classes, batch_size=batch, device=place)
            for name in names or METHODS.names()
        ]
    print_rows(rows, as_json=json_)
