"""Scores a folder of maps against metadata: a drop-in for the field's evaluator, exact and streaming.

What becomes of maps that are missing, double, constant, not finite, out of range or of another size is laid down in
:mod:`wsol_bench.workflow.map_checks`, counted, and shown with the result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError
from wsol_bench.metrics.box_acc import DEFAULT_IOU_THRESHOLDS, Contours
from wsol_bench.metrics.box_acc_result import BoxAccuracyResult
from wsol_bench.metrics.px_ap import PxApResult
from wsol_bench.workflow.evaluate_figure import draw_figure
from wsol_bench.workflow.evaluate_images import ImageLines
from wsol_bench.workflow.evaluate_options import (
    ContourChoice,
    parse_contours,
    parse_iou_thresholds,
    parse_shard,
    parse_taus,
)
from wsol_bench.workflow.evaluate_output import write_image_csv
from wsol_bench.workflow.evaluate_predictions import read_predictions
from wsol_bench.workflow.evaluate_rows import Row, dissected_tau, result_rows
from wsol_bench.workflow.evaluate_scores import REFERENCE_DIALECT, Extra, Scores, Settings
from wsol_bench.workflow.evaluate_state import Origin, merge_states, write_state
from wsol_bench.workflow.evaluate_stream import Progress, stream
from wsol_bench.workflow.evaluate_truth import read_truth
from wsol_bench.workflow.map_checks import IssueLog
from wsol_bench.workflow.map_source import open_maps

DEFAULT_FRAME = 224


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of a split, or of some shards of it.

    Attributes:
        rows: one per number; for the keys see :data:`wsol_bench.workflow.evaluate_rows.Row`.
        n: images scored.
        total: images of the whole split.
        split: its name.
        supervision: what the firewall noted, for instance ``gt:test``.
        level: nominal coverage of the intervals.
        issues: number of maps per kind of issue, those that occurred.
        notes: the issues as sentences.
        boxes: curves and maxima per contour mode, empty for masks.
        pixels: PxAP with its curves; None for boxes, and for a shard without any object pixel.
    """

    rows: list[Row]
    n: int
    total: int
    split: str
    supervision: str
    level: float
    issues: dict[str, int]
    notes: list[str]
    boxes: dict[Contours, BoxAccuracyResult]
    pixels: PxApResult | None

    def to_json(self) -> dict[str, Any]:
        """Returns what ``--json`` prints: ``rows``, and where they come from."""
        return {
            "rows": self.rows,
            "split": self.split,
            "n": self.n,
            "total": self.total,
            "supervision": self.supervision,
            "ci_level": self.level,
            "maps": self.issues,
            "notes": self.notes,
        }


def evaluate(
    maps: Path,
    metadata: Path,
    *,
    split: str | None = None,
    tau_step: float | Literal["levels"] | None = None,
    contours: ContourChoice = "largest",
    iou: Sequence[float] = DEFAULT_IOU_THRESHOLDS,
    dialect: str = REFERENCE_DIALECT,
    masks: Path | None = None,
    tau: float | None = None,
    also: Collection[Extra] = (),
    predictions: Path | None = None,
    shard: str | None = None,
    save_state: Path | None = None,
    per_image: Path | None = None,
    figure: Path | None = None,
    strict: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    frame: int = DEFAULT_FRAME,
    threads: int = 2,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Scores maps.

    Args:
        maps: folder of ``<image id>.npy`` (any float type, uint8 or bool, ``[height, width]``) or Parquet shards.
        metadata: folder in the four-file format, or one above it with a single split inside.
        split: name of the split's folder, where ``metadata`` holds several.
        tau_step: distance of thresholds (0.001, 0.004 and 0.01 are in use), or ``levels`` for the 255 cuts of an 8-bit
            map; None: 0.001, or the published thresholds of the dialect.
        contours: score the largest contour, the best of all contours, or both.
        iou: IoU thresholds, as shares (0.5) or percentages (50).
        dialect: whose way of reading boxes off maps, ``choe2020``, ``ts_cam`` or ``sat``; rows carry it in
            ``evaluator``.
        masks: root of the mask files, for PxAP (OpenImages).
        tau: a frozen threshold (policy VT) to be reported as well.
        also: more metrics: ``otsu``, ``errors``, ``pointing``.
        predictions: file with lines ``id,class1[,...,class5]``, for Top-1 and Top-5 localization.
        shard: ``2/4`` scores the second of four parts of the split.
        save_state: file for the counts, to be merged with those of other shards by :func:`merge`.
        per_image: file for a CSV with the IoU and box of each image at the reported tau.
        figure: file for a figure of the curves.
        strict: make anything odd about a map an error.
        bootstrap: replicates for confidence intervals, 0 for none.
        seed: seed of the bootstrap.
        level: nominal coverage of the intervals.
        frame: side of the square in which maps and boxes are compared.
        threads: worker threads.
        progress: called with images done and in total.

    Raises:
        UsageError: options that do not fit together.
        DataError: maps or metadata that cannot be read; names the file.
    """
    if frame < 1 or threads < 1:
        raise UsageError(f"Expected frame and threads to be at least 1 but got {frame} and {threads}.")
    settings = Settings(
        taus=parse_taus(tau_step, dialect),
        iou_thresholds=parse_iou_thresholds(iou),
        contours=parse_contours(contours),
        px=masks is not None,
        tau=tau,
        extras=tuple(sorted(set(also))),
        replicates=bootstrap,
        seed=seed,
        level=level,
        dialect=dialect,
    )
    if shard is not None and per_image is not None and tau is None and masks is None:
        raise UsageError(
            "Expected a frozen tau (--tau) for the CSV of a shard, because the best tau is known only after merging; "
            "fix: write the CSV when scoring the whole split."
        )
    issues = IssueLog(strict)
    with ExitStack() as stack:
        stack.enter_context(firewall.judging("evaluate"))
        book = stack.enter_context(firewall.ledger())
        truth = read_truth(metadata, masks=masks, frame=frame, split=split, dialect=dialect)
        right = {} if predictions is None else read_predictions(predictions, truth)
        settings = replace(settings, ranks=tuple(right))
        part = parse_shard(shard, len(truth.ids))
        pieces = open_maps(maps, truth.ids, part, issues, frame=frame)
        scores = Scores(truth, settings, right)
        lines = None
        if per_image is not None:
            lines = ImageLines(settings, stack.enter_context(tempfile.TemporaryFile()))
        stream(pieces, truth, scores, lines, issues, threads=threads, total=len(part), progress=progress)
        origin = Origin(truth.split, frame, len(truth.ids), truth.digest(), book.supervision())
        if save_state is not None:
            write_state(save_state, scores, truth.keys[part], origin, issues)
        result = _result(scores, len(part), origin, issues, truth.num_clipped)
        if lines is not None and per_image is not None:
            shown = dissected_tau(tau, result.boxes) if result.boxes else 0.0
            write_image_csv(per_image, lines.at_tau(shown, truth.ids))
    if figure is not None:
        draw_figure(result, figure)
    return result


def merge(
    states: Sequence[Path], *, figure: Path | None = None, save_state: Path | None = None, strict: bool = False
) -> EvaluationResult:
    """Adds up shards scored on several machines; equals scoring the whole at once, to the last bit.

    Args:
        states: files written with ``save_state``.
        figure: file for a figure of the curves.
        save_state: file for the sum, which may be merged further.
        strict: make images that no shard scored an error.

    Raises:
        DataError: states are damaged, do not belong together, or share images; names the file.
        UsageError: no state was given.
    """
    issues = IssueLog(strict)
    scores, keys, origin = merge_states(states, issues)
    if save_state is not None:
        write_state(save_state, scores, keys, origin, issues)
    result = _result(scores, len(keys), origin, issues, 0)
    if figure is not None:
        draw_figure(result, figure)
    return result


def _result(scores: Scores, n: int, origin: Origin, issues: IssueLog, num_clipped: int) -> EvaluationResult:
    named = np.asarray(scores.settings.iou_thresholds)
    boxes = {contours: replace(metric.compute(), iou_thresholds=named) for contours, metric in scores.boxes.items()}
    notes = issues.lines()
    pixels = None
    if scores.pixels is not None and n < origin.total and not scores.pixels.has_foreground:
        notes.append("no object pixels in this shard: PxAP is undefined until shards are merged")
    elif scores.pixels is not None:
        pixels = scores.pixels.compute()
    if num_clipped:
        notes.append(f"{num_clipped} ground-truth boxes reached outside their image: clipped")
    return EvaluationResult(
        rows=result_rows(scores, boxes, pixels),
        n=n,
        total=origin.total,
        split=origin.split,
        supervision=origin.supervision,
        level=scores.settings.level,
        issues={str(issue): count for issue, count in issues.counts.items()},
        notes=notes,
        boxes=boxes,
        pixels=pixels,
    )
