"""The curve behind the numbers: accuracy over tau, or precision over recall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsol_bench.atomic import whole_file
from wsol_bench.errors import UsageError
from wsol_bench.metrics.bootstrap import replicates_at_fixed_tau
from wsol_bench.metrics.box_acc_result import BoxAccuracyResult

if TYPE_CHECKING:
    from wsol_bench.workflow.evaluate import EvaluationResult


def draw_figure(result: EvaluationResult, path: Path) -> None:
    """Draws the figure of an evaluation.

    Boxes: one line per IoU threshold and contour mode, a dot at its maximum, a band for the pointwise interval. Masks:
    the precision-recall curve.

    Raises:
        UsageError: matplotlib is not installed, or does not know the format of ``path``.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("Expected matplotlib for figures; fix: pip install 'wsol-bench[plots]'.") from error
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in canvas.get_supported_filetypes():
        known = ", ".join(sorted(canvas.get_supported_filetypes()))
        raise UsageError(f"Expected a figure file ending in one of ({known}) but got '{path.name}'.")
    axes = figure.subplots()
    if not result.boxes and result.pixels is None:
        raise UsageError("Expected scores to draw but this shard has none yet; fix: draw after merging.")
    if result.pixels is not None:
        axes.plot(result.pixels.recall, result.pixels.precision, label=f"PxAP {result.pixels.px_ap:.2f}")
        axes.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 100))
    else:
        for mode, curves in result.boxes.items():
            _draw_accuracy(axes, curves, dashed=mode == "all", level=result.level)
        axes.set(xlabel="threshold tau", ylabel="images localized (%)", xlim=(0, 1), ylim=(0, 100))
    axes.set_title(f"{result.split}, {result.n} images")
    axes.legend(fontsize="small")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=suffix, dpi=150)


def _draw_accuracy(axes: Any, curves: BoxAccuracyResult, *, dashed: bool, level: float) -> None:
    accuracy = curves.box_acc
    for d, threshold in enumerate(curves.iou_thresholds.tolist()):
        colour = f"C{d}"
        label = f"IoU {threshold:g}, {curves.contours}: {curves.max_box_acc[d]:.2f}"
        axes.plot(curves.taus, accuracy[d], color=colour, linestyle="--" if dashed else "-", label=label)
        axes.plot(curves.max_box_acc_tau[d], curves.max_box_acc[d], "o", color=colour, markersize=4)
        if curves.replicates is not None and not dashed:
            drawn = curves.replicates
            values = np.stack(
                [replicates_at_fixed_tau(drawn.hits[0, d], drawn.totals, t) for t in range(len(curves.taus))]
            )
            low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2], axis=1)
            axes.fill_between(curves.taus, low, high, color=colour, alpha=0.15, linewidth=0)
