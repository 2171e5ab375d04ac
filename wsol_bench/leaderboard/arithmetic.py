"""What printed numbers must satisfy whatever was measured: means, orders, and the same number in two tables.

A violation is a misprint, a misreading, or something that the paper does not tell. The known ones are declared in
``published/exceptions.csv``; a test compares the two in both directions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wsol_bench.leaderboard.published import PublishedRow

LEVELS = ("box_acc_30", "box_acc_50", "box_acc_70")
MEAN_TOLERANCE = 0.0501
"""Half a unit of the first decimal: tables print means with one digit, or cut them off after two."""

AVERAGE_TOLERANCE = 0.0751
"""Averages over ten classes with one digit are sometimes cut off instead of rounded."""

_ORDER_OF_ONE_MODEL = (("BV-TT", "BV-VT"),)
_ORDER = (("BT-TT", "BT-VT"), ("BT-TT", "BV-TT"), ("BT-VT", "BV-VT"), *_ORDER_OF_ONE_MODEL)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Violation:
    """A place where printed numbers contradict each other.

    Attributes:
        check: name of the check.
        where: the place, the same text at every run.
        finding: the numbers.
    """

    check: str
    where: str
    finding: str


def violations(rows: Sequence[PublishedRow]) -> list[Violation]:
    """Runs all checks."""
    return [violation for check in _CHECKS for violation in check(rows)]


def _mean_of_levels(rows: Sequence[PublishedRow]) -> Iterable[Violation]:
    """MaxBoxAccV2 is the mean of the accuracies at IoU 0.3, 0.5 and 0.7."""
    for name, cell in _cells(rows).items():
        if all(metric in cell for metric in (*LEVELS, "max_box_acc_v2")):
            mean = float(np.mean([cell[metric] for metric in LEVELS]))
            if abs(mean - cell["max_box_acc_v2"]) > MEAN_TOLERANCE:
                yield Violation("mean of levels", name, f"printed {cell['max_box_acc_v2']:g}, mean {mean:.2f}")


def _level_order(rows: Sequence[PublishedRow]) -> Iterable[Violation]:
    """Accuracy falls as the IoU level rises, if each level has its best threshold or all share one.

    A threshold that was frozen per level may break it: it is the best of another split.
    """
    for name, cell in _cells(rows).items():
        found = [cell[metric] for metric in LEVELS if metric in cell]
        if any(low < high - _ROUNDING for low, high in pairwise(found)):
            yield Violation("order of levels", name, " < ".join(f"{value:g}" for value in found))


def _rank_order(rows: Sequence[PublishedRow]) -> Iterable[Violation]:
    """Top-1 is at most Top-5, which is at most localization with the class known; Top-1 needs the right class."""
    known = ("max_box_acc", "gt_known_loc")
    for name, cell in _cells(rows).items():
        pairs = [("top1_loc", "top5_loc"), ("top1_loc", "top1_cls"), ("top5_loc", "top5_cls")]
        pairs += [(rank, metric) for rank in ("top1_loc", "top5_loc") for metric in known]
        for lower, higher in pairs:
            if lower in cell and higher in cell and cell[lower] > cell[higher] + _ROUNDING:
                yield Violation("order of ranks", name, f"{lower} {cell[lower]:g} > {higher} {cell[higher]:g}")


def _policy_order(rows: Sequence[PublishedRow]) -> Iterable[Violation]:
    """The best of the test set is not worse than what validation picks, for configurations and for thresholds.

    The mean over IoU levels is bound for one model only: BT may have picked the configuration by another number.
    """
    table: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row.selection and row.val_boxes not in ("", "cls") and row.metric in ("max_box_acc", "max_box_acc_v2"):
            line = (row.work, row.place, row.dataset, row.method, row.val_boxes, row.metric)
            table[line][row.policy] = row.number
    for key, cell in table.items():
        for higher, lower in _ORDER if key[-1] == "max_box_acc" else _ORDER_OF_ONE_MODEL:
            if higher in cell and lower in cell and cell[higher] < cell[lower] - _ROUNDING:
                where = f"{' '.join(key)}: {higher} below {lower}"
                yield Violation("order of policies", where, f"{cell[higher]:g} < {cell[lower]:g}")


def _class_average(rows: Sequence[PublishedRow]) -> Iterable[Violation]:
    """A printed average over classes is the mean of the printed classes."""
    table: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row.part and row.task == "wsol_video":
            line = (row.work, row.place, row.dataset, row.method, row.variant, row.metric)
            table[line][row.part] = row.number
    for key, parts in table.items():
        classes = [value for part, value in parts.items() if part != "avg"]
        if "avg" in parts and classes and abs(float(np.mean(classes)) - parts["avg"]) > AVERAGE_TOLERANCE:
            found = f"printed {parts['avg']:g}, mean {np.mean(classes):.2f}"
            yield Violation("average of classes", " ".join(filter(None, key)), found)


def _same_cell(rows: Sequence[PublishedRow]) -> Iterable[Violation]:
    """The protocol chapter prints the same number in several tables: IoU-50 is MaxBoxAcc, and so on."""
    table: dict[tuple[str, ...], dict[str, set[float]]] = defaultdict(lambda: defaultdict(set))
    for row in rows:
        if row.work == "murtaza2025" and row.place.startswith("table 4.") and row.selection and row.tau_from:
            metric = "max_box_acc" if row.metric == "box_acc_50" else row.metric
            table[row.dataset, row.method, row.val_boxes, row.policy, metric][row.place].add(row.number)
    for key, places in table.items():
        if len({value for values in places.values() for value in values}) > 1:
            found = ", ".join(f"{value:g} ({place})" for place, values in places.items() for value in sorted(values))
            yield Violation("same cell", " ".join(key), found)


def _percentages(rows: Sequence[PublishedRow]) -> Iterable[Violation]:
    """Percentages lie between 0 and 100."""
    free = {"params_m", "macs_g", "infer_ms", "train_hours", "n_gpus", "corloc_gain"}
    for row in rows:
        if row.metric not in free and not 0 <= row.number <= 100:
            yield Violation("percentages", " ".join(filter(None, row.key)), row.value)


_CHECKS: tuple[Callable[[Sequence[PublishedRow]], Iterable[Violation]], ...] = (
    _mean_of_levels,
    _level_order,
    _rank_order,
    _policy_order,
    _class_average,
    _same_cell,
    _percentages,
)


def _cells(rows: Sequence[PublishedRow]) -> dict[str, dict[str, float]]:
    """The numbers of one line of a table for one dataset, by metric."""
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        table[" ".join(filter(None, row.key[:-1]))][row.metric] = row.number
    return table
