"""What disturbed validation boxes do to selection (thesis, section 4.5 and Fig. 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.pseudo_quality import box_quality
from wsol_bench.judge.scores import GT
from wsol_bench.judge.selection import chosen_epoch, score_at
from wsol_bench.protocol import Protocol

PREFIX = "noise:"


@dataclass(frozen=True)
class NoiseLevel:
    """Selection by boxes of one level of noise, over C configurations.

    Attributes:
        percent: level; 0 for the manual boxes themselves.
        mean_iou: of the boxes with the manual ones, percent.
        epochs: ``[C]`` chosen epoch of each configuration.
        shift: ``[C]`` how many epochs later than with manual boxes.
        test: ``[C]`` test box accuracy of these models at their best thresholds, percent.
    """

    percent: float
    mean_iou: float
    epochs: NDArray[np.int64]
    shift: NDArray[np.int64]
    test: NDArray[np.float64]


def noise_levels(judgement: Judgement, val: dict[str, BoxSet], protocol: Protocol, frame: int) -> list[NoiseLevel]:
    """Compares what manual boxes select with what disturbed ones do, rising by noise; the first entry is level 0.

    Args:
        judgement: with the sources ``gt`` and ``noise:<percent>``.
        val: boxes by source.
        protocol: the rules.
        frame: side of the frame in which boxes are compared.

    Returns:
        Empty where there are no manual boxes, or no disturbed ones.
    """
    names = sorted((name for name in judgement.sources if name.startswith(PREFIX)), key=_percent)
    if GT not in judgement.sources or not names:
        return []
    levels: list[NoiseLevel] = []
    clean: NDArray[np.int64] | None = None
    with firewall.judging(f"the noise study of '{judgement.method}'"):
        for name in (GT, *names):
            places = [chosen_epoch(run, name, protocol) for run in judgement.scores]
            epochs = np.asarray([run.epochs[e] for run, e in zip(judgement.scores, places, strict=True)])
            clean = epochs if clean is None else clean
            test = [
                score_at(run, epoch, name, "TT", "max_box_acc", protocol)
                for run, epoch in zip(judgement.scores, places, strict=True)
            ]
            levels.append(
                NoiseLevel(
                    percent=_percent(name),
                    mean_iou=box_quality(val[name], val[GT], frame).mean_iou,
                    epochs=epochs,
                    shift=epochs - clean,
                    test=np.asarray(test),
                )
            )
    return levels


def _percent(name: str) -> float:
    return 0.0 if name == GT else float(name.removeprefix(PREFIX))
