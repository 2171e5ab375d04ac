"""What the threshold explorer of the report computes with: box curves reduced to what a browser needs, exactly.

An image counts as right at a threshold where the box of its map overlaps enough. Over the cuts of an 8-bit map that is
a function which switches on and off a few times; the cuts at which it does (``switches``) are all that accuracy needs.
The browser turns tau into the cut of each image, ``floor(tau * max_level)`` in float64 as the evaluator does, and
counts. Images of the gallery bring their whole box curve, so that their boxes move too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.judge.judgement import Judgement
from wsol_bench.judge.scores import CLS
from wsol_bench.judge.scoring import ScoringBoxes, iou_of_record
from wsol_bench.judge.selection import part_name, selection_level
from wsol_bench.maps.thresholds import cuts_of_taus
from wsol_bench.metrics.curve_iou import IouCurves
from wsol_bench.protocol import Protocol
from wsol_bench.records.run_record import RunRecord


@dataclass(frozen=True)
class Model:
    """One run at one epoch, chosen by at least one source.

    Attributes:
        method: registered name.
        run: its index in the judgement.
        label: name of the run.
        epoch: its number.
        sources: who chose it.
    """

    method: str
    run: int
    label: str
    epoch: int
    sources: tuple[str, ...]


def models_of(judgement: Judgement, protocol: Protocol) -> list[Model]:
    """Returns the models that sources pick on the validation set, that of the headline first.

    The headline model is the one of the first source that is neither ground truth nor class labels, or else of the
    first one.
    """
    found: dict[tuple[int, int], list[str]] = {}
    for source in headline_order(judgement):
        for label in ("BV-VT", "BV-OT", "BV-TT"):
            cell = judgement.find(source, label, "max_box_acc") or judgement.find(source, label, protocol.metrics[0])
            if cell is not None:
                found.setdefault((cell[0].run, cell[0].epoch), []).append(source)
                break
    if not found:
        first = judgement.decisions[0]
        found[first.run, first.epoch] = [first.source]
    return [
        Model(judgement.method, run, judgement.runs[run].label, epoch, tuple(sources))
        for (run, epoch), sources in found.items()
    ]


def headline_order(judgement: Judgement) -> list[str]:
    """Returns the sources, those first that a realistic number may come from."""
    keys = judgement.scores[0].ledger_keys
    return sorted(judgement.sources, key=lambda source: source == CLS or keys[source].startswith("gt"))


def switches(ious: IouCurves, level: float) -> list[list[int]]:
    """Returns for each image the cuts at which "IoU is at least ``level``" changes, off before the first.

    Image ``i`` is right at a cut where an odd number of its entries are at most that cut.
    """
    hits = ious.ious >= level
    before = np.concatenate([[False], hits[:-1]])
    before[ious.offsets[:-1]] = False
    changed = hits != before
    ends = np.cumsum(changed)[ious.offsets[1:] - 1]
    cuts = ious.cuts[changed].tolist()
    return [cuts[start:end] for start, end in itertools.pairwise([0, *ends.tolist()])]


def accuracy_at(max_levels: Sequence[int], switching: Sequence[Sequence[int]], tau: float) -> float:
    """Returns percent of images that are right at a threshold: the rule that the report's script applies.

    Args:
        max_levels: largest value of each image's map.
        switching: as :func:`switches` gives them.
        tau: threshold in [0, 1).
    """
    right = 0
    for level, cuts in zip(max_levels, switching, strict=True):
        right += sum(cut <= int(tau * level) for cut in cuts) % 2
    return 100.0 * right / len(max_levels)


def scored_set(name: str, record: RunRecord, boxes: BoxSet, levels: Sequence[float]) -> dict[str, Any]:
    """Returns one line of the explorer: the images of a record against one set of boxes.

    Args:
        name: ``test``, or the source of validation boxes.
        record: whose maps.
        boxes: what they are compared with.
        levels: IoU levels.
    """
    ious = iou_of_record(record, boxes)
    return {
        "name": name,
        "max": ious.max_levels.tolist(),
        "switches": [switches(ious, level) for level in levels],
    }


def marks_of(judgement: Judgement, model: Model, protocol: Protocol) -> list[dict[str, Any]]:
    """Returns the thresholds that sources froze for a model, one per IoU level, with the judge's test numbers."""
    marks = []
    for source in model.sources:
        for level, iou in enumerate(protocol.iou_thresholds):
            metric = "max_box_acc" if level == selection_level(protocol) else part_name(iou)
            cell = judgement.find(source, "BV-VT", metric)
            if cell is not None and (cell[0].run, cell[0].epoch) == (model.run, model.epoch):
                marks.append({"source": source, "level": level, "tau": cell[0].taus[0], "value": cell[0].value})
    return marks


def box_curve(record: RunRecord, image: int) -> dict[str, Any]:
    """Returns the box curve of one image: largest value of the map, first cut of each step, corners in a flat list."""
    steps = slice(*record.curves.offsets[image : image + 2].tolist())
    return {
        "max": int(record.curves.max_levels[image]),
        "cuts": record.curves.cuts[steps].tolist(),
        "boxes": record.curves.boxes[steps].reshape(-1).tolist(),
    }


def explored(
    judgement: Judgement,
    model: Model,
    records: Mapping[str, RunRecord],
    boxes: ScoringBoxes,
    protocol: Protocol,
    shown: Mapping[str, tuple[str, int]],
) -> dict[str, Any]:
    """Returns everything about one model.

    Args:
        judgement: of its method.
        model: the run and epoch.
        records: of ``val`` and ``test``.
        boxes: what was scored against.
        protocol: the rules.
        shown: images of the gallery by their name: split and place in the record.
    """
    levels = protocol.iou_thresholds
    sets = [scored_set("test", records["test"], boxes.test.select(records["test"].ids), levels)]
    sets += [scored_set(name, records["val"], one, levels) for name, one in boxes.val.items()]
    return {
        "method": model.method,
        "label": model.label,
        "epoch": model.epoch,
        "sources": list(model.sources),
        "sets": sets,
        "marks": marks_of(judgement, model, protocol),
        "curves": {name: box_curve(records[split], image) for name, (split, image) in shown.items()},
    }


def boxes_at(record: RunRecord, tau: float) -> NDArray[np.int16]:
    """Returns the box of every image's map at one threshold, ``[N, 4]``."""
    return record.curves.boxes_at(cuts_of_taus([tau], record.curves.max_levels))[:, 0]
