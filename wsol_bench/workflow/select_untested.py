"""Selection where test images have no manual boxes: choices, their agreement, and the boxes that they draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wsol_bench.annotations import firewall
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.annotators.original_pixels import to_original
from wsol_bench.atomic import write_json
from wsol_bench.datasets.base import Dataset
from wsol_bench.judge.without_truth import Choice, UntestedMethod, choose_untested, pairs_of_choices, pairs_of_sources
from wsol_bench.report.untested_result import UntestedSelection, folder_name
from wsol_bench.workflow.judge_plan import recorded_runs, validation_boxes
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.selection_plan import SelectionPlan
from wsol_bench.workflow.workspace import Workspace


def judge_untested(
    dataset: Dataset,
    plan: SelectionPlan,
    workspace: Workspace,
    *,
    threads: int = 1,
    allow_missing: bool = False,
    skipped: Mapping[str, int],
    screen: Screen,
) -> UntestedSelection:
    """Lets every source choose, compares the choices, and writes tables and boxes.

    Args:
        dataset: images and labels; of boxes only those that sources name are read.
        plan: runs, sources and rules.
        workspace: where records and pseudo-boxes are.
        threads: records that are read at the same time.
        allow_missing: go on with what is whole.
        skipped: unreadable images left out, by split.
        screen: says what was left out.

    Raises:
        RecordError: records are missing or damaged.
        DataError: an image has no box in a source.
    """
    protocol, replicates = plan.rules, plan.replicates
    recorded = recorded_runs(dataset, plan, workspace)
    with firewall.judging("the judge of recorded runs"):
        val = validation_boxes(dataset, plan, workspace, recorded)
        methods = [
            choose_untested(
                method,
                runs,
                val.boxes,
                val.keys,
                val.names,
                protocol,
                replicates=replicates,
                threads=threads,
                absent=recorded.absent[method],
                unfinished=recorded.unfinished[method],
                allow_missing=allow_missing,
            )
            for method, runs in recorded.runs.items()
        ]
    for one in methods:
        for problem in one.dropped:
            screen.say(f"left out: {problem}")
    result = UntestedSelection(
        dataset=dataset.name,
        protocol=protocol,
        methods=tuple(methods),
        source_pairs=tuple(pairs_of_sources(val.boxes, methods, protocol, dataset.frame, replicates)),
        choice_pairs=tuple(pairs_of_choices(methods, protocol, replicates)),
        folder=plan.results(workspace),
        skipped=dict(skipped),
    )
    plan.write(result.folder)
    result.files.extend(table.write_csv(result.folder) for table in result.tables())
    result.files.extend(_write_boxes(dataset, methods, result.folder / "boxes"))
    write_json(result.folder / "select.json", result.as_dict())
    return result


def _write_boxes(dataset: Dataset, methods: list[UntestedMethod], folder: Path) -> list[Path]:
    """Writes the boxes of every choice in the field's four-file format, in original pixels."""
    ids = methods[0].choices[0].ids
    rows = {image_id: row for row, image_id in enumerate(dataset.split("test").ids)}
    sizes = dataset.image_sizes("test", [rows[image_id] for image_id in ids])
    written = []
    for one in methods:
        for choice in one.choices:
            place = folder / folder_name(one.method, choice.source)
            boxes = BoxSet(
                ids=choice.ids,
                boxes=to_original(choice.boxes, choice.frame, sizes),
                offsets=np.arange(len(choice.ids) + 1, dtype=np.int64),
                sizes=sizes,
            )
            write_four_file(
                place / "test",
                ids=choice.ids,
                labels=choice.labels,
                boxes=boxes,
                extra={"choice.txt": _origin(one, choice)},
                overwrite=True,
            )
            written.append(place)
    return written


def _origin(one: UntestedMethod, choice: Choice) -> str:
    tau = "Otsu's of each image" if choice.tau is None else f"{choice.tau:.4f}"
    return (
        f"method: {one.method}\nrun: {choice.run.label} ({choice.run.folder.name})\nepoch: {choice.epoch}\n"
        f"threshold: {tau}\nchosen by: {choice.source}\n"
    )
