"""The tables of the protocol chapter as queries over result rows (Murtaza, PhD thesis, ETS Montreal, 2025, chapter 4).

Every function takes rows of any datasets, methods and sources; what was not measured is a dash. Class labels appear
under the threshold that they were scored with (TT, OT), never under another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from wsol_bench.judge.mask_selection import MaskJudgement
from wsol_bench.judge.pseudo_quality import BoxQuality, FunnelQuality
from wsol_bench.judge.rows import ResultRow
from wsol_bench.report.printed_table import Cell, PrintedTable

POLICIES: Final = ("BT-TT", "BT-VT", "BV-TT", "BV-VT", "BT-OT", "BV-OT")

Item = TypeVar("Item")
_Key = tuple[str, str, str, str, str]


def selection_table(rows: Sequence[ResultRow], metric: str = "max_box_acc") -> PrintedTable:
    """Table 4.2: MaxBoxAcc of every method under each policy, one column per source."""
    cells = _index(rows)
    sources = _ordered(row.val_boxes for row in rows)
    lines: list[tuple[Cell, ...]] = []
    for dataset, method in _ordered((row.dataset, row.method) for row in rows):
        for policy in POLICIES:
            values = [_value(cells, dataset, method, source, policy, metric) for source in sources]
            if any(value is not None for value in values):
                lines.append((dataset, method, policy, *values))
    return PrintedTable(
        "4.2",
        "Test MaxBoxAcc [%] by policy, one column per validation supervision",
        ("dataset", "method", "policy", *sources),
        tuple(lines),
        _missing(rows),
        section=1,
    )


def interval_table(rows: Sequence[ResultRow], metric: str = "max_box_acc") -> PrintedTable:
    """Table 4.2 with the 95 % interval of each cell."""
    plain = selection_table(rows, metric)
    cells = _index(rows)
    sources = plain.columns[3:]
    lines: list[tuple[Cell, ...]] = []
    for dataset, method, policy, *_ in plain.rows:
        found = [cells.get((str(dataset), str(method), source, str(policy), metric)) for source in sources]
        texts = [None if row is None else f"{row.value:.2f} [{row.ci_low:.1f}, {row.ci_high:.1f}]" for row in found]
        lines.append((dataset, method, policy, *texts))
    title = "Test MaxBoxAcc [%] with 95 % intervals by policy, one column per validation supervision"
    return PrintedTable("intervals", title, plain.columns, tuple(lines), plain.notes, plain.section, sources)


def accuracy_and_iou_table(rows: Sequence[ResultRow]) -> PrintedTable:
    """Table 4.3: MaxBoxAcc beside the plain mean IoU of the same models, manual boxes, BT-TT."""
    cells = _index(rows)
    lines: list[tuple[Cell, ...]] = []
    for dataset, method in _ordered((row.dataset, row.method) for row in rows):
        values = [_value(cells, dataset, method, "gt", "BT-TT", metric) for metric in ("max_box_acc", "mean_iou")]
        if any(value is not None for value in values):
            lines.append((dataset, method, *values))
    return PrintedTable(
        "4.3",
        "Test MaxBoxAcc and mean IoU [%], selected with manual boxes, BT-TT",
        ("dataset", "method", "MaxBoxAcc", "mean IoU"),
        tuple(lines),
        _missing(rows),
    )


def supervision_table(rows: Sequence[ResultRow]) -> PrintedTable:
    """Table 4.6: MaxBoxAcc and mean IoU for every source, class labels included, all with the test threshold."""
    cells = _index(rows)
    sources = _ordered(row.val_boxes for row in rows)
    lines: list[tuple[Cell, ...]] = []
    for dataset, method in _ordered((row.dataset, row.method) for row in rows):
        for title, metric in (("MaxBoxAcc", "max_box_acc"), ("mean IoU", "mean_iou")):
            values = [_value(cells, dataset, method, source, "BT-TT", metric) for source in sources]
            if any(value is not None for value in values):
                lines.append((dataset, method, title, *values))
    return PrintedTable(
        "4.6",
        "Test MaxBoxAcc and mean IoU [%] by validation supervision, BT-TT",
        ("dataset", "method", "metric", *sources),
        tuple(lines),
        _missing(rows),
        section=1,
    )


def iou_levels_table(rows: Sequence[ResultRow]) -> PrintedTable:
    """Tables 4.7 and 4.8: box accuracy at each IoU level and their mean, one contour, each at its own threshold."""
    cells = _index(rows)
    parts = sorted({row.metric for row in rows if _is_part(row.metric)}, key=lambda name: float(name.split("_")[2]))
    lines: list[tuple[Cell, ...]] = []
    for dataset, method in _ordered((row.dataset, row.method) for row in rows):
        for policy in POLICIES:
            for source in _ordered(row.val_boxes for row in rows):
                values = [_value(cells, dataset, method, source, policy, metric) for metric in (*parts, "box_acc_mean")]
                if any(value is not None for value in values):
                    lines.append((dataset, method, policy, source, *values))
    return PrintedTable(
        "4.7",
        "Test box accuracy [%] at several IoU levels (Tables 4.7 and 4.8)",
        ("dataset", "method", "policy", "source", *(f"IoU-{name.split('_')[2]}" for name in parts), "mean"),
        tuple(lines),
        (
            "One box per image, of the largest contour: the mean is not MaxBoxAccV2, which looks at all contours.",
            *_missing(rows),
        ),
        section=2,
    )


def pseudo_box_table(quality: Mapping[str, BoxQuality], dataset: str) -> PrintedTable:
    """Table 4.1: mean IoU of the boxes that select with the manual boxes of the validation images."""
    return PrintedTable(
        "4.1",
        "Validation boxes against manual boxes [%]",
        ("dataset", "boxes", "mean IoU", "CorLoc", "mean area", "manual area", "images"),
        tuple(
            (dataset, name, one.mean_iou, one.corloc, one.mean_area, one.mean_gt_area, one.n)
            for name, one in quality.items()
        ),
    )


def funnel_table(funnels: Mapping[str, FunnelQuality], dataset: str) -> PrintedTable:
    """Table 4.5: mean IoU of what is left after each stage of the filter of proposals."""
    names = list(funnels)
    stages = _ordered(stage.name for one in funnels.values() for stage in one.stages)
    by_stage = {(name, stage.name): stage.mean_iou for name, one in funnels.items() for stage in one.stages}
    return PrintedTable(
        "4.5",
        "Mean IoU [%] with manual boxes along the filter of proposals, validation images",
        ("dataset", "stage", *names),
        tuple((dataset, stage, *(by_stage.get((name, stage)) for name in names)) for stage in stages),
        () if funnels else ("No set of pseudo-boxes of this workspace has kept its stages.",),
    )


def mask_table(
    judgements: Sequence[MaskJudgement], mask_errors: Mapping[str, float], dataset: str, notes: Sequence[str] = ()
) -> PrintedTable:
    """Table 4.9: test PxAP when the validation masks are exact, eroded or made from maps.

    Args:
        judgements: one per method.
        mask_errors: ``100 (1 - AUC)`` by source, where it is known.
        dataset: its name.
        notes: what is missing.
    """
    explained = ("Mask error: 100 (1 - AUC) of the validation masks against the exact ones.",) if mask_errors else ()
    return PrintedTable(
        "4.9",
        "Test PxAP [%] by validation masks",
        ("dataset", "method", "masks", "mask error", "selection", "config", "epoch", "PxAP", "ci low", "ci high"),
        tuple(
            (
                dataset,
                judgement.method,
                one.source,
                mask_errors.get(one.source),
                one.selection,
                judgement.runs[one.run].label,
                one.epoch,
                one.value,
                judgement.interval(place).low,
                judgement.interval(place).high,
            )
            for judgement in judgements
            for place, one in enumerate(judgement.decisions)
        ),
        (*explained, *notes),
        section=1,
    )


def _index(rows: Sequence[ResultRow]) -> dict[_Key, ResultRow]:
    return {(row.dataset, row.method, row.val_boxes, row.policy, row.metric): row for row in rows}


def _value(
    cells: Mapping[_Key, ResultRow], dataset: str, method: str, source: str, policy: str, metric: str
) -> float | None:
    row = cells.get((dataset, method, source, policy, metric))
    return None if row is None else row.value


def _missing(rows: Sequence[ResultRow]) -> tuple[str, ...]:
    """What was left out belongs below every table that was made without it."""
    return tuple(
        f"{dataset}, {method}: made without {missing}."
        for dataset, method, missing in _ordered((row.dataset, row.method, row.missing) for row in rows)
        if missing
    )


def _is_part(metric: str) -> bool:
    return metric.startswith("box_acc_") and metric != "box_acc_mean"


def _ordered(items: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(items))
