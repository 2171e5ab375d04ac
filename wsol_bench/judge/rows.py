"""Result rows: everything measured is one, and every table, file and figure is a view of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wsol_bench.atomic import write_text


@dataclass(frozen=True)
class ResultRow:
    """One measured number with all that is needed to trust or repeat it.

    Attributes:
        dataset: name of the dataset.
        dataset_version: version of its content.
        method: registered name.
        run: label of the chosen configuration.
        config_hash: its trial id.
        epoch: chosen epoch.
        split: where ``value`` was measured.
        protocol: id and version.
        evaluator: id and version of the box evaluator.
        val_boxes: what selected on the validation set: ``cls``, ``gt`` or a pseudo-box set.
        selection: ``BT`` or ``BV``.
        tau_from: ``TT``, ``VT`` or ``OT``.
        metric: ``max_box_acc``, ``box_acc_mean``, ``mean_iou`` or ``top1_loc``.
        iou_threshold: the IoU level, several joined by ``+``, empty for ``mean_iou``.
        tau: threshold per IoU level, joined by ``+``; empty for Otsu.
        value: percent.
        ci_low: lower bound of the 95 % bootstrap interval.
        ci_high: upper bound.
        n: images scored.
        supervision: annotations that the choice read, from the ledger.
        realistic: whether no ground truth had a say in the choice.
        note: a remark, or empty.
        code_version: version of wsol-bench.
    """

    dataset: str
    dataset_version: str
    method: str
    run: str
    config_hash: str
    epoch: int
    split: str
    protocol: str
    evaluator: str
    val_boxes: str
    selection: str
    tau_from: str
    metric: str
    iou_threshold: str
    tau: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    supervision: str
    realistic: bool
    note: str
    code_version: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        return asdict(self)


def write_csv(path: Path, rows: Iterable[ResultRow]) -> None:
    """Writes rows as CSV, whole; numbers with four decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(ResultRow)])
    for row in rows:
        writer.writerow([f"{value:.4f}" if isinstance(value, float) else value for value in row.as_dict().values()])
    write_text(path, text.getvalue())


def find(rows: Sequence[ResultRow], **wanted: Any) -> ResultRow | None:
    """Returns the first row whose fields equal ``wanted``, or None."""
    return next((row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())), None)
