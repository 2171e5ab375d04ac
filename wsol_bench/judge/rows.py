"""Result rows: everything measured is one, and every table, file and figure is a view of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from wsol_bench.atomic import write_text
from wsol_bench.judge.scores import PX_AP
from wsol_bench.judge.selection import reads_ground_truth
from wsol_bench.protocol import Selection, TauFrom, policy_label

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ResultRow:
    """One measured number with all that is needed to trust or repeat it; the schema of every file of measured rows.

    Attributes:
        dataset: name of the dataset.
        dataset_version: version of its content.
        method: registered name.
        run: label of the chosen configuration.
        config_hash: its trial id.
        epoch: chosen epoch.
        split: where ``value`` was measured.
        protocol: id and version.
        evaluator: id and version of the evaluator, of boxes or of masks.
        val_boxes: what selected on the validation set: ``cls``, ``gt``, a pseudo-box set, or masks (``maps:cam``).
        selection: ``BT`` or ``BV``.
        tau_from: ``TT``, ``VT``, ``OT``, or ``none`` for PxAP, which needs no threshold.
        metric: ``max_box_acc``, ``box_acc_mean``, ``mean_iou``, ``top1_loc``, ``px_ap``, or ``box_acc_30`` and the
            like, the parts of ``box_acc_mean`` at one IoU level in percent.
        iou_threshold: the IoU level, several joined by ``+``, empty for ``mean_iou`` and ``px_ap``.
        tau: threshold per IoU level, joined by ``+``; empty for Otsu and ``px_ap``.
        value: percent.
        ci_low: lower bound of the 95 % bootstrap interval.
        ci_high: upper bound.
        n: images scored.
        supervision: annotations that the choice read, from the ledger.
        realistic: whether no ground truth had a say in the choice.
        configs: runs that competed.
        seeds: how many of them differ from the chosen one in their seed at most.
        missing: planned runs and recorded epochs that were left out, or empty.
        study: hash of the protocol and of all runs that competed.
        record_hash: hash of the test record that was scored.
        val_boxes_hash: hash of the boxes or masks that selected, empty for ``cls``.
        test_boxes_hash: hash of the manual test boxes, or of the masks.
        note: a remark, or empty.
        code_version: version of wsol-bench.

    Raises:
        ValidationError: a value is out of range, or a row that calls itself realistic read ground truth.
    """

    dataset: Text
    dataset_version: Text
    method: Text
    run: Text
    config_hash: Text
    epoch: Annotated[int, Field(ge=0)]
    split: Literal["val", "test"]
    protocol: Text
    evaluator: Text
    val_boxes: Text
    selection: Selection
    tau_from: TauFrom
    metric: Text
    iou_threshold: str
    tau: str
    value: Percent
    ci_low: Percent
    ci_high: Percent
    n: Count
    supervision: Text
    realistic: bool
    configs: Count
    seeds: Count
    missing: str
    study: Text
    record_hash: Text
    val_boxes_hash: str
    test_boxes_hash: Text
    note: str
    code_version: Text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ci_low > self.ci_high:
            raise ValueError(f"ci_low {self.ci_low} is above ci_high {self.ci_high}")
        if self.realistic and reads_ground_truth(self.supervision):
            raise ValueError(f"a row whose choice read '{self.supervision}' cannot be realistic")
        if (self.tau_from in ("OT", "none")) != (self.tau == ""):
            raise ValueError(f"tau_from {self.tau_from} does not go with tau '{self.tau}'")
        if (self.tau_from == "none") != (self.metric == PX_AP):
            raise ValueError(f"tau_from {self.tau_from} does not go with the metric '{self.metric}'")
        return self

    @property
    def policy(self) -> str:
        """``BV-VT`` and the like; ``BV`` where there is no threshold."""
        return policy_label(self.selection, self.tau_from)

    def as_dict(self) -> dict[str, Any]:
        """Returns the row as plain values."""
        return asdict(self)


def write_csv(path: Path, rows: Iterable[ResultRow]) -> None:
    """Writes rows as CSV, whole; numbers with four decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(ResultRow)])
    for row in rows:
        writer.writerow([as_text(value) for value in row.as_dict().values()])
    write_text(path, text.getvalue())


def as_text(value: Any) -> str:
    """Returns a value as CSV files of rows hold it; numbers with four decimals."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def find(rows: Sequence[ResultRow], **wanted: Any) -> ResultRow | None:
    """Returns the first row whose fields equal ``wanted``, or None."""
    return next((row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())), None)
