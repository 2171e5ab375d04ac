"""The figure of a dataset's boxes: how large, where, and how well a box in the centre does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def dataset_figure(name: str, splits: Sequence[SplitFigure], path: Path) -> None:
    """Draws one row per split: box areas, box centres, and the accuracy of centre boxes over their side.

    Args:
        name: name of the dataset.
        splits: at least one.
        path: picture to write; its suffix says which kind.
    """
    figure, axes = new_figure(len(splits), 3, figsize=(9.6, 3.0 * len(splits)), squeeze=False)
    for (size, place, centre), one in zip(axes, splits, strict=True):
        size.hist(100.0 * one.areas, bins=np.linspace(0, 100, _BINS + 1), color=COLOURS[0])
        size.axvline(100.0 * float(one.areas.mean()), color="0.2", linewidth=1)
        size.set_title(f"{one.split}: box area, mean {100.0 * float(one.areas.mean()):.0f} %", loc="left")
        size.set_xlabel("share of the image [%]")
        size.set_ylabel("boxes")
        x, y = one.centres.T
        counts, _, _ = np.histogram2d(x, y, bins=_CENTRE_BINS, range=[[0.0, 1.0], [0.0, 1.0]])
        # The root of the counts: a few boxes off the centre stay visible.
        place.imshow(np.sqrt(counts.T), extent=(0, 100, 100, 0), cmap="cividis")
        place.grid(visible=False)
        place.set_title("where their centres lie", loc="left")
        place.set_xlabel("x [% of the width]")
        place.set_ylabel("y [% of the height]")
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
