"""``wsol-bench methods``: what can be trained, and how."""

from __future__ import annotations

from typing import Annotated

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import console, print_json, print_rows, table
from wsol_bench.cli.parsing import HelpfulGroup

app = typer.Typer(cls=HelpfulGroup, help="List methods and show their recipes.", rich_markup_mode=None)


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
    screen.print("'--set NAME=VALUE' of 'sweep' and 'select' fixes a parameter.", markup=False)
    screen.print(f"Recipes: {', '.join(page['recipes'])}.", markup=False)
