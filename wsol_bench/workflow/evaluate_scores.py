"""Everything that is counted while maps stream by, and the settings that decide what is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsol_bench.errors import UsageError, unknown_choice
from wsol_bench.maps.curves import BoxCurves
from wsol_bench.maps.dialect_curves import check_taus, dialect_curves
from wsol_bench.maps.dialects import Dialect, get_dialect
from wsol_bench.maps.normalise import quantise
from wsol_bench.maps.otsu import otsu_boxes
from wsol_bench.maps.peak import peaks
from wsol_bench.maps.sweep import sweep_all, sweep_largest
from wsol_bench.metrics.box_acc import BoxAccuracy, Contours, Rank
from wsol_bench.metrics.curve_iou import IouCurves, curves_of_boxes, iou_of_contours, iou_of_curves
from wsol_bench.metrics.error_types import ErrorTypes
from wsol_bench.metrics.pointing import PointingGame
from wsol_bench.metrics.px_ap import PixelAveragePrecision, score_histograms
from wsol_bench.metrics.saved_state import State, restore
from wsol_bench.workflow.evaluate_truth import Truth
from wsol_bench.workflow.map_checks import as_scores

Extra = Literal["otsu", "errors", "pointing"]
EXTRAS: tuple[Extra, ...] = ("otsu", "errors", "pointing")

REFERENCE_DIALECT = "choe2020"
"""The dialect of every option; the others know the largest contour of maps against boxes only."""

POINTING_TOLERANCES = (0.0, 15.0)
"""Pixels; 15 is the tolerance of the original pointing game (Zhang et al. 2016)."""


@dataclass(frozen=True)
class Settings:
    """What is scored; two shards can be merged if these are equal.

    Attributes:
        taus: thresholds over which maxima are taken.
        iou_thresholds: in (0, 1].
        contours: ``largest``, ``all``, or both.
        px: PxAP against masks instead of boxes.
        tau: a frozen threshold to be scored as well.
        extras: further metrics.
        ranks: class ranks known from predictions.
        replicates: bootstrap replicates, 0 for none.
        seed: seed of the bootstrap.
        level: nominal coverage of intervals.
        dialect: how boxes are read off maps, see :mod:`wsol_bench.maps.dialects`.
    """

    taus: tuple[float, ...]
    iou_thresholds: tuple[float, ...]
    contours: tuple[Contours, ...]
    px: bool = False
    tau: float | None = None
    extras: tuple[Extra, ...] = ()
    ranks: tuple[Rank, ...] = ()
    replicates: int = 1000
    seed: int = 0
    level: float = 0.95
    dialect: str = REFERENCE_DIALECT

    def __post_init__(self) -> None:
        for extra in self.extras:
            if extra not in EXTRAS:
                raise unknown_choice("extra metric (--also)", extra, EXTRAS)
        if self.px and (self.extras or self.ranks or self.tau is not None):
            raise UsageError("Expected boxes for --also, --predictions and --tau but got masks; fix: leave them out.")
        if "errors" in self.extras and "largest" not in self.contours:
            raise UsageError("Expected contours 'largest' or 'both' for --also errors: they dissect the largest box.")
        if self.tau is not None and not 0 <= self.tau < 1:
            raise UsageError(f"Expected a threshold tau in [0, 1) but got {self.tau}.")
        if not 0 < self.level < 1:
            raise UsageError(f"Expected a confidence level inside (0, 1) but got {self.level}; fix: 0.95 means 95 %.")
        if self.replicates < 0:
            raise UsageError(f"Expected 0 or more bootstrap replicates but got {self.replicates}.")
        if self.dialect != REFERENCE_DIALECT:
            self._check_dialect(get_dialect(self.dialect))

    @property
    def fixed_taus(self) -> tuple[float, ...]:
        """The frozen threshold, if there is one."""
        return () if self.tau is None else (self.tau,)

    @property
    def read_taus(self) -> list[float]:
        """All thresholds at which boxes are read, ascending."""
        return [float(tau) for tau in np.union1d(self.taus, self.fixed_taus)]

    @property
    def lowest_ious(self) -> tuple[float, ...]:
        """Smallest IoU that is a hit per IoU threshold: the next float where it must be above the threshold."""
        strict = self.dialect != REFERENCE_DIALECT and get_dialect(self.dialect).hit_is_strict
        return tuple(float(np.nextafter(one, 2)) for one in self.iou_thresholds) if strict else self.iou_thresholds

    def _check_dialect(self, dialect: Dialect) -> None:
        without = [name for name, given in (("--masks", self.px), ("--contours all", "all" in self.contours)) if given]
        without += [f"--also {extra}" for extra in self.extras if extra != "errors"]
        if without:
            raise UsageError(
                f"Expected boxes of the largest component for the dialect '{dialect.name}' but got"
                f" {', '.join(without)}, which it does not define; fix: leave that out, or the dialect."
            )
        if dialect.hit_is_strict and 1 in self.iou_thresholds:
            raise UsageError(f"Expected IoU thresholds below 1 because hits of '{dialect.name}' lie above them.")
        check_taus(dialect, self.read_taus)


@dataclass
class Batch:
    """What one batch of maps amounts to, ready to be added.

    Attributes:
        positions: ``[N]`` int64 positions in the split.
        ious: IoU curves per contour mode.
        largest: boxes of the largest contours, or None.
        otsu: ``[N, 4]`` Otsu boxes, or None.
        peaks: ``[N, 2]`` peaks, or None.
        pixels: ``[N, 2, T + 2]`` score histograms, or None.
    """

    positions: NDArray[np.int64]
    ious: dict[Contours, IouCurves] = field(default_factory=dict)
    largest: BoxCurves | None = None
    otsu: NDArray[np.int16] | None = None
    peaks: NDArray[np.int16] | None = None
    pixels: NDArray[np.int64] | None = None


def measure(maps: Sequence[NDArray[Any]], positions: Sequence[int], truth: Truth, settings: Settings) -> Batch:
    """Does the costly part for a batch of prepared maps; safe to call from several threads.

    Args:
        maps: N maps ``[frame, frame]``, float in [0, 1] or uint8.
        positions: positions of their images.
        truth: ground truth of the split.
        settings: what to measure.
    """
    where = np.asarray(positions, dtype=np.int64)
    batch = Batch(where)
    if settings.px:
        labels = np.stack([truth.mask_of(int(position)) for position in where])
        batch.pixels = score_histograms(as_scores(maps), labels, np.asarray(settings.taus))
        return batch
    boxes, offsets = truth.boxes_of(where)
    if settings.dialect != REFERENCE_DIALECT:
        batch.largest = dialect_curves(get_dialect(settings.dialect), maps, settings.read_taus)
        batch.ious["largest"] = iou_of_curves(batch.largest, boxes, offsets)
        return batch
    q = np.stack([quantise(values) for values in maps])
    if "largest" in settings.contours or "otsu" in settings.extras:
        batch.largest = sweep_largest(q, threads=1)
    if "largest" in settings.contours and batch.largest is not None:
        batch.ious["largest"] = iou_of_curves(batch.largest, boxes, offsets)
    if "all" in settings.contours:
        batch.ious["all"] = iou_of_contours(sweep_all(q, threads=1), boxes, offsets)
    if "otsu" in settings.extras:
        batch.otsu = otsu_boxes(q, batch.largest)
    if "pointing" in settings.extras:
        batch.peaks = peaks(as_scores(maps))
    return batch


class Scores:
    """All accumulators of one evaluation; adding batches in any order gives the same counts.

    Args:
        truth: ground truth of the split, or None to merge saved states.
        settings: what is counted.
        right_class: ``[N]`` bool per rank, for the whole split.
    """

    def __init__(
        self, truth: Truth | None, settings: Settings, right_class: dict[Rank, NDArray[np.bool_]] | None = None
    ) -> None:
        self.settings = settings
        self._truth = truth
        self._right = right_class or {}
        bootstrap: dict[str, Any] = {"replicates": settings.replicates, "seed": settings.seed}
        self.boxes: dict[Contours, BoxAccuracy] = {}
        self.pixels: PixelAveragePrecision | None = None
        self.otsu: BoxAccuracy | None = None
        self.errors: ErrorTypes | None = None
        self.pointing: list[PointingGame] = []
        if settings.px:
            self.pixels = PixelAveragePrecision(settings.taus, **bootstrap)
            return
        fixed = settings.fixed_taus
        for contours in settings.contours:
            self.boxes[contours] = BoxAccuracy(
                settings.taus, settings.lowest_ious, contours, fixed_taus=fixed, ranks=settings.ranks, **bootstrap
            )
        if "otsu" in settings.extras:
            self.otsu = BoxAccuracy((0.0,), settings.iou_thresholds, **bootstrap)
        if "errors" in settings.extras:
            self.errors = ErrorTypes(settings.read_taus)
        if "pointing" in settings.extras:
            self.pointing = [PointingGame(tolerance) for tolerance in POINTING_TOLERANCES]

    def add(self, batch: Batch) -> None:
        """Adds a batch; callers in several threads take turns."""
        truth = self._truth
        if truth is None:
            raise UsageError("Expected ground truth to add maps but these scores only merge saved ones.")
        ids = [truth.ids[position] for position in batch.positions]
        ranks: dict[str, Any] = {f"in_{rank}": flags[batch.positions] for rank, flags in self._right.items()}
        if self.pixels is not None and batch.pixels is not None:
            self.pixels.update_histograms(batch.pixels, ids=ids)
            return
        for contours, metric in self.boxes.items():
            metric.update(batch.ious[contours], ids=ids, **ranks)
        boxes, offsets = truth.boxes_of(batch.positions)
        if self.otsu is not None and batch.otsu is not None:
            self.otsu.update(curves_of_boxes(batch.otsu), boxes, offsets, ids=ids)
        if self.errors is not None and batch.largest is not None:
            self.errors.update(batch.largest, boxes, offsets, ranks.get("in_top1"))
        if batch.peaks is not None:
            for game in self.pointing:
                game.update_boxes(batch.peaks, boxes, offsets)

    def merge(self, other: Scores) -> None:
        """Adds the counts of another shard with equal settings."""
        for name, part in self._parts():
            part.merge(dict(other._parts())[name])
        for mine, theirs in zip(self.pointing, other.pointing, strict=True):
            mine.merge(theirs)

    def state(self) -> State:
        """Returns all counts as arrays by name."""
        state = {f"{name}/{key}": array for name, part in self._parts() for key, array in part.state().items()}
        games = [[game.hits, game.misses, game.excluded] for game in self.pointing]
        return state | {"pointing": np.asarray(games, dtype=np.int64).reshape(-1, 3)}

    def load_state(self, state: State) -> None:
        """Replaces all counts by those of :meth:`state`.

        Raises:
            DataError: the arrays do not fit the settings.
        """
        saved = restore(self.state(), state)
        for name, part in self._parts():
            part.load_state({key: saved[f"{name}/{key}"] for key in part.state()})
        for game, counts in zip(self.pointing, saved["pointing"].tolist(), strict=True):
            game.hits, game.misses, game.excluded = counts

    def _parts(self) -> Iterator[tuple[str, Any]]:
        yield from ((f"boxes_{contours}", metric) for contours, metric in self.boxes.items())
        for name, metric in (("pixels", self.pixels), ("otsu", self.otsu), ("errors", self.errors)):
            if metric is not None:
                yield name, metric
