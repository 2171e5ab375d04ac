"""Measured leaderboards that anybody can check: studies to hand out, and rows derived again from their records."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsol_bench.annotations.four_file import LOCALIZATION
from wsol_bench.atomic import whole_folder
from wsol_bench.content import content_folder
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, UsageError
from wsol_bench.judge.noise_study import PREFIX as NOISE
from wsol_bench.judge.rows import ResultRow, as_text
from wsol_bench.judge.scores import CLS, GT
from wsol_bench.leaderboard.measured import IDENTITY, read_rows
from wsol_bench.protocol import Sampler
from wsol_bench.training.trial_folder import TrialFolder
from wsol_bench.workflow.judge_mask_plan import judge_mask_plan
from wsol_bench.workflow.judge_plan import judge_plan
from wsol_bench.workflow.mask_sources import parse_mask_source
from wsol_bench.workflow.selection_plan import FILE, SelectionPlan, read_plan
from wsol_bench.workflow.workspace import Workspace
from wsol_bench.yaml_file import read_yaml

_WHAT = tuple(name for name in IDENTITY if name != "code_version")
_FREE = ("code_version",)
"""Columns in which a row that is derived again may differ: another version must give the same numbers."""


@dataclass(frozen=True)
class Difference:
    """A measured row that its records do not confirm.

    Attributes:
        file: where the row stands.
        row: what it is about.
        problem: what is different.
    """

    file: Path
    row: str
    problem: str


def measured_files() -> list[Path]:
    """Returns the measured leaderboards that come with the benchmark."""
    return sorted((content_folder("leaderboards") / "measured").glob("*.csv"))


def study_of(file: Path) -> Path:
    """Returns the study that a measured leaderboard of the benchmark was made from.

    Raises:
        UsageError: there is none.
    """
    folder = content_folder("leaderboards") / "studies" / file.stem
    if not folder.is_dir():
        raise UsageError(
            f"Expected the study of {file} in {folder} but there is none; fix: --study DIR, the workspace with its "
            "records."
        )
    return folder


def check_file(
    file: Path, study: Path, *, root: Path | None = None, metadata: Path | None = None, threads: int = 1
) -> list[Difference]:
    """Derives every row of a file again from the records of a study.

    Args:
        file: measured rows.
        study: a workspace, or what :func:`export_study` made of it.
        root: folder of the images, for datasets made of files.
        metadata: for the dataset ``folder``.
        threads: records read at the same time.

    Returns:
        Every row that is different, missing in the study, or missing in the file; empty when all is well.

    Raises:
        DataError: the file is malformed, or the study's boxes or dataset are not what they were.
        RecordError: a record is missing or damaged.
        UsageError: the study holds no selection.
    """
    claimed = {_key(row): row for row in read_rows(file)}
    derived: dict[tuple[str, ...], ResultRow] = {}
    workspace = Workspace(study)
    for plan in _plans(workspace):
        dataset = open_dataset(plan.dataset, root=root, metadata=metadata)
        missing = bool(plan.unfinished) or any(not run.epochs for run in plan.runs)
        judge = judge_mask_plan if plan.scored == "masks" else judge_plan
        judged = judge(dataset, plan, workspace, threads=threads, allow_missing=missing)
        derived |= {_key(row): row for row in judged.rows}
    found = []
    for key, row in claimed.items():
        if key not in derived:
            found.append(Difference(file, _name(row), "the study gives no such row"))
        else:
            changes = list(_changes(row, derived[key]))
            if changes:
                found.append(Difference(file, _name(row), "; ".join(changes)))
    found += [
        Difference(file, _name(row), "the study gives this row but the file lacks it")
        for key, row in derived.items()
        if key not in claimed
    ]
    return found


def export_study(
    workspace: Workspace, datasets: Sequence[str], target: Path, samplers: Sequence[Sampler] = ("plan",)
) -> Path:
    """Copies what is needed to derive rows again, without weights, images and traces.

    Args:
        workspace: with selections.
        datasets: as the user named them.
        target: a new folder.
        samplers: what chose the configurations of the selections; each must have one on each dataset.

    Raises:
        UsageError: there is no selection on a dataset, nothing was scored in it, or the folder exists.
        DataError: the boxes of a source lie outside the workspace.
    """
    plans = [read_plan(workspace, spec, sampler) for spec in datasets for sampler in samplers]
    for plan in plans:
        if plan.scored == "nothing":
            raise UsageError(f"Expected rows of '{plan.dataset}' but it has no ground truth, so nothing was scored.")
    try:
        with whole_folder(target) as folder:
            for plan in plans:
                _copy_plan(plan, workspace, Workspace(folder))
    except FileExistsError as error:
        raise UsageError(f"Expected a new folder but {target} exists; fix: another --out.") from error
    return target


def _copy_plan(plan: SelectionPlan, workspace: Workspace, copy: Workspace) -> None:
    for run in plan.runs:
        source, target = (TrialFolder(plan.folder_of(run, place)) for place in (workspace, copy))
        _copy_trial(source, target, run.epochs, ("val", "test"))
    if plan.scored == "masks":
        _copy_makers(plan, workspace, copy)
    else:
        _copy_boxes(plan, workspace, copy)
    for name in (FILE, "rows.csv"):
        _copy(plan.results(workspace) / name, plan.results(copy) / name)


def _copy_makers(plan: SelectionPlan, workspace: Workspace, copy: Workspace) -> None:
    """Copies trials that are no part of the plan but whose maps became pseudo-masks."""
    methods = list(dict.fromkeys(run.method for run in plan.runs))
    for text in plan.sources:
        trial = parse_mask_source(text, methods, workspace, plan.dataset).trial
        if trial is not None:
            target = TrialFolder(copy.root / trial.relative_to(workspace.root))
            _copy_trial(TrialFolder(trial), target, TrialFolder(trial).selectable_epochs(), ("val",))


def _copy_boxes(plan: SelectionPlan, workspace: Workspace, copy: Workspace) -> None:
    root = workspace.pseudo_boxes(plan.dataset)
    for text in plan.sources:
        if text in (CLS, GT) or text.startswith(NOISE):
            continue
        # Boxes lie in <root>/<name of the dataset>/<name of the set>/<split>.
        folders = [path.parent for path in root.glob(f"*/{text.removeprefix('pseudo=')}/val/{LOCALIZATION}")]
        if not folders:
            raise DataError(
                f"Expected the boxes '{text}' in {root} but they lie elsewhere; fix: 'wsol-bench annotate import', "
                "then 'wsol-bench select' with the name that they get."
            )
        for file in (file for folder in folders for file in folder.iterdir() if file.is_file()):
            _copy(file, copy.pseudo_boxes(plan.dataset) / file.relative_to(root))


def _copy_trial(source: TrialFolder, target: TrialFolder, epochs: Sequence[int], splits: Sequence[str]) -> None:
    for name in ("config.yaml", "epochs.jsonl", "provenance.json"):
        _copy(source.path / name, target.path / name)
    for epoch in epochs:
        for split in splits:
            _copy(source.record(split, epoch), target.record(split, epoch))


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _plans(workspace: Workspace) -> list[SelectionPlan]:
    files = sorted(workspace.root.glob(f"results/*/{FILE}"))
    if not files:
        raise UsageError(f"Expected a study with results/*/{FILE} but {workspace.root} has none.")
    plans = [read_yaml(path, SelectionPlan) for path in files]
    return [plan for plan in plans if plan.scored != "nothing"]


def _key(row: ResultRow) -> tuple[str, ...]:
    return tuple(str(getattr(row, name)) for name in _WHAT)


def _name(row: ResultRow) -> str:
    return f"{row.dataset} {row.method} {row.val_boxes} {row.policy} {row.metric} {row.protocol}"


def _changes(claimed: ResultRow, derived: ResultRow) -> Iterator[str]:
    """Compares two rows as files hold them, to four decimals."""
    for name, value in derived.as_dict().items():
        before, now = as_text(getattr(claimed, name)), as_text(value)
        if name not in _FREE and before != now:
            yield f"{name} {before or 'empty'} but the records give {now or 'nothing'}"
