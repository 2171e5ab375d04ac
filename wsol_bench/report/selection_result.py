"""What a selection concluded: rows, decisions, and how much ground truth would have flattered each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsol_bench.judge.judgement import Judgement, Overstatement
from wsol_bench.judge.rows import ResultRow
from wsol_bench.protocol import Protocol


@dataclass(frozen=True)
class SelectionResult:
    """What the protocol concluded.

    Attributes:
        rows: every measured number.
        judgements: one per method.
        overstatements: by method, how much ground truth would have flattered it, one per pseudo source.
        fixed_boxes: box accuracy and mean IoU of the whole frame and of a centred box, in percent.
        protocol: the rules that were applied.
        sources: names of the sources, as rows call them.
        dataset: name of the dataset.
        folder: where rows and figures were written.
        supervision: everything that was read, for selection and for reporting.
        skipped: unreadable images left out, by split (``--on-bad-image skip``).
        figures: files of the figures.
    """

    rows: list[ResultRow]
    judgements: list[Judgement]
    overstatements: dict[str, list[Overstatement]]
    fixed_boxes: dict[str, tuple[float, float]]
    protocol: Protocol
    sources: tuple[str, ...]
    dataset: str
    folder: Path
    supervision: str
    skipped: dict[str, int]
    figures: list[Path] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Returns rows and conclusions as plain values, for ``--json``."""
        return {
            "dataset": self.dataset,
            "protocol": self.protocol.label,
            "rows": [row.as_dict() for row in self.rows],
            "overstatements": overstatements_as_dicts(self.overstatements),
            "baselines": {
                name: {"box_acc": accuracy, "mean_iou": iou} for name, (accuracy, iou) in self.fixed_boxes.items()
            },
            "supervision": self.supervision,
            "skipped_images": self.skipped,
            "files": [str(path) for path in self.figures] + [str(self.folder / "rows.csv")],
        }


def overstatements_as_dicts(overstatements: Mapping[str, Sequence[Overstatement]]) -> list[dict[str, Any]]:
    """Returns overstatements by method as plain values."""
    return [
        {
            "method": method,
            "source": gap.source,
            "usual": gap.usual.value,
            "realistic": gap.realistic.value,
            "difference": gap.difference,
            "ci_low": gap.interval.low,
            "ci_high": gap.interval.high,
        }
        for method, gaps in overstatements.items()
        for gap in gaps
    ]
