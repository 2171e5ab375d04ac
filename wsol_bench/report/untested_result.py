"""What a selection without manual boxes of the test images says: choices and agreement, never an accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsol_bench.judge.scores import CLS
from wsol_bench.judge.without_truth import ChoicePair, Overlap, SourcePair, UntestedMethod
from wsol_bench.protocol import Protocol
from wsol_bench.report.printed_table import Cell, PrintedTable
from wsol_bench.report.searched import marked
from wsol_bench.training.trial_folder import dataset_slug

CANNOT = (
    "There are no manual boxes of the test images, so nobody can say here how well a method localizes, whether one "
    "method beats another, or which source is right: sources that agree may share their mistakes.",
    "Boxes drawn by hand on as few as a hundred test images would tell: 'wsol-bench annotate report --common --boxes "
    "FOLDER --metadata YOURS' compares the boxes written here with them.",
)
"""What such a selection leaves open, and what would change it."""


@dataclass(frozen=True)
class UntestedSelection:
    """What the sources chose.

    Attributes:
        dataset: name of the dataset.
        protocol: the rules that were applied.
        methods: what was chosen of each.
        source_pairs: every two sources.
        choice_pairs: every two choices of each method.
        folder: where tables and boxes were written.
        skipped: unreadable images left out, by split.
        files: tables and folders of boxes that were written.
    """

    dataset: str
    protocol: Protocol
    methods: tuple[UntestedMethod, ...]
    source_pairs: tuple[SourcePair, ...]
    choice_pairs: tuple[ChoicePair, ...]
    folder: Path
    skipped: dict[str, int]
    files: list[Path] = field(default_factory=list)

    def tables(self) -> list[PrintedTable]:
        """Returns the choices of each method, the agreement of the sources, and that of the choices."""
        made = [self._choices()]
        if self.source_pairs:
            made.append(self._sources())
        if self.choice_pairs:
            made.append(self._drawn())
        return [marked(table, self.protocol) for table in made]

    def sentences(self) -> list[str]:
        """Says for each method how much the choice of the source matters for the boxes, and what stays open."""
        said = []
        for one in self.methods:
            models = len({(choice.run.folder, choice.epoch) for choice in one.choices})
            pairs = [pair for pair in self.choice_pairs if pair.method == one.method]
            if pairs:
                worst = min(pairs, key=lambda pair: pair.overlap.share)
                said.append(
                    f"{one.method}: {len(one.choices)} sources chose {models} model{'s' if models > 1 else ''}; the "
                    f"two choices that differ most ({worst.first}, {worst.second}) draw boxes that agree in "
                    f"{worst.overlap.share:.1f} % of the test images."
                )
        return [*said, *CANNOT]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, for ``--json``."""
        return {
            "dataset": self.dataset,
            "protocol": self.protocol.label,
            "scored": False,
            "cannot_say": list(CANNOT),
            "tables": [table.as_dict() for table in self.tables()],
            "missing": {one.method: one.missing for one in self.methods if one.missing},
            "skipped_images": self.skipped,
            "files": [str(path) for path in self.files],
        }

    def _choices(self) -> PrintedTable:
        sources = list(
            dict.fromkeys(name for one in self.methods for choice in one.choices for name in choice.overlaps)
        )
        rows: list[tuple[Cell, ...]] = [
            (
                one.method,
                choice.source,
                choice.run.label,
                choice.epoch,
                "Otsu" if choice.tau is None else f"{choice.tau:.2f}",
                choice.val_top1,
                choice.test_top1,
                *(choice.overlaps[name].share for name in sources),
                "class labels" if choice.supervision == "none" else choice.supervision,
            )
            for one in self.methods
            for choice in one.choices
        ]
        counts = ", ".join(f"{len(one.runs)} of {one.method}" for one in self.methods)
        notes = [
            f"Configurations that competed: {counts}. Percent: class accuracy, and agreement of the boxes with each "
            f"source's on val (IoU >= {self._iou}). Nothing here is an accuracy of localization."
        ]
        notes += [f"{one.method}: made without {one.missing}." for one in self.methods if one.missing]
        notes += [_untrained(one) for one in self.methods if any(choice.epoch == 0 for choice in one.choices)]
        if any(choice.supervision.startswith("folder:") for one in self.methods for choice in one.choices):
            notes.append("Nobody vouches for the origin of boxes that came as a folder.")
        return PrintedTable(
            id="choices",
            title=f"{self.dataset}: what each source chose (BV-VT; class labels BV-OT), protocol {self.protocol.label}",
            columns=(
                "method",
                "chosen by",
                "config",
                "epoch",
                "tau",
                "top-1 val",
                "top-1 test",
                *(f"with {name}" for name in sources),
                "the choice read",
            ),
            rows=tuple(rows),
            notes=tuple(notes),
            section=0,
        )

    def _sources(self) -> PrintedTable:
        methods = [one.method for one in self.methods]
        rows = [
            (pair.first, pair.second, *_cells(pair.overlap), *(pair.kendall[method] for method in methods))
            for pair in self.source_pairs
        ]
        return PrintedTable(
            id="sources",
            title=f"Sources on {self.source_pairs[0].overlap.n} validation images: agreement of boxes, and of orders "
            "of configurations (Kendall's tau)",
            columns=("source", "and", *self._overlap_columns(), *(f"Kendall {method}" for method in methods)),
            rows=tuple(rows),
            notes=(self._outlier(),) if len(self.source_pairs) > 1 else (),
        )

    def _drawn(self) -> PrintedTable:
        rows = [
            (pair.method, pair.first, pair.second, *_cells(pair.overlap), pair.same_model) for pair in self.choice_pairs
        ]
        return PrintedTable(
            id="drawn",
            title=f"Choices on {self.choice_pairs[0].overlap.n} test images: agreement of the boxes that they draw",
            columns=("method", "chosen by", "and by", *self._overlap_columns(), "same model"),
            rows=tuple(rows),
            notes=("Where choices draw the same boxes, it does not matter which source chose.",),
            section=0,
        )

    @property
    def _iou(self) -> str:
        return f"{self.protocol.selection_iou:g}"

    def _overlap_columns(self) -> tuple[str, str, str]:
        return f"IoU >= {self._iou}, %", "95 % interval", "mean IoU, %"

    def _outlier(self) -> str:
        shares: dict[str, list[float]] = {}
        for pair in self.source_pairs:
            for name in (pair.first, pair.second):
                shares.setdefault(name, []).append(pair.overlap.share)
        means = {name: sum(values) / len(values) for name, values in shares.items()}
        least = min(means, key=lambda name: means[name])
        return (
            f"'{least}' agrees least with the others ({means[least]:.1f} % on average); this does not say who is right."
        )


def _untrained(one: UntestedMethod) -> str:
    names = ", ".join(choice.source for choice in one.choices if choice.epoch == 0)
    return (
        f"{one.method}: {names} chose epoch 0, the network before its training; boxes that such a network fits best "
        "say little about objects."
    )


def _cells(overlap: Overlap) -> tuple[Cell, Cell, Cell]:
    interval = f"[{overlap.interval.low:.2f}, {overlap.interval.high:.2f}]"
    return overlap.share, interval, overlap.mean_iou


def folder_name(method: str, source: str) -> str:
    """Returns what the folder with the boxes of a choice is called: ``cam-ss``, ``cam-class-labels``."""
    return dataset_slug(f"{method}-{'class-labels' if source == CLS else source}")
