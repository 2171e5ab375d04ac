"""What the report says beside its numbers: costs, provenance, and the commands that give the numbers again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wsol_bench import __version__
from wsol_bench.errors import RecordError
from wsol_bench.metrics.evaluator import BOX_EVALUATOR
from wsol_bench.protocol import SearchedProtocol
from wsol_bench.report.printed_table import Cell, PrintedTable
from wsol_bench.training.trial_folder import TrialFolder
from wsol_bench.workflow.report_gallery import sources_of
from wsol_bench.workflow.selection_tables import Study

MEASURED = ("params_m", "macs_g", "ms_per_image")
"""What ``method_cost`` measures and the table shows."""


def costs_table(study: Study, measured: Mapping[str, Mapping[str, Any]]) -> PrintedTable:
    """What the runs of each method took: runs, epochs, training images, seconds, and what one prediction costs.

    Args:
        study: what was judged.
        measured: by method, what :func:`~wsol_bench.workflow.method_cost.method_cost` gave; may lack methods.

    Raises:
        RecordError: a history or a provenance is damaged.
    """
    lines: list[tuple[Cell, ...]] = []
    for method in dict.fromkeys(run.method for run in study.plan.runs):
        runs = [run for run in study.plan.runs if run.method == method]
        epochs, images, seconds = 0, 0, 0.0
        for run in runs:
            folder = TrialFolder(study.plan.folder_of(run, study.workspace))
            trained = max(0, len(folder.history()) - 1)
            epochs += trained
            seconds += sum(folder.epoch_seconds())
            images += trained * int(_provenance(folder).get("images", {}).get("train", 0))
        cost = measured.get(method, {})
        lines.append(
            (method, len(runs), epochs, images or None, seconds or None, *(cost.get(name) for name in MEASURED))
        )
    notes = ["Epochs and images are those of all runs together; epoch 0, the network before any step, is not counted."]
    if any(line[4] for line in lines):
        notes.append("Seconds are those of 'wsol-bench sweep', recording included, on whatever device each run had.")
    if not measured:
        notes.append("Parameters, multiply-accumulates and time were not measured for this page: --costs does.")
    return PrintedTable(
        "costs",
        "What the study took",
        ("method", "runs", "epochs", "training images", "seconds", "parameters [M]", "MACs [G]", "ms per image"),
        tuple(lines),
        tuple(notes),
    )


def provenance_of(study: Study, supervision: str) -> list[tuple[str, str]]:
    """Returns what stands behind the numbers, as pairs of a term and its words.

    Args:
        study: what was judged.
        supervision: everything that was read for this page.

    Raises:
        RecordError: the provenance of a run is damaged.
    """
    judged, plan = study.judged, study.plan
    folders = [TrialFolder(plan.folder_of(run, study.workspace)) for run in plan.runs]
    written = [_provenance(folder) for folder in folders]
    training = {access.key for folder in folders for access in folder.accesses() or ()}
    unknown = sum(folder.accesses() is None for folder in folders)
    read = ", ".join(sorted(training)) or "no annotation, only images and class labels"
    if unknown:
        read += f"; {unknown} of {len(folders)} runs have no provenance"
    boxes = dict.fromkeys((row.val_boxes, row.val_boxes_hash) for row in judged.rows if row.val_boxes_hash)
    return [
        ("Protocol", f"{judged.protocol.label}: {judged.protocol.title}. {judged.protocol.citation}"),
        ("Configurations", _chosen_by(study)),
        ("Evaluator", BOX_EVALUATOR),
        ("Dataset", f"{study.dataset.name}, version {study.dataset.version}, opened as {plan.dataset}"),
        ("Judged by", f"wsol-bench {__version__}, intervals from {plan.replicates} bootstrap replicates"),
        ("Trained with", _several(_versions(one) for one in written)),
        ("Trained on", _several(str(one.get("device", "")) for one in written)),
        ("Sources", "; ".join(f"{source['name']} ({source['key']})" for source in sources_of(study))),
        ("Read in training", read),
        ("Read to select and report", supervision),
        ("Study", ", ".join(f"{method} {code}" for method, code in _studies(study))),
        ("Hashes of boxes", "; ".join(f"{name} {code}" for name, code in boxes)),
        ("Hash of test boxes", _several(row.test_boxes_hash for row in judged.rows)),
    ]


def commands_of(study: Study) -> list[str]:
    """Returns the commands that derive the numbers again, with ``WORKSPACE`` and ``DIR`` to be filled in."""
    place = f"{study.plan.options} -w WORKSPACE"
    if study.dataset.root is not None:
        place += " --root DIR"
    return [
        f"wsol-bench report {place} --out REPORT",
        f"wsol-bench tables {place}",
        f"wsol-bench audit {place}",
    ]


def _chosen_by(study: Study) -> str:
    protocol = study.judged.protocol
    if not isinstance(protocol, SearchedProtocol):
        return "planned beforehand, for all methods alike"
    learnt = "learning from class accuracy on val" if protocol.learns else "learning from nothing"
    return f"proposed by the sampler '{protocol.sampler}', {learnt}; not those of other methods"


def _studies(study: Study) -> Iterable[tuple[str, str]]:
    return dict.fromkeys((row.method, row.study) for row in study.judged.rows)


def _several(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text)) or "unknown"


def _versions(provenance: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in provenance.get("versions", {}).items())


def _provenance(folder: TrialFolder) -> dict[str, Any]:
    path: Path = folder.provenance
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path}: damaged ({error}); fix: delete {folder.path} and run the trial again.") from error
    return content
