"""The figure of a dataset's boxes or masks: how large, where, and how well a guess in the centre does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.report.figures import COLOURS, new_figure, save_figure

IOU_LEVELS = (0.3, 0.5, 0.7)
_BINS = 40
_CENTRE_BINS = 21
"""Odd, so that the centre of the image is the middle of a bin."""


@dataclass(frozen=True, eq=False)
class SplitFigure:
    """What is drawn of one split.

    Attributes:
        split: its name.
        areas: ``[M]`` share of the image that each box covers.
        centres: ``[M, 2]`` box centres, x and y in [0, 1].
        sides: ``[S]`` sides of centre boxes, relative to the frame.
        centre_acc: ``[L, S]`` percent localized at each of :data:`IOU_LEVELS`.
    """

    split: str
    areas: NDArray[np.float64]
    centres: NDArray[np.float64]
    sides: NDArray[np.float64]
    centre_acc: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MaskSplitFigure:
    """What is drawn of one split with masks.

    Attributes:
        split: its name.
        areas: ``[M]`` share of the image that is object.
        mean_mask: ``[S, S]`` share of the images in which a pixel is object.
        recall: ``[T]`` recall of a map that falls from the centre, in percent.
        precision: ``[T]`` its precision, in percent; NaN where it has none.
        prevalence: precision of a map with one value everywhere, in percent.
    """

    split: str
    areas: NDArray[np.float64]
    mean_mask: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    prevalence: float


def dataset_figure(name: str, splits: Sequence[SplitFigure], path: Path) -> None:
    """Draws one row per split: box areas, box centres, and the accuracy of centre boxes over their side.

    Args:
        name: name of the dataset.
        splits: at least one.
        path: picture to write; its suffix says which kind.
    """
    figure, axes = new_figure(len(splits), 3, figsize=(9.6, 3.0 * len(splits)), squeeze=False)
    for (size, place, centre), one in zip(axes, splits, strict=True):
        _areas(size, one.split, "box", one.areas)
        x, y = one.centres.T
        counts, _, _ = np.histogram2d(x, y, bins=_CENTRE_BINS, range=[[0.0, 1.0], [0.0, 1.0]])
        # The root of the counts: a few boxes off the centre stay visible.
        _picture(place, np.sqrt(counts.T), "where their centres lie")
        for colour, level, accuracy in zip(COLOURS, IOU_LEVELS, one.centre_acc, strict=False):
            best = int(accuracy.argmax())
            label = f"IoU {level:g}: {accuracy[best]:.0f} % at {100.0 * one.sides[best]:.0f} %"
            centre.plot(100.0 * one.sides, accuracy, color=colour, label=label)
            centre.plot(100.0 * one.sides[best], accuracy[best], "o", color=colour, clip_on=False)
        centre.set_title("a box in the centre localizes", loc="left")
        centre.set_xlabel("its side [% of the frame]")
        centre.set_ylabel("images [%]")
        centre.set_ylim(0, 100)
        centre.legend(frameon=False, fontsize="x-small", loc="upper left")
    figure.suptitle(f"Manual boxes of {name}")
    save_figure(figure, path)


def mask_figure(name: str, splits: Sequence[MaskSplitFigure], path: Path) -> None:
    """Draws one row per split: mask areas, the mean mask, and precision over recall of a map that looks at no pixel.

    Args:
        name: name of the dataset.
        splits: at least one.
        path: picture to write; its suffix says which kind.
    """
    figure, axes = new_figure(len(splits), 3, figsize=(9.6, 3.0 * len(splits)), squeeze=False)
    for (size, place, curve), one in zip(axes, splits, strict=True):
        _areas(size, one.split, "mask", one.areas)
        _picture(place, one.mean_mask, "the mean mask")
        curve.plot(one.recall, one.precision, color=COLOURS[0], label="falls from the centre")
        curve.axhline(one.prevalence, color=COLOURS[1], label="one value everywhere")
        curve.set_title("a map without looking", loc="left")
        curve.set_xlabel("recall [% of object pixels]")
        curve.set_ylabel("precision [%]")
        curve.set_xlim(0, 100)
        curve.set_ylim(0, 100)
        curve.legend(frameon=False, fontsize="x-small", loc="upper right")
    figure.suptitle(f"Manual masks of {name}")
    save_figure(figure, path)


def _areas(axis: Any, split: str, what: str, areas: NDArray[np.float64]) -> None:
    mean = 100.0 * float(areas.mean())
    axis.hist(100.0 * areas, bins=np.linspace(0, 100, _BINS + 1), color=COLOURS[0])
    axis.axvline(mean, color="0.2", linewidth=1)
    axis.set_title(f"{split}: {what} area, mean {mean:.0f} %", loc="left")
    axis.set_xlabel("share of the image [%]")
    axis.set_ylabel("boxes" if what == "box" else "images")


def _picture(axis: Any, values: NDArray[np.float64], title: str) -> None:
    axis.imshow(values, extent=(0, 100, 100, 0), cmap="cividis")
    axis.grid(visible=False)
    axis.set_title(title, loc="left")
    axis.set_xlabel("x [% of the width]")
    axis.set_ylabel("y [% of the height]")
