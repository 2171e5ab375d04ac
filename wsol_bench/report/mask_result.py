"""What a selection by masks concluded: rows, decisions, and how much exact masks would have flattered each method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from wsol_bench.judge.judgement import Overstatement
from wsol_bench.judge.mask_selection import MaskJudgement
from wsol_bench.judge.rows import ResultRow
from wsol_bench.protocol import Protocol
from wsol_bench.report.selection_result import overstatements_as_dicts


@dataclass(frozen=True)
class MaskSelectionResult:
    """What the protocol concluded from masks.

    Attributes:
        rows: every measured number.
        judgements: one per method.
        overstatements: by method, how much exact masks and the test set would have flattered it, one per source
            without ground truth.
        blind: PxAP of maps that look at no pixel, by name, in percent.
        mask_errors: ``100 (1 - AUC)`` of the validation masks by source, where it is known.
        protocol: the rules that were applied.
        dataset: name of the dataset.
        folder: where rows were written.
        supervision: everything that was read, for selection and for reporting.
        skipped: unreadable images left out, by split (``--on-bad-image skip``).
    """

    rows: list[ResultRow]
    judgements: list[MaskJudgement]
    overstatements: Mapping[str, list[Overstatement]]
    blind: Mapping[str, float]
    mask_errors: Mapping[str, float]
    protocol: Protocol
    dataset: str
    folder: Path
    supervision: str
    skipped: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Returns rows and conclusions as plain values, for ``--json``."""
        return {
            "dataset": self.dataset,
            "protocol": self.protocol.label,
            "rows": [row.as_dict() for row in self.rows],
            "overstatements": overstatements_as_dicts(self.overstatements),
            "baselines": {name: {"px_ap": value} for name, value in self.blind.items()},
            "mask_errors": {name: None if isnan(error) else error for name, error in self.mask_errors.items()},
            "supervision": self.supervision,
            "skipped_images": dict(self.skipped),
            "files": [str(self.folder / "rows.csv")],
        }
