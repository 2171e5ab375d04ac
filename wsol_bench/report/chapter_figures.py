"""The figures of the protocol chapter for whatever was judged: Figs. 4.1, 4.2 and 4.4, and Fig. 2.5.

Source: Murtaza, PhD thesis, ETS Montreal, 2025. Colours are those of Okabe and Ito; bars and lines also differ in
hatching or marks, for readers who see no colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.noise_study import NoiseLevel
from wsol_bench.judge.scores import CLS, GT, RunScores
from wsol_bench.judge.selection import selection_level
from wsol_bench.protocol import Protocol
from wsol_bench.report.figures import COLOURS, new_figure, save_figure

ZOOM_EPOCHS = 5
"""Panel B of Fig. 4.2 shows the epochs up to this one."""

_GREY = "0.35"
_BARS = (
    (CLS, "BV-OT", "class labels, BV-OT", ""),
    (CLS, "BT-OT", "class labels, BT-OT", "//"),
    (CLS, "BT-TT", "class labels, BT-TT", "xx"),
    (GT, "BT-TT", "manual boxes, BT-TT", ".."),
)
_MEASURES = {"box_acc": "box accuracy", "mean_iou": "mean IoU"}


def conflict_figure(judgements: Sequence[Judgement], protocol: Protocol, *paths: Path) -> None:
    """Fig. 4.1: classification and localization peak at different epochs, and what that costs each method.

    Left, one run of the first method, the one that manual boxes pick, or the first source; right, four bars per method.
    """
    figure, (left, right) = new_figure(1, 2, figsize=(10.5, 4.0), width_ratios=(1, 1.2))
    judgement = judgements[0]
    source = GT if GT in judgement.sources else judgement.sources[-1]
    run = judgement.scores[_picked(judgement, source)]
    if source != CLS:
        name = "manual boxes" if source == GT else f"{source} boxes"
        values = run.val[source].box_acc[:, selection_level(protocol)]
        _curve(left, run, values, COLOURS[0], "-", f"localization, {name}")
    _curve(left, run, run.val_top1, COLOURS[1], "--", "classification")
    left.set(xlabel="epoch", ylabel="validation accuracy [%]", ylim=(0, None))
    left.set_title(f"A  {run.label}: validation accuracy over epochs", loc="left", fontsize="medium")
    _whole_epochs(left)
    left.legend(frameon=False, fontsize="small", loc="lower right")
    places = np.arange(len(judgements))
    width = 0.8 / len(_BARS)
    for number, (by, label, title, hatch) in enumerate(_BARS):
        found = [one.find(by, label, "max_box_acc") for one in judgements]
        values = np.asarray([np.nan if cell is None else cell[0].value for cell in found])
        at = places + (number - (len(_BARS) - 1) / 2) * width
        right.bar(at, values, width * 0.92, color=COLOURS[number], hatch=hatch, edgecolor="white", label=title)
    right.set_xticks(places, [one.method for one in judgements], rotation=30 if len(judgements) > 5 else 0)
    right.set(ylabel=f"test box accuracy at IoU {protocol.selection_iou:g} [%]", ylim=(0, None))
    right.set_title("B  what each supervision reports", loc="left", fontsize="medium")
    figure.legend(
        *right.get_legend_handles_labels(), loc="outside lower right", ncols=4, frameon=False, fontsize="small"
    )
    save_figure(figure, *paths)


def selection_curves_figure(judgement: Judgement, protocol: Protocol, *paths: Path) -> None:
    """Fig. 4.2: validation curves of one run against every source, a dot at the epoch that each picks.

    One row per measure of the protocol's ``epoch_figure``; dots are those of the box accuracy, which selects. Panel B
    shows the first epochs, where sources differ.
    """
    run = judgement.scores[_picked(judgement, GT if GT in judgement.sources else judgement.sources[-1])]
    measures = protocol.epoch_figure
    figure, axes = new_figure(
        len(measures), 2, figsize=(10.5, 3.2 * len(measures)), squeeze=False, width_ratios=(2, 1), sharey="row"
    )
    sources = [source for source in judgement.sources if source != CLS]
    level = selection_level(protocol)
    for row, measure in enumerate(measures):
        for column, axis in enumerate(axes[row]):
            for colour, source in zip(_colours(len(sources)), sources, strict=True):
                scores = run.val[source]
                values = scores.box_acc[:, level] if measure == "box_acc" else scores.mean_iou
                best = int(scores.box_acc[:, level].argmax())
                name = "manual boxes" if source == GT else source
                _curve(axis, run, values, colour, "-", f"{name}: epoch {run.epochs[best]}", best)
            best = int(run.val_top1.argmax())
            _curve(axis, run, run.val_top1, _GREY, "--", f"class labels (top-1): epoch {run.epochs[best]}", best)
            axis.set_ylim(bottom=0)
            _whole_epochs(axis)
            if column == 0:
                axis.set_ylabel(f"{_MEASURES[measure]}, top-1 [%]")
            else:
                axis.set_xlim(run.epochs[0] - 0.2, min(ZOOM_EPOCHS, run.epochs[-1]) + 0.2)
    axes[0][0].set_title(f"A  {run.label}: validation accuracy over epochs", loc="left", fontsize="medium")
    axes[0][1].set_title(f"B  up to epoch {min(ZOOM_EPOCHS, run.epochs[-1])}", loc="left", fontsize="medium")
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    save_figure(figure, *paths)


def noise_figure(method: str, levels: Sequence[NoiseLevel], *paths: Path) -> None:
    """Fig. 4.4: noisy boxes, the test accuracy of what they select, and the epochs that they pick.

    Args:
        method: whose configurations.
        levels: at least the manual boxes (level 0) and one level of noise.
        paths: where to write, in the format of each file's ending.
    """
    figure, ((boxes, accuracy), (shift, epochs)) = new_figure(2, 2, figsize=(10.5, 7.0))
    clean, noisy = levels[0], levels[1:]
    percents = [one.percent for one in levels]
    boxes.plot(percents, [one.mean_iou for one in levels], "o-", color=COLOURS[0])
    boxes.set(xlabel="noise [%]", ylabel="mean IoU with manual boxes [%]", ylim=(0, 102))
    boxes.set_title("A  disturbed boxes", loc="left", fontsize="medium")
    x = [one.percent for one in noisy]
    mean = np.asarray([one.test.mean() for one in noisy])
    spread = np.asarray([one.test.std() for one in noisy])
    accuracy.fill_between(x, mean - spread, mean + spread, color=COLOURS[0], alpha=0.2, label="std")
    accuracy.plot(x, mean, "o-", color=COLOURS[0], label="mean")
    accuracy.plot(x, [one.test.max() for one in noisy], "^", color=COLOURS[0], label="max")
    accuracy.plot(x, [one.test.min() for one in noisy], "v", color=COLOURS[0], label="min")
    for value, style in ((clean.test.max(), ":"), (clean.test.mean(), "-"), (clean.test.min(), ":")):
        accuracy.axhline(value, color=COLOURS[1], linestyle=style, linewidth=1)
    accuracy.plot([], [], color=COLOURS[1], label="manual boxes: min, mean, max")
    accuracy.set(xlabel="noise [%]", ylabel="test box accuracy [%]")
    accuracy.set_title(f"B  {len(clean.test)} configurations of {method}", loc="left", fontsize="medium")
    accuracy.legend(frameon=False, fontsize="small", ncols=2)
    shown = noisy if len(noisy) <= 4 else [noisy[k] for k in np.linspace(0, len(noisy) - 1, 4).astype(int)]
    labels = [f"{one.percent:g} %" for one in shown]
    low, high = min(one.shift.min() for one in shown), max(one.shift.max() for one in shown)
    colours = _colours(len(shown))
    shift.hist([one.shift for one in shown], bins=_bins(low, high), color=colours, label=labels)
    shift.set(xlabel="epochs later than with manual boxes", ylabel="configurations")
    shift.set_title("C  shift of the chosen epoch", loc="left", fontsize="medium")
    shift.legend(frameon=False, fontsize="small")
    high = max(one.epochs.max() for one in (clean, *shown))
    epochs.hist(
        [clean.epochs, *(one.epochs for one in shown)],
        bins=_bins(0, high),
        color=[_GREY, *colours],
        label=["manual boxes", *labels],
    )
    epochs.set(xlabel="chosen epoch", ylabel="configurations")
    epochs.set_title("D  chosen epochs", loc="left", fontsize="medium")
    for axis in (shift, epochs):
        axis.yaxis.get_major_locator().set_params(integer=True)
    epochs.legend(frameon=False, fontsize="small")
    save_figure(figure, *paths)


def threshold_figure(judgements: Sequence[Judgement], protocol: Protocol, *paths: Path) -> None:
    """Fig. 2.5: test box accuracy over the threshold at each IoU level; a flat curve forgives a wrong threshold.

    Each method stands with the model that BT-TT picks with manual boxes, or with the first other source.
    """
    levels = protocol.iou_thresholds
    figure, axes = new_figure(1, len(levels), figsize=(3.6 * len(levels), 3.6), squeeze=False, sharey=True)
    for place, (axis, level) in enumerate(zip(axes[0], levels, strict=True)):
        for colour, judgement in zip(_colours(len(judgements)), judgements, strict=True):
            chosen = _model(judgement)
            run = judgement.scores[chosen.run]
            curve = run.test[run.epochs.index(chosen.epoch)].curves.box_acc[place]
            axis.plot(run.taus, curve, color=colour, label=judgement.method)
            axis.plot(run.taus[curve.argmax()], curve.max(), "o", color=colour, clip_on=False)
        axis.set(xlabel="tau", ylim=(0, 100), xlim=(0, 1))
        axis.set_title(f"IoU {level:g}", loc="left", fontsize="medium")
    axes[0][0].set_ylabel("test box accuracy [%]")
    axes[0][-1].legend(frameon=False, fontsize="small")
    save_figure(figure, *paths)


def _curve(
    axis: Any, run: RunScores, values: Any, colour: str, style: str, label: str, best: int | None = None
) -> None:
    best = int(np.argmax(values)) if best is None else best
    axis.plot(run.epochs, values, color=colour, linestyle=style, label=label)
    axis.plot(run.epochs[best], values[best], "o", color=colour)


def _whole_epochs(axis: Any) -> None:
    axis.xaxis.get_major_locator().set_params(integer=True)


def _picked(judgement: Judgement, source: str) -> int:
    """Index of the run that a source picks on the validation set."""
    for decision in judgement.decisions:
        if (decision.source, decision.selection) == (source, "BV"):
            return decision.run
    return judgement.decisions[0].run


def _model(judgement: Judgement) -> Any:
    for source in (GT, *judgement.sources):
        found = judgement.find(source, "BT-TT", "max_box_acc")
        if found is not None:
            return found[0]
    return judgement.decisions[0]


def _colours(count: int) -> list[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(count)]


def _bins(low: int, high: int) -> Any:
    """Edges around whole numbers, at most about forty bins."""
    step = max(1, int(np.ceil((high - low + 1) / 40)))
    return np.arange(low, high + step + 1, step) - 0.5
