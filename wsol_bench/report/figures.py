"""The two figures of a selection: accuracy over epochs per source, accuracy over tau per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsol_bench.atomic import whole_file
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.scores import CLS
from wsol_bench.judge.selection import validation_score
from wsol_bench.protocol import Protocol

# Okabe and Ito's colours, which stay apart for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def epochs_figure(judgement: Judgement, sources: Sequence[str], protocol: Protocol, *paths: Path) -> None:
    """Draws validation accuracy over epochs against each source, a dot at the epoch each would pick.

    The run shown is the one that the protocol's headline policy picks with the first pseudo source. Above, box
    accuracy; below, classification accuracy: the two peak at different epochs, which is the reason for the protocol.
    """
    run = judgement.scores[_headline_run(judgement, sources, protocol)]
    figure, (upper, lower) = new_figure(2, 1, figsize=(6.4, 5.2), sharex=True, height_ratios=(3, 1))
    for colour, source in zip(COLOURS, [source for source in sources if source != CLS], strict=False):
        curve = validation_score(run, source, protocol)
        best = int(curve.argmax())
        name = "ground truth" if source == "gt" else f"{source} boxes"
        upper.plot(run.epochs, curve, color=colour, label=f"against {name} (picks epoch {run.epochs[best]})")
        upper.plot(run.epochs[best], curve[best], "o", color=colour, clip_on=False)
    best = int(run.val_top1.argmax())
    lower.plot(run.epochs, run.val_top1, color="0.35", label=f"class labels (pick epoch {run.epochs[best]})")
    lower.plot(run.epochs[best], run.val_top1[best], "o", color="0.35", clip_on=False)
    upper.set_ylabel(f"box accuracy at IoU {protocol.selection_iou:g} [%]")
    upper.set_title(f"{run.label}: validation accuracy over epochs", loc="left")
    lower.set_ylabel("top-1 [%]")
    lower.set_xlabel("epoch")
    upper.set_ylim(bottom=0)
    lower.set_ylim(bottom=0)
    upper.legend(frameon=False, fontsize="small", loc="lower right")
    lower.legend(frameon=False, fontsize="small", loc="lower right")
    lower.xaxis.get_major_locator().set_params(integer=True)
    save_figure(figure, *paths)


def tau_figure(judgements: Sequence[Judgement], sources: Sequence[str], protocol: Protocol, *paths: Path) -> None:
    """Draws test accuracy over tau for each method's chosen run, with the threshold that each source freezes."""
    figure, axes = new_figure(1, len(judgements), figsize=(6.4 * len(judgements), 4.2), sharey=True, squeeze=False)
    level = protocol.iou_thresholds.index(protocol.selection_iou)
    policy = f"{protocol.headline.selection}-{protocol.headline.threshold}"
    origin = "frozen on validation" if protocol.headline.threshold == "VT" else "the best on test"
    for axis, judgement in zip(axes[0], judgements, strict=True):
        for colour, source in zip(COLOURS, [source for source in sources if source != CLS], strict=False):
            found = judgement.find(source, policy, "max_box_acc")
            if found is None:
                continue
            decision = found[0]
            run = judgement.scores[decision.run]
            epoch = run.epochs.index(decision.epoch)
            curve = run.test[epoch].curves.box_acc[level]
            axis.plot(run.taus, curve, color=colour, label=f"selected by {source}: {run.label}, epoch {decision.epoch}")
            axis.plot(decision.taus[0], decision.value, "o", color=colour, clip_on=False)
        axis.set_title(f"{judgement.method}: test accuracy over the threshold", loc="left")
        axis.set_xlabel(f"tau (dot: {origin})")
        if axis.lines:
            axis.legend(frameon=False, fontsize="small")
    # Shared by all methods, and so only now: a limit set earlier would keep the range of the first one.
    axes[0][0].set_ylim(bottom=0)
    axes[0][0].set_ylabel(f"box accuracy at IoU {protocol.selection_iou:g} [%]")
    save_figure(figure, *paths)


def _headline_run(judgement: Judgement, sources: Sequence[str], protocol: Protocol) -> int:
    """Index of the run picked by the headline policy with the first pseudo source, else with the first source."""
    keys = judgement.scores[0].ledger_keys
    pseudo = [source for source in sources if source != CLS and not keys[source].startswith("gt")]
    label = f"{protocol.headline.selection}-{protocol.headline.threshold}"
    for source in (*pseudo, *sources):
        found = judgement.find(source, label, protocol.headline.metric)
        if found is not None:
            return found[0].run
    return judgement.decisions[0].run


def new_figure(rows: int, columns: int, **options: Any) -> Any:
    """Returns a figure and its axes in the style of all figures here; draws without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, layout="constrained", **options)
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, axes


def save_figure(figure: Any, *paths: Path) -> None:
    """Writes a figure whole, in the format of each file's ending, and closes it; equal figures give equal files."""
    from matplotlib import pyplot, rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        # A name with dollar signs is a name, not a formula.
        text.set_parse_math(False)
    with rc_context({"svg.hashsalt": "wsol-bench"}):
        for path in paths:
            with whole_file(path) as temporary:
                kind = path.suffix.removeprefix(".")
                figure.savefig(temporary, dpi=150, format=kind, metadata=_UNDATED.get(kind))
    pyplot.close(figure)
