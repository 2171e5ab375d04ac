"""A table as data: one thing to print, to write as CSV, and to give out as JSON."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from wsol_bench.atomic import write_text

Cell = str | float | int | bool | None
"""None is printed as a dash: nothing was measured there."""


@dataclass(frozen=True)
class PrintedTable:
    """One table.

    Attributes:
        id: short name, such as the number in the thesis: ``4.2``.
        title: what it shows, with units.
        columns: headings.
        rows: one tuple per line, as long as ``columns``.
        notes: remarks below the table.
        section: index of the column whose change starts a new section, or None.
        wrapped: columns whose long texts may run over several lines.
    """

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    section: int | None = None
    wrapped: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns the table as plain values, one dictionary per line."""
        return {
            "id": self.id,
            "title": self.title,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
        }

    def write_csv(self, folder: Path) -> Path:
        """Writes ``table-<id>.csv``, whole, and returns its path; numbers with four decimals, dashes are empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_plain(cell, 4, "") for cell in row] for row in self.rows)
        path = folder / f"table-{self.id}.csv"
        write_text(path, text.getvalue())
        return path

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only, and stand to the right."""
        return tuple(all(_is_number(row[place]) for row in self.rows) for place in range(len(self.columns)))

    def texts(self) -> list[tuple[str, ...]]:
        """Returns the cells as they are printed: two decimals, a dash where nothing was measured."""
        return [tuple(_plain(cell, 2, "-") for cell in row) for row in self.rows]

    def starts_section(self, index: int) -> bool:
        """Whether a line is set apart from the one above it."""
        if self.section is None or index == 0:
            return False
        here = slice(0, self.section + 1)
        return self.rows[index - 1][here] != self.rows[index][here]

    def rendered(self) -> Table:
        """Returns the table for a terminal."""
        made = Table(title=Text(self.title), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for name, numbers in zip(self.columns, self.numeric, strict=True):
            made.add_column(name, justify="right" if numbers else "left", no_wrap=name not in self.wrapped)
        for index, row in enumerate(self.texts()):
            if self.starts_section(index):
                made.add_section()
            made.add_row(*map(Text, row))
        if self.notes:
            made.caption = Text("\n".join(self.notes))
            made.caption_justify = "left"
        return made


def _is_number(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))


def _plain(cell: Cell, digits: int, nothing: str) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return nothing
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)
