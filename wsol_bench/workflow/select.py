"""The main job: run what is missing, select by every source, and say what the protocol concludes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsol_bench.annotations import firewall
from wsol_bench.annotations.sources import load_source, parse_source
from wsol_bench.atomic import write_json
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.images import OnBadImage
from wsol_bench.errors import RecordError, UsageError
from wsol_bench.judge.fixed_boxes import centre_box, fixed_box_scores, frame_box
from wsol_bench.judge.judgement import Judgement, Overstatement, judge_method, overstatement, rows_of
from wsol_bench.judge.rows import write_csv
from wsol_bench.judge.scores import CLS, GT
from wsol_bench.judge.scoring import RecordedRun, ScoringBoxes
from wsol_bench.metrics.bootstrap import DEFAULT_REPLICATES
from wsol_bench.protocol import Protocol, load_protocol
from wsol_bench.registry import ANNOTATORS
from wsol_bench.report.selection_result import SelectionResult
from wsol_bench.search.plan import PlannedTrial
from wsol_bench.workflow.annotate import AnnotationRequest, annotate, pseudo_boxes_ready
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.sweep import TrialOutcome, run_sweep
from wsol_bench.workflow.workspace import Workspace


@dataclass(frozen=True)
class SelectionRequest:
    """What ``wsol-bench select`` was asked for.

    Attributes:
        dataset_spec: the dataset as the user named it.
        trials: the plan whose runs compete.
        sources: selection sources in the user's words: ``cls``, ``gt``, ``noise:25``, ``pseudo=ss``, or a folder
            of boxes.
        protocol: name or file of the protocol.
        replicates: bootstrap replicates behind each interval.
        workers: processes for annotators that work on the CPU.
        epochs: budget of the annotators' classifier, where it is not the recipe's.
    """

    dataset_spec: str
    trials: Sequence[PlannedTrial]
    sources: Sequence[str] = ("cls", "gt", "pseudo=ss")
    protocol: str = "realistic"
    replicates: int = DEFAULT_REPLICATES
    workers: int = 1
    epochs: int | None = None


def select(
    dataset: Dataset,
    request: SelectionRequest,
    workspace: Workspace,
    *,
    device: str = "auto",
    on_bad_image: OnBadImage = "error",
    figures: bool = True,
    compiled: bool = False,
    screen: Screen,
) -> SelectionResult:
    """Runs missing trials, makes missing pseudo-boxes, judges, and writes rows and figures.

    Raises:
        UsageError: a source or the protocol is unknown.
        FirewallError: a method asked for ground truth while training.
        RecordError: a trial has no usable epoch.
    """
    protocol = load_protocol(request.protocol)
    sources = _allowed(request.sources, protocol)
    pseudo_root = workspace.pseudo_boxes(request.dataset_spec)
    for source in sources:
        if source != CLS and source.removeprefix("pseudo=") not in ANNOTATORS:
            parse_source(source, dataset=dataset.name, pseudo_roots=[pseudo_root])
    outcomes = run_sweep(
        dataset,
        request.trials,
        workspace,
        device=device,
        on_bad_image=on_bad_image,
        compiled=compiled,
        screen=screen,
    )
    for source in sources:
        wanted = AnnotationRequest(
            request.dataset_spec, source.removeprefix("pseudo="), workers=request.workers, epochs=request.epochs
        )
        if wanted.annotator in ANNOTATORS and not pseudo_boxes_ready(dataset, wanted, workspace):
            annotate(dataset, wanted, workspace, device=device, on_bad_image=on_bad_image, screen=screen)
    with firewall.ledger() as book, firewall.judging("wsol-bench select"):
        recorded = _recorded(outcomes)
        boxes, names = _load_boxes(dataset, sources, pseudo_root, _same_images(recorded))
        judgements = []
        for method, runs in recorded.items():
            screen.say(f"judging {sum(len(run.epochs) for run in runs)} epochs of {len(runs)} runs of {method}")
            judgements.append(judge_method(method, runs, boxes, names, protocol, replicates=request.replicates))
        fixed = {
            name: fixed_box_scores(box, boxes.test, dataset.frame, protocol.selection_iou)
            for name, box in (("whole frame", frame_box(dataset.frame)), ("centre box", centre_box(dataset.frame)))
        }
    rows = [row for one in judgements for row in rows_of(one, protocol, dataset.name, dataset.version)]
    result = SelectionResult(
        rows=rows,
        judgements=judgements,
        overstatements={one.method: _overstatements(one, names, protocol) for one in judgements},
        fixed_boxes=fixed,
        protocol=protocol,
        sources=names,
        dataset=dataset.name,
        folder=workspace.results(request.dataset_spec),
        supervision=book.supervision(),
        skipped=_skipped(outcomes),
    )
    _write(result, figures)
    return result


def _allowed(sources: Sequence[str], protocol: Protocol) -> list[str]:
    """Checks the sources against the protocol and drops repetitions, keeping the order."""
    unique = list(dict.fromkeys(sources))
    for source in unique:
        kind = CLS if source == CLS else GT if source == GT or source.startswith("noise:") else "pseudo"
        if kind not in protocol.sources:
            raise UsageError(
                f"Expected sources that the protocol '{protocol.id}' allows ({', '.join(protocol.sources)}) but got "
                f"'{source}'; fix: another --protocol, or leave it out."
            )
    return unique


def _recorded(outcomes: Sequence[TrialOutcome]) -> dict[str, list[RecordedRun]]:
    runs: dict[str, list[RecordedRun]] = {}
    for outcome in outcomes:
        if not outcome.epochs:
            raise RecordError(f"{outcome.folder.path}: the trial has no finished epoch; fix: run 'wsol-bench sweep'.")
        run = RecordedRun(outcome.trial.label, outcome.folder.path, outcome.epochs)
        runs.setdefault(outcome.trial.config.method, []).append(run)
    return runs


def _same_images(recorded: Mapping[str, Sequence[RecordedRun]]) -> dict[str, tuple[str, ...]]:
    """Returns the recorded images of val and test; all runs must have seen the same ones to be compared."""
    runs = [run for one in recorded.values() for run in one]
    ids = {split: runs[0].record(split, runs[0].epochs[0]).ids for split in ("val", "test")}
    for run in runs[1:]:
        for split, expected in ids.items():
            if run.record(split, run.epochs[0]).ids != expected:
                raise RecordError(
                    f"{run.folder}: expected the same {split} images as {runs[0].folder} but got others, as when only "
                    "one of them skipped unreadable images; fix: delete one of the two and run the command again."
                )
    return ids


def _skipped(outcomes: Sequence[TrialOutcome]) -> dict[str, int]:
    """Returns how many unreadable images of each split were left out; the same for all trials of a workspace."""
    path = outcomes[0].folder.path / "provenance.json"
    skipped: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))["skipped_images"]
    return skipped


def _load_boxes(
    dataset: Dataset, sources: Sequence[str], pseudo_root: Path, ids: Mapping[str, Sequence[str]]
) -> tuple[ScoringBoxes, tuple[str, ...]]:
    """Loads validation boxes of every source and the manual test boxes; returns them with the sources' names."""
    val, keys, names = {}, {}, []
    for text in sources:
        if text == CLS:
            names.append(CLS)
            continue
        loaded = load_source(dataset, "val", text, pseudo_roots=[pseudo_root], ids=ids["val"])
        name = loaded.source.name
        if name in val:
            raise UsageError(f"Expected different sources but two of them are called '{name}'.")
        val[name], keys[name] = loaded.boxes, loaded.source.key
        names.append(name)
    test = dataset.ground_truth("test").select(ids["test"])
    return ScoringBoxes(val=val, keys=keys, test=test), tuple(names)


def _overstatements(judgement: Judgement, names: Sequence[str], protocol: Protocol) -> list[Overstatement]:
    gaps = (overstatement(judgement, name, protocol) for name in names)
    return [gap for gap in gaps if gap is not None]


def _write(result: SelectionResult, figures: bool) -> None:
    write_csv(result.folder / "rows.csv", result.rows)
    if figures:
        from wsol_bench.report.figures import epochs_figure, tau_figure

        with firewall.judging("the report of wsol-bench select"):
            for judgement in result.judgements:
                path = result.folder / f"epochs-{judgement.method}.png"
                epochs_figure(judgement, result.sources, result.protocol, path)
                result.figures.append(path)
            path = result.folder / "tau.png"
            tau_figure(result.judgements, result.sources, result.protocol, path)
            result.figures.append(path)
    write_json(result.folder / "select.json", result.as_dict())
