"""``wsol-bench report``: a study as a page to read, to look at and to hand on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsol_bench.cli import options
from wsol_bench.cli.output import print_json, working
from wsol_bench.errors import MissingPackageError

if TYPE_CHECKING:
    from wsol_bench.workflow.selection_tables import Study


def report(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="A new folder, or an earlier report to replace.", show_default=True)
    ] = Path("wsol_report"),
    dataset: options.Dataset = "critters",
    root: options.Root = None,
    metadata: options.Metadata = None,
    sampler: options.ChosenBy = "plan",
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    images: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Images per list of the gallery.")] = 8,
    figures: Annotated[bool, typer.Option(help="Draw the figures, as SVG, PDF and PNG.")] = True,
    costs: Annotated[
        bool, typer.Option(help="Measure parameters, MACs and time of each method (needs torch).")
    ] = False,
    allow_missing: options.AllowMissing = False,
    threads: options.JudgeThreads = None,
    json_: options.AsJson = False,
) -> None:
    """Write the latest selection as an HTML page.

    One folder that opens without server or network: results, a threshold explorer, a gallery, curves, all tables (also
    as CSV, Markdown and LaTeX), the audit, costs and provenance. Nothing is trained: the records are judged again.

    \b
    Examples:
      wsol-bench report --out report
      wsol-bench report -d tiny-imagenet --root tiny-imagenet-200 --images 16
    """
    _check_packages(figures)
    from wsol_bench.workflow.mask_tables import MaskStudy, only_boxes
    from wsol_bench.workflow.report import check_out, write_report

    check_out(out)
    study = options.judged_study(dataset, root, metadata, workspace, threads, allow_missing, sampler)
    if isinstance(study, MaskStudy):
        raise only_boxes("the report", study)
    with working():
        measured = _measured(study) if costs else {}
        written = write_report(study, out, images=images, figures=figures, measured=measured)
    if json_:
        print_json({"page": written.page, "files": written.files, "bytes": written.size})
    else:
        typer.echo(f"Written: {written.page} ({written.files} files, {written.size / 1e6:.1f} MB)")


def _check_packages(figures: bool) -> None:
    needed = {"jinja2": "report", **({"matplotlib": "report"} if figures else {})}
    for package, extra in needed.items():
        if find_spec(package) is None:
            way_out = ", or --no-figures" if package == "matplotlib" else ""
            raise MissingPackageError(
                f"Expected {package} for the report but it is not installed; fix: pip install 'wsol-bench[{extra}]'"
                f"{way_out}."
            )


def _measured(study: Study) -> dict[str, dict[str, Any]]:
    from wsol_bench.training.device import pick_device
    from wsol_bench.workflow.report_costs import measured_costs

    return measured_costs(study, pick_device("cpu"))
