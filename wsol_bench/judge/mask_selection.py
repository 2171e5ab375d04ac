"""Selection by masks: PxAP when validation masks are exact, eroded, or made from maps (thesis, Table 4.9).

PxAP integrates over thresholds, so there is no threshold to choose: only the epoch, by validation PxAP against the
source, and the configuration, by the same number (BV) or by the test PxAP that is reported (BT). Records must hold
maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations import firewall
from wsol_bench.annotations.masks import FOREGROUND
from wsol_bench.annotations.noisy_masks import erode_mask, mask_error
from wsol_bench.errors import RecordError, UsageError
from wsol_bench.judge.scoring import RecordedRun
from wsol_bench.judge.selection import first_best, reads_ground_truth
from wsol_bench.maps.normalise import quantise, score_maps
from wsol_bench.maps.otsu import EMPTY, otsu_cuts
from wsol_bench.maps.thresholds import tau_grid
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES, Interval
from wsol_bench.metrics.px_ap import PixelAveragePrecision, PxApResult
from wsol_bench.protocol import Protocol, Selection
from wsol_bench.records.run_record import RunRecord, read_record

EROSION_LEVELS = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
"""Percent of the foreground that Table 4.9 removes."""

_STEP = 0.001
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class MaskSet:
    """Masks of N images in the frame.

    Attributes:
        ids: N image ids.
        masks: ``[N, H, W]`` uint8: 1 object, 0 background, 255 ignore.
        key: what the ledger calls them: ``gt``, ``gt:erode:10``, ``pseudo:maps:cam``.
    """

    ids: tuple[str, ...]
    masks: NDArray[np.uint8]
    key: str

    def of(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """Returns the masks of some images, in their order.

        Raises:
            UsageError: an image has none.
        """
        if tuple(ids) == self.ids:
            return self.masks
        places = {image_id: place for place, image_id in enumerate(self.ids)}
        missing = [image_id for image_id in ids if image_id not in places]
        if missing:
            raise UsageError(f"Expected a mask for each image but {len(missing)} have none, first '{missing[0]}'.")
        return self.masks[[places[image_id] for image_id in ids]]


@dataclass(frozen=True)
class MaskChoice:
    """One cell of Table 4.9.

    Attributes:
        source: name of the validation masks.
        selection: how the configuration was picked.
        run: label of the chosen run.
        epoch: its chosen epoch.
        px_ap: test PxAP in percent.
        interval: its 95 % interval over test images.
        mask_error: ``100 (1 - AUC)`` of the validation masks against the exact ones; NaN without exact ones.
        n: test images.
        supervision: annotations that the choice read, from the ledger.
    """

    source: str
    selection: Selection
    run: str
    epoch: int
    px_ap: float
    interval: Interval
    mask_error: float
    n: int
    supervision: str

    @property
    def realistic(self) -> bool:
        """Whether no ground truth had a say in the choice."""
        return not reads_ground_truth(self.supervision)


def eroded(exact: MaskSet, percent: float) -> MaskSet:
    """Returns masks that lost a share of their foreground; ignored pixels stay ignored."""
    masks = exact.masks.copy()
    for place, mask in enumerate(exact.masks):
        kept = erode_mask(mask == FOREGROUND, percent / 100)
        masks[place][(mask == FOREGROUND) & ~kept] = 0
    return MaskSet(exact.ids, masks, f"{exact.key}:erode:{percent:g}")


def masks_of_maps(record: RunRecord, name: str) -> MaskSet:
    """Returns pseudo-masks: the maps of a record, each above its own Otsu threshold.

    Args:
        record: with maps.
        name: what to call them.

    Raises:
        UsageError: the record holds no maps.
    """
    masks = np.empty((len(record), record.frame, record.frame), dtype=np.uint8)
    for start in range(0, len(record), _CHUNK):
        levels = quantise(_maps(record, slice(start, start + _CHUNK)))
        cuts = otsu_cuts(levels)
        masks[start : start + _CHUNK] = (levels > cuts[:, None, None]) & (cuts != EMPTY)[:, None, None]
    return MaskSet(record.ids, masks, f"pseudo:maps:{name}")


def select_by_masks(
    runs: Sequence[RecordedRun],
    val: Mapping[str, MaskSet],
    test: MaskSet,
    protocol: Protocol,
    *,
    exact: MaskSet | None = None,
    replicates: int = DEFAULT_REPLICATES,
) -> list[MaskChoice]:
    """Lets every set of validation masks select, and reports test PxAP against the exact masks.

    Args:
        runs: recorded runs of one method.
        val: validation masks by source.
        test: exact masks of the test images.
        protocol: selections and eligible epochs.
        exact: exact validation masks, for the mask error.
        replicates: bootstrap replicates behind each interval.

    Raises:
        UsageError: a record holds no maps, or an image has no mask.
        RecordError: there is no run, or a record is missing or damaged.
    """
    if not runs:
        raise RecordError("Expected at least one recorded run to select from but got none.")
    with firewall.judging("the judge of masks"):
        scores = [_validation_scores(run, val) for run in runs]
        results: dict[tuple[int, int], PxApResult] = {}

        def tested(run: int, epoch: int) -> PxApResult:
            firewall.read("gt", "test")
            if (run, epoch) not in results:
                record = _record(runs[run], "test", epoch)
                results[run, epoch] = _px_ap(record, {"test": test}, replicates)["test"]
            return results[run, epoch]

        choices = []
        for source, masks in val.items():
            error = float("nan") if exact is None else _mask_error(exact, masks)
            for selection in protocol.selections:
                with firewall.ledger() as book:
                    firewall.read(masks.key, "val")
                    places = [
                        first_best(one[source], run.epochs, protocol) for run, one in zip(runs, scores, strict=True)
                    ]
                    epochs = [run.epochs[place] for run, place in zip(runs, places, strict=True)]
                    if selection == "BV":
                        keys = [float(one[source][place]) for one, place in zip(scores, places, strict=True)]
                    else:
                        keys = [tested(index, epoch).px_ap for index, epoch in enumerate(epochs)]
                    chosen = int(np.argmax(keys))
                result = tested(chosen, epochs[chosen])
                choices.append(
                    MaskChoice(
                        source=source,
                        selection=selection,
                        run=runs[chosen].label,
                        epoch=epochs[chosen],
                        px_ap=result.px_ap,
                        interval=result.interval(),
                        mask_error=error,
                        n=result.n,
                        supervision=book.supervision(),
                    )
                )
    return choices


def _validation_scores(run: RecordedRun, val: Mapping[str, MaskSet]) -> dict[str, NDArray[np.float64]]:
    """PxAP of every epoch on the validation split, by source."""
    scores: dict[str, list[float]] = {source: [] for source in val}
    for epoch in run.epochs:
        for source, result in _px_ap(_record(run, "val", epoch), val, 0).items():
            scores[source].append(result.px_ap)
    return {source: np.asarray(values) for source, values in scores.items()}


def _px_ap(record: RunRecord, sources: Mapping[str, MaskSet], replicates: int) -> dict[str, PxApResult]:
    meters = {source: PixelAveragePrecision(tau_grid(_STEP), replicates=replicates) for source in sources}
    masks = {source: one.of(record.ids) for source, one in sources.items()}
    for start in range(0, len(record), _CHUNK):
        part = slice(start, start + _CHUNK)
        maps = _maps(record, part)
        for source, meter in meters.items():
            meter.update(maps, masks[source][part], ids=record.ids[part])
    return {source: meter.compute() for source, meter in meters.items()}


def _record(run: RecordedRun, split: str, epoch: int) -> RunRecord:
    record = read_record(run.path(split, epoch), with_maps=True)
    _maps(record, slice(0, 0))
    return record


def _maps(record: RunRecord, part: slice) -> NDArray[np.float64]:
    if record.maps is None:
        raise UsageError("Expected records with maps but these have none; fix: 'wsol-bench sweep --keep-maps'.")
    maps = record.maps[part].astype(np.float64)
    return score_maps(maps, record.frame) if len(maps) else maps


def _mask_error(exact: MaskSet, masks: MaskSet) -> float:
    """Mean over the images whose exact mask has both kinds of pixels; ignored pixels count as background."""
    errors = [
        mask_error(one == FOREGROUND, other == FOREGROUND)
        for one, other in zip(exact.of(masks.ids), masks.masks, strict=True)
    ]
    return float(np.nanmean(errors)) if not np.all(np.isnan(errors)) else float("nan")
