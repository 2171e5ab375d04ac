"""Tables of configurations that a sampler has searched, marked so that nobody takes them for those of the plan."""

from __future__ import annotations

from dataclasses import replace

from wsol_bench.protocol import Protocol, SearchedProtocol
from wsol_bench.report.printed_table import PrintedTable


def marked(table: PrintedTable, protocol: Protocol) -> PrintedTable:
    """Returns a table that says in its name, in its title and below that configurations were searched.

    Args:
        table: of a study.
        protocol: of the study; tables of a plan stay as they are.
    """
    if not isinstance(protocol, SearchedProtocol):
        return table
    return replace(
        table,
        id=f"{table.id}+{protocol.sampler}",
        title=f"{table.title}, {protocol.label}",
        notes=(
            *table.notes,
            f"Configurations were proposed by '{protocol.sampler}': they are not those of other methods.",
        ),
    )
