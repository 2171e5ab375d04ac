"""Scores of single images at a threshold that is known only at the end.

The best tau is known after the last map. The step functions of all images wait on disk until then, about two kilobytes
each, so that neither memory grows nor maps are read twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from wsol_bench.metrics.box_acc import Contours
from wsol_bench.metrics.curve_iou import IouCurves
from wsol_bench.metrics.px_ap import px_ap_from_histograms
from wsol_bench.workflow.evaluate_scores import Batch, Settings
from wsol_bench.workflow.map_checks import Issue


class ImageLines:
    """Collects single images.

    Args:
        settings: what is scored.
        spill: an empty temporary file, open for reading and writing.
    """

    def __init__(self, settings: Settings, spill: IO[bytes]) -> None:
        self._contours = settings.contours
        self._file = spill
        self._batches = 0
        self._issues: dict[int, str] = {}
        self._px_ap: dict[int, float] = {}

    def add(self, batch: Batch, issues: Sequence[Sequence[Issue]]) -> None:
        """Adds a batch and what was wrong with its maps."""
        for position, kinds in zip(batch.positions.tolist(), issues, strict=True):
            if kinds:
                self._issues[position] = "+".join(kinds)
        if batch.pixels is not None:
            areas = px_ap_from_histograms(batch.pixels[:, 1], batch.pixels[:, 0])
            self._px_ap.update(zip(batch.positions.tolist(), areas.tolist(), strict=True))
            return
        self._batches += 1
        np.save(self._file, batch.positions)
        for contours in self._contours:
            curves = batch.ious[contours]
            for array in (curves.max_levels, curves.cuts, curves.ious, curves.boxes, curves.offsets):
                np.save(self._file, array)

    def at_tau(self, tau: float, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yields one line per image and contour mode in the order of ``ids``; the keys are the columns of the CSV."""
        if self._px_ap:
            for position, area in sorted(self._px_ap.items()):
                value = "" if np.isnan(area) else repr(area)
                yield {"id": ids[position], "px_ap": value, "map": self._issues.get(position, "ok")}
            return
        found: list[tuple[int, Contours, float, list[int]]] = []
        self._file.seek(0)
        for _ in range(self._batches):
            positions = np.load(self._file).tolist()
            for contours in self._contours:
                ious, boxes = IouCurves(*(np.load(self._file) for _ in range(5))).at_tau(tau)
                found.extend(zip(positions, [contours] * len(positions), ious.tolist(), boxes.tolist(), strict=True))
        order = {contours: rank for rank, contours in enumerate(self._contours)}
        for position, contours, iou, box in sorted(found, key=lambda line: (line[0], order[line[1]])):
            corners = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
            issue = self._issues.get(position, "ok")
            yield {"id": ids[position], "contours": contours, "tau": tau, "iou": iou, **corners, "map": issue}
