"""Printed and measured numbers beside each other: never in one column, never averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wsol_bench.judge.rows import ResultRow
from wsol_bench.leaderboard.published import PublishedRow


@dataclass(frozen=True)
class Entry:
    """One cell of the literature or of this benchmark, or of both.

    Attributes:
        dataset: lower-case name.
        method: lower-case name.
        val_boxes: supervision on the validation set, as far as it is known.
        policy: ``BV-VT`` and the like, as far as it is known.
        metric: what is measured.
        published: printed numbers.
        measured: numbers measured with wsol-bench.
    """

    dataset: str
    method: str
    val_boxes: str
    policy: str
    metric: str
    published: tuple[PublishedRow, ...]
    measured: tuple[ResultRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns the entry as plain values, with one text per column."""
        return {
            "dataset": self.dataset,
            "method": self.method,
            "val_boxes": self.val_boxes or None,
            "policy": self.policy or None,
            "metric": self.metric,
            "published": "; ".join(_printed(self.published)) or None,
            "measured": "; ".join(_measured(row) for row in self.measured) or None,
        }


def side_by_side(
    published: Sequence[PublishedRow],
    measured: Sequence[ResultRow],
    *,
    dataset: str | None = None,
    method: str | None = None,
    metric: str | None = None,
    policy: str | None = None,
) -> list[Entry]:
    """Groups rows that are about the same dataset, method, supervision, policy and metric.

    Args:
        published: printed numbers.
        measured: numbers measured here.
        dataset: keep this dataset only; likewise the others.
        method: lower-case name.
        metric: name of the metric.
        policy: ``BV-VT`` and the like.

    Returns:
        Entries sorted by dataset, metric, method, policy, supervision.
    """
    cells: dict[tuple[str, str, str, str, str], tuple[list[PublishedRow], list[ResultRow]]] = {}

    def cell(name: str, by: str, boxes: str, rule: str, what: str) -> tuple[list[PublishedRow], list[ResultRow]]:
        return cells.setdefault((name.lower(), what, by.lower(), rule, boxes), ([], []))

    for row in published:
        if row.task == "wsol" and row.split == "test":
            cell(row.dataset, row.method, row.val_boxes, row.policy, row.metric)[0].append(row)
    for one in measured:
        cell(one.dataset, one.method, one.val_boxes, one.policy, one.metric)[1].append(one)
    wanted = (dataset and dataset.lower(), metric, method and method.lower(), policy)
    return [
        Entry(key[0], key[2], key[4], key[3], key[1], tuple(cells[key][0]), tuple(cells[key][1]))
        for key in sorted(cells)
        if all(want is None or have == want for want, have in zip(wanted, key[:4], strict=True))
    ]


def _printed(rows: Sequence[PublishedRow]) -> list[str]:
    """One text per number: a number that one work prints in several places is one number."""
    groups: dict[tuple[str, str, str], list[PublishedRow]] = {}
    for row in rows:
        groups.setdefault((row.value, ", ".join(filter(None, (row.variant, row.backbone))), row.work), []).append(row)
    texts = []
    for (value, setting, work), found in groups.items():
        places = ", ".join(dict.fromkeys(row.place for row in found))
        doubts = {row.reading for row in found}
        doubt = "" if doubts & {"as_printed", "repaired"} else f" ({', '.join(sorted(doubts))})"
        texts.append(f"{value}{f' {setting}' if setting else ''} [{work} {places}]{doubt}")
    return texts


def _measured(row: ResultRow) -> str:
    return f"{row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}], n = {row.n}, {row.dataset_version}, {row.protocol}"
