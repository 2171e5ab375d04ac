"""The page of the report: a template whose every text is escaped, and the files that stand beside it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from wsol_bench.atomic import write_text

ASSETS: Final = ("style.css", "tables.js", "boxes.js", "explorer.js", "viewer.js")
_SITE: Final = "site"


def render(content: Mapping[str, Any]) -> str:
    """Returns the page.

    Every value is escaped for HTML; what the template embeds as JSON cannot end its script element. A value that the
    template asks for and ``content`` lacks is an error.
    """
    environment = Environment(
        loader=PackageLoader("wsol_bench.report", _SITE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":"), "allow_nan": False}
    return environment.get_template("page.html").render(content) + "\n"


def write_page(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes ``index.html`` and ``assets/``."""
    write_text(folder / "index.html", render(content))
    site = resources.files("wsol_bench.report").joinpath(_SITE)
    for name in ASSETS:
        write_text(folder / "assets" / name, site.joinpath(name).read_text(encoding="utf-8"))
