"""What a search has tried, judged: rows of another protocol in a folder of their own, derived again like a plan's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from wsol_bench.cli import main
from wsol_bench.datasets.base import Dataset
from wsol_bench.datasets.open_dataset import open_dataset
from wsol_bench.errors import DataError, RecordError, UsageError
from wsol_bench.leaderboard.measured import merge_files, read_rows
from wsol_bench.protocol import Sampler
from wsol_bench.registry import load_plugin_file
from wsol_bench.report.mask_result import MaskSelectionResult
from wsol_bench.report.selection_result import SelectionResult
from wsol_bench.report.selection_text import print_selection
from wsol_bench.search.plan import PlannedTrial, PlanRequest, enumerate_trials
from wsol_bench.search.study_setting import SearchSetting
from wsol_bench.search.trial_store import TrialStore
from wsol_bench.training.trial_folder import TrialFolder
from wsol_bench.workflow.judge_mask_plan import audit_of_masks, judge_mask_plan
from wsol_bench.workflow.judge_plan import judge_plan
from wsol_bench.workflow.leaderboard_check import check_file, export_study
from wsol_bench.workflow.mask_tables import MaskStudy, tables_of_masks
from wsol_bench.workflow.progress import Screen
from wsol_bench.workflow.run_study import StudyRequest, TrialsFailedError, run_study
from wsol_bench.workflow.select import SelectionRequest, select
from wsol_bench.workflow.selection_plan import FILE, UNPROPOSED, read_plan
from wsol_bench.workflow.selection_tables import TABLES, Study, audit_of, figures_of, tables_of
from wsol_bench.workflow.study import study_address
from wsol_bench.workflow.workspace import Workspace

SPEC = "critters:size=64,train=32,val=8,test=8"
PLUGIN = Path(__file__).with_name("study_plugin.py")
SCREEN = Screen(quiet=True)
METHOD = "study_quick"
MARK = "realistic@2+tpe"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    torch.set_num_threads(1)
    load_plugin_file(PLUGIN)
    return open_dataset(SPEC)


def recipes(dataset: Dataset, methods: Sequence[str] = (METHOD,), **request: Any) -> list[PlannedTrial]:
    return enumerate_trials(PlanRequest(tuple(methods), **{"epochs": 1} | request), SPEC, dataset.version)


def study_request(configs: int = 3, sampler: str = "tpe", **search: Any) -> StudyRequest:
    wanted = SearchSetting(sampler=sampler, configs=configs, **search)  # type: ignore[arg-type]
    return StudyRequest(SPEC, device="cpu", search=wanted)


def judged(
    dataset: Dataset,
    place: Workspace,
    study: StudyRequest | None,
    trials: Sequence[PlannedTrial] | None = None,
    *,
    figures: bool = False,
    **request: Any,
) -> SelectionResult:
    wanted = SelectionRequest(SPEC, trials or recipes(dataset), ("cls", "gt"), replicates=20, study=study, **request)
    result = select(dataset, wanted, place, device="cpu", figures=figures, screen=SCREEN)
    assert isinstance(result, SelectionResult)
    return result


def store_of(place: Workspace, sampler: Sampler = "tpe") -> TrialStore:
    return TrialStore.open(study_address(None, place, SPEC, sampler))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def planned(dataset: Dataset, workspace: Workspace) -> SelectionResult:
    return judged(dataset, workspace, None, recipes(dataset, configs=2))


@pytest.fixture(scope="module")
def searched(dataset: Dataset, workspace: Workspace, planned: SelectionResult) -> SelectionResult:
    return judged(dataset, workspace, study_request(), figures=True)


@pytest.fixture
def copy(workspace: Workspace, searched: SelectionResult, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(workspace.root, tmp_path / "copy")))


def test_rows_are_of_another_protocol(planned: SelectionResult, searched: SelectionResult) -> None:
    assert {row.protocol for row in planned.rows} == {"realistic@2"}
    assert {row.protocol for row in searched.rows} == {MARK}
    assert {row.run.partition("+")[2] for row in searched.rows} == {"tpe"}
    assert {row.configs for row in searched.rows} == {3}
    assert not {row.study for row in planned.rows} & {row.study for row in searched.rows}
    # Class labels of val are all that the search read: the same rows are realistic as in a plan.
    assert {(row.val_boxes, row.policy) for row in searched.rows if row.realistic} == {("cls", "BV-OT")}
    assert searched.as_dict()["protocol"] == MARK


def test_the_study_is_that_of_sweep(dataset: Dataset, workspace: Workspace, searched: SelectionResult) -> None:
    trials = [cell.trial.config.trial_id for cell in store_of(workspace).cells()]
    assert [run.trial for run in read_plan(workspace, SPEC, "tpe").runs] == trials
    swept = run_study(dataset, recipes(dataset), workspace, study_request(), screen=SCREEN)
    assert [one.trial.config.trial_id for one in swept] == trials
    # The recipe is configuration 0 of both; it was trained once.
    assert trials[0] == read_plan(workspace, SPEC).runs[0].trial


def test_results_lie_beside_those_of_the_plan(workspace: Workspace, searched: SelectionResult) -> None:
    ours, theirs = workspace.results(SPEC, "tpe"), workspace.results(SPEC)
    assert searched.folder == ours != theirs
    # Datasets may have any name, but none that ends in a plus sign and a sampler.
    assert ours.name == f"{theirs.name}+tpe" != workspace.results(f"{SPEC}+tpe").name
    assert {row.protocol for row in read_rows(theirs / "rows.csv")} == {"realistic@2"}
    assert {row.protocol for row in read_rows(ours / "rows.csv")} == {MARK}
    assert read_plan(workspace, SPEC).sampler == "plan"
    assert sorted(path.name for path in ours.iterdir()) == [
        "audit.json", f"epochs-{METHOD}.png", "rows.csv", "select.json", FILE, "tau.png",
    ]  # fmt: skip


def test_the_plan_file_keeps_the_sampler(dataset: Dataset, copy: Workspace, searched: SelectionResult) -> None:
    plan = read_plan(copy, SPEC, "tpe")
    assert (plan.sampler, plan.rules.label, plan.protocol) == ("tpe", MARK, "realistic")
    assert judge_plan(dataset, plan, copy).rows == searched.rows
    file = copy.results(SPEC, "tpe") / FILE
    text = file.read_text()
    # Without its sampler it would be taken for a plan; with one that there is not, for nothing.
    for changed in ("", "sampler: random\n", "sampler: grid\n"):
        file.write_text(text.replace("sampler: tpe\n", changed))
        with pytest.raises(DataError, match=r"sampler"):
            read_plan(copy, SPEC, "tpe")


def test_what_is_printed_says_it(searched: SelectionResult, capsys: pytest.CaptureFixture[str]) -> None:
    print_selection(searched, None, Console(width=120))
    page = capsys.readouterr().out
    assert f"{METHOD} on critters, 3 configurations, test n = 8, protocol {MARK}" in page
    assert f"{METHOD}/0+tpe" in page


@pytest.mark.slow
def test_tables_and_figures_say_it(dataset: Dataset, workspace: Workspace, searched: SelectionResult) -> None:
    plan = read_plan(workspace, SPEC, "tpe")
    study = Study(dataset, plan, workspace, judge_plan(dataset, plan, workspace))
    made = tables_of(study, ["4.2", "budget"])
    assert [table.id for table in made] == ["4.2+tpe", "budget+tpe"]
    assert all(MARK in table.title and "proposed by 'tpe'" in table.notes[-1] for table in made)
    assert "not the first n" in made[1].notes[-2]
    for figure in figures_of(study, workspace.root / "figures"):
        assert figure.name.endswith("+tpe") and MARK in figure.title and figure.files[0].is_file()


def test_the_audit_says_what_the_search_read(dataset: Dataset, workspace: Workspace, searched: SelectionResult) -> None:
    plans = [read_plan(workspace, SPEC, "tpe"), read_plan(workspace, SPEC)]
    ours, theirs = (audit_of(Study(dataset, plan, workspace, judge_plan(dataset, plan, workspace))) for plan in plans)
    for row in ours:
        first = row.evidence[0]
        assert (row.protocol, first.stage, first.source, first.split, first.count) == (
            MARK,
            "search",
            "labels",
            "val",
            3,
        )
        assert "configurations by 'tpe', not common to all methods" in row.remarks
    assert {row.verdict for row in ours if row.claims} == {"realistic"}
    assert not any(row.refused for row in ours)
    assert {row.protocol for row in theirs} == {"realistic@2"}
    assert "search" not in {one.stage for row in theirs for one in row.evidence}


def test_a_random_search_reads_nothing(dataset: Dataset, copy: Workspace) -> None:
    result = judged(dataset, copy, study_request(2, "random"))
    assert {row.protocol for row in result.rows} == {"realistic@2+random"}
    plan = read_plan(copy, SPEC, "random")
    rows = audit_of(Study(dataset, plan, copy, judge_plan(dataset, plan, copy)))
    assert "search" not in {one.stage for row in rows for one in row.evidence}
    assert all("configurations by 'random', not common to all methods" in row.remarks for row in rows)


def test_leaderboards_keep_both_apart(copy: Workspace, tmp_path: Path) -> None:
    files = [copy.results(SPEC, sampler) / "rows.csv" for sampler in ("plan", "tpe")]  # type: ignore[arg-type]
    merged = merge_files(files)
    assert len(merged) == sum(len(read_rows(file)) for file in files)
    alone = export_study(copy, [SPEC], tmp_path / "alone", ["tpe"])
    assert check_file(files[1], alone) == []
    assert not (alone / "results" / copy.results(SPEC).name).exists()
    # The rows of a plan do not follow from the records of a search.
    assert {one.problem for one in check_file(files[0], alone)} == {
        "the study gives no such row", "the study gives this row but the file lacks it",
    }  # fmt: skip
    export_study(copy, [SPEC], tmp_path / "both", ["plan", "tpe"])
    assert sorted(path.parent.name for path in (tmp_path / "both").glob(f"results/*/{FILE}")) == [
        file.parent.name for file in files
    ]


@pytest.mark.slow
def test_a_finished_search_is_only_read(dataset: Dataset, copy: Workspace, searched: SelectionResult) -> None:
    journal = Path(store_of(copy).address.place)
    before, tried = journal.read_bytes(), [cell.trial for cell in store_of(copy).cells()]
    again = judged(dataset, copy, study_request())
    assert [row.value for row in again.rows] == [row.value for row in searched.rows]
    # Fewer are the first ones of it.
    assert {row.configs for row in judged(dataset, copy, study_request(2)).rows} == {2}
    assert journal.read_bytes() == before
    more = judged(dataset, copy, study_request(4))
    assert {row.configs for row in more.rows} == {4}
    assert [cell.trial for cell in store_of(copy).cells()][:3] == tried


@pytest.mark.slow
def test_missing_trials_are_an_error_or_told(dataset: Dataset, copy: Workspace) -> None:
    trials = [cell.trial for cell in store_of(copy).cells()]
    shutil.rmtree(TrialFolder.of(copy.root, trials[1].config).path)
    record = TrialFolder.of(copy.root, trials[2].config).record("val", 1)
    record.write_bytes(record.read_bytes()[:50])
    result = judged(dataset, copy, study_request(5), allow_missing=True)
    assert {(row.configs, row.missing) for row in result.rows} == {(2, "3 of 5 runs; 1 epochs")}
    plan = read_plan(copy, SPEC, "tpe")
    assert [run.label for run in plan.runs] == [f"{METHOD}/{index}+tpe" for index in range(5)]
    assert [run.trial == UNPROPOSED for run in plan.runs] == [False] * 3 + [True] * 2
    assert len(store_of(copy).cells()) == 3
    with pytest.raises(RecordError, match=rf"{METHOD}/1\+tpe, {METHOD}/3\+tpe, .* are not; .*--allow-missing"):
        judge_plan(dataset, plan, copy)
    # All tables and the audit are made of what there is.
    rest = judge_plan(dataset, plan, copy, allow_missing=True)
    study = Study(dataset, plan, copy, rest)
    assert len(tables_of(study)) == len(TABLES) and len(audit_of(study)) == len(result.rows)
    # Without the option what is lost is trained again, and the search goes on to its end.
    record.unlink()
    shutil.rmtree(TrialFolder.of(copy.root, trials[2].config).path)
    whole = judged(dataset, copy, study_request(5))
    assert {(row.configs, row.missing) for row in whole.rows} == {(5, "")}


def test_failed_trials_are_named_or_left_out(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Workspace(tmp_path)

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no such layer")

    with monkeypatch.context() as patch:
        patch.setattr("wsol_bench.workflow.study.run_trial", broken)
        with pytest.raises(TrialsFailedError, match=r"2 of 2 trials failed.*no such layer"):
            judged(dataset, place, study_request(2))
        with pytest.raises(RecordError, match=r"none of study_quick/0\+tpe, study_quick/1\+tpe has any.*--sampler tpe"):
            judged(dataset, place, study_request(2), allow_missing=True)
    # The same command tries those again that the search had proposed itself, too.
    assert {row.configs for row in judged(dataset, place, study_request(2)).rows} == {2}


@pytest.mark.slow
def test_other_methods_of_the_study_do_not_compete(dataset: Dataset, copy: Workspace) -> None:
    small = {"backbone": "resnet_tiny", "weights": "none"}
    other = recipes(dataset, ("cam",), overrides=small)
    result = judged(dataset, copy, study_request(1, fixed=("backbone", "weights")), other)
    assert {(row.method, row.configs) for row in result.rows} == {("cam", 1)}
    both = judged(dataset, copy, study_request(3), recipes(dataset))
    assert {(row.method, row.configs) for row in both.rows} == {(METHOD, 3)}


@pytest.mark.slow
def test_masks_score_what_was_searched(dataset: Dataset, tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    request = SelectionRequest(
        SPEC, recipes(dataset), ("cls", "gt"), replicates=20, metric="px_ap", study=study_request(2)
    )
    result = select(dataset, request, place, device="cpu", screen=SCREEN)
    assert isinstance(result, MaskSelectionResult)
    assert {(row.protocol, row.metric, row.configs) for row in result.rows} == {(MARK, "px_ap", 2)}
    assert result.folder == place.results(SPEC, "tpe")
    plan = read_plan(place, SPEC, "tpe")
    by_masks = judge_mask_plan(dataset, plan, place)
    assert by_masks.rows == result.rows
    assert {row.evidence[0].stage for row in audit_of_masks(plan, by_masks, place)} == {"search"}
    (table,) = tables_of_masks(MaskStudy(dataset, plan, place, by_masks), ["4.9"])
    assert (table.id, MARK in table.title) == ("4.9+tpe", True)
    assert check_file(result.folder / "rows.csv", export_study(place, [SPEC], tmp_path / "out", ["tpe"])) == []


def test_errors(dataset: Dataset, copy: Workspace, tmp_path: Path) -> None:
    nowhere = Workspace(tmp_path / "fresh")
    with pytest.raises(UsageError, match=r"Expected a search by 'tpe' of study_quick at .*sweep --sampler tpe"):
        judged(dataset, nowhere, study_request(), allow_missing=True)
    assert not nowhere.root.exists()
    with pytest.raises(UsageError, match=r"no --set lr, which the search at .* draws"):
        judged(dataset, copy, study_request(fixed=("lr",)), recipes(dataset, overrides={"lr": 0.1}))
    with pytest.raises(UsageError, match=r"--hparam-seed 0, with which the search"):
        judged(dataset, copy, study_request(seed=1), allow_missing=True)
    with pytest.raises(UsageError, match=r"epochs 2 instead of 1"):
        judged(dataset, copy, study_request(), recipes(dataset, epochs=2))
    with pytest.raises(UsageError, match=r"searched by 'random'.*select -d .* --sampler random"):
        read_plan(copy, SPEC, "random")


def test_another_version_of_the_dataset_is_refused(
    dataset: Dataset, copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "version", "critters-64@2")
    with pytest.raises(UsageError, match=r"Expected version .* which the search at .* but got critters-64@2"):
        judged(dataset, copy, study_request(), allow_missing=True)
    with pytest.raises(DataError, match="in the version"):
        judge_plan(dataset, read_plan(copy, SPEC, "tpe"), copy)


def test_the_command_line(copy: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["-d", SPEC, "-w", str(copy.root)]
    searched = [*place, "--sampler", "tpe"]
    options = ["-m", METHOD, "--epochs", "1", "--no-figures", "-q", "--val", "gt", "--no-reference"]
    assert main(["select", *searched, *options, "--configs", "3", "--replicates", "20", "--json"]) == 0
    assert {row["protocol"] for row in json.loads(capsys.readouterr().out)["rows"]} == {MARK}
    assert main(["tables", *searched, "--table", "4.2", "--out", str(tmp_path / "csv")]) == 0
    assert "Configurations were proposed by 'tpe'" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "csv").iterdir()] == ["table-4.2+tpe.csv"]
    assert main(["tables", *place, "--table", "4.2"]) == 0
    assert "tpe" not in capsys.readouterr().out
    assert main(["audit", *searched]) == 0
    audit = capsys.readouterr().out
    assert MARK in audit and "the sampler 'tpe'" in audit
    assert main(["status", *searched]) == 0
    assert "3 of 3 trials complete" in capsys.readouterr().out
    assert main(["leaderboard", "build", "-w", str(copy.root)]) == 0
    assert MARK in capsys.readouterr().out
    assert main(["leaderboard", "export", "--sampler", "tp", "--out", str(tmp_path / "out")]) == 2
    assert "Did you mean 'tpe'" in capsys.readouterr().err
    assert main(["select", *place, *options, "--sampler", "tpee"]) == 2
    assert "'tpee' is not one of 'plan', 'tpe', 'random'" in capsys.readouterr().err
    assert main(["select", *searched, *options, "--seeds", "2"]) == 2
    assert "--seeds 1 with --sampler tpe" in capsys.readouterr().err
    assert main(["select", *searched, *options, "--set", "lr=0.1"]) == 2
    assert "no --set lr" in capsys.readouterr().err
