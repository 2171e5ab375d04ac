"""A printed table as text for a paper or a README: Markdown and LaTeX, whatever the names in it hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from wsol_bench.atomic import write_text
from wsol_bench.report.printed_table import PrintedTable

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def write_texts(table: PrintedTable, folder: Path) -> dict[str, Path]:
    """Writes ``table-<id>.csv``, ``.md`` and ``.tex`` into a folder and returns their paths by format."""
    files = {"CSV": table.write_csv(folder)}
    for name, suffix, make in (("Markdown", ".md", markdown), ("LaTeX", ".tex", latex)):
        files[name] = folder / f"table-{table.id}{suffix}"
        write_text(files[name], make(table))
    return files


def markdown(table: PrintedTable) -> str:
    """Returns the table in GitHub's Markdown, title above and notes below."""
    rules = ["---:" if numeric else "---" for numeric in table.numeric]
    lines = [f"**{_markdown(table.title)}**", "", _piped(map(_markdown, table.columns)), _piped(rules)]
    lines += [_piped(map(_markdown, row)) for row in table.texts()]
    for note in table.notes:
        lines += ["", _markdown(note)]
    return "\n".join(lines) + "\n"


def latex(table: PrintedTable) -> str:
    r"""Returns the table as a LaTeX ``table`` of the package ``booktabs``; sections are set apart by ``\midrule``."""
    columns = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_latex(' '.join((table.title + '.', *table.notes)))}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        _row(table.columns, _latex),
        "\\midrule",
    ]
    for index, row in enumerate(table.texts()):
        if table.starts_section(index):
            lines.append("\\midrule")
        lines.append(_row(row, _latex))
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(cells: Sequence[str], escape: Callable[[str], str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def _markdown(text: str) -> str:
    """Escapes what Markdown or HTML would read as more than a letter."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", plain)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
