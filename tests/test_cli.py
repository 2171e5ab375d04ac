from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

import wsol_bench
from wsol_bench.annotations.boxes import BoxSet
from wsol_bench.annotations.four_file import write_four_file
from wsol_bench.cli import main, options, select
from wsol_bench.cli.app import app
from wsol_bench.errors import UsageError
from wsol_bench.judge.rows import write_csv
from wsol_bench.protocol import load_protocol
from wsol_bench.registry import ANNOTATORS, DATASETS, METHODS, METRICS
from wsol_bench.testing.miniatures import MINIATURES
from wsol_bench.workflow.workspace import DEFAULT_WORKSPACE

REPOSITORY = Path(wsol_bench.__file__).parents[1]
Output = pytest.CaptureFixture[str]

PLUGIN = """
from wsol_bench.datasets.critters.dataset import Critters
from wsol_bench.registry import DATASETS, METHODS


@DATASETS.register("my_critters")
class MyCritters(Critters):
    '''Critters of my own. With a second sentence.'''


METHODS.register_lazy("broken_one", "a_module_that_nobody_has:Method")
"""


def _commands() -> Iterator[tuple[str, ...]]:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*path, name))

    yield from walk(get_command(app), ())


COMMANDS = list(_commands())


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test leaves a workspace, a plug-in or a note about a broken one behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WSOL_BENCH_WORKSPACE", raising=False)
    for registry in (METHODS, DATASETS, ANNOTATORS, METRICS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        monkeypatch.setattr(registry, "_broken", dict(registry._broken))
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("wsol_bench_plugin_"):
            del sys.modules[name]


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return "plugin.py"


def _json(capsys: Output, *arguments: str) -> Any:
    """Runs a command that must succeed and print nothing but JSON."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def _error(capsys: Output, *arguments: str) -> str:
    """Runs a command that must fail with one plain line and nothing else."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == "" and len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


# Help


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_worth_reading(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert main([*command, "--help"]) == 0
    text, errors = capsys.readouterr()
    assert errors == "" and text.startswith(f"Usage: {' '.join(('wsol-bench', *command))}")
    assert max(map(len, text.splitlines())) <= int(width)
    text = text.partition("\n")[2]
    assert not re.search(r"\.\.\.$|^ +-.* <(list|path|str|int|float)|--install-completion|\\b|``", text, re.MULTILINE)


@pytest.mark.parametrize("command", [path for path in COMMANDS if path != ("annotate",)], ids=" ".join)
def test_every_option_and_command_is_explained(command: tuple[str, ...]) -> None:
    found: Any = get_command(app)
    for name in command:
        found = found.commands[name]
    assert found.help or found.callback.__doc__
    assert all(parameter.help for parameter in found.params)


@pytest.mark.parametrize("command", [(), ("datasets",), ("methods",), ("leaderboard",)], ids=" ".join)
def test_a_group_alone_explains_itself(capsys: Output, command: tuple[str, ...]) -> None:
    assert main(command) == 0
    alone = capsys.readouterr().out
    assert main([*command, "-h"]) == 0
    assert capsys.readouterr().out == alone != ""


def test_the_version(capsys: Output) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{wsol_bench.__version__}\n"


# Errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("selct", "No such command 'selct'. Did you mean 'select'? See 'wsol-bench --help'."),
        ("select --datset x", "No such option: --datset (Possible options: --dataset, --set). See 'wsol-bench select"),
        ("select --plugin x.py", "Expected --plugin FILE before the command"),
        ("select extra", "Got unexpected extra argument(s) (extra)"),
        ("sweep --configs many", "Invalid value for '--configs': should be a valid integer"),
        ("sweep --configs 0", "Expected --configs to be at least 1 but got 0."),
        ("sweep --seeds -1", "Expected --seeds to be at least 1 but got -1."),
        ("sweep --epochs 0", "Expected --epochs to be at least 1 but got 0."),
        ("sweep --set lr", "Expected --set name=value but got 'lr'."),
        ("sweep --set lr=fast", "--set lr=fast: Expected 'lr'"),
        ("sweep --set bakbone=x", "Did you mean 'backbone'?"),
        ("sweep -m camm", "Did you mean 'cam'?"),
        ("sweep -d criters", "Did you mean 'critters'?"),
        ("sweep -d critters:12", "from 64 to 224"),
        ("sweep -d folder", "Expected --root DIR"),
        ("sweep --precision half", "Invalid value for '--precision': 'half' is not one of 'fp32', 'bf16'."),
        ("datasets pack -d critters:12", "from 64 to 224"),
        ("sweep --on-bad-image drop", "Invalid value for '--on-bad-image': 'drop' is not one of 'error', 'skip'."),
        ("select --protocol realstic", "Did you mean 'realistic'?"),
        ("select --metric px", "Expected --metric to be one of (box_acc_mean, max_box_acc, mean_iou, px_ap, top1_loc)"),
        ("select --protocol choe2020 --metric mean_iou", "Expected --metric to be one of"),
        ("select --replicates 0", "Invalid value for '--replicates': should be greater than or equal to 1."),
        ("select --protocol choe2020 --val pseudo=ss", "'choe2020' allows (gt) but got 'pseudo=ss'"),
        ("annotate --split valid", "'valid' is not one of 'train', 'val', 'test'"),
        ("annotate --with sss", "Did you mean 'ss'?"),
        ("annotate --with ss --option mode", "Expected --option name=value but got 'mode'."),
        ("annotate report --boxes x", "Expected --metadata DIR with the manual boxes"),
        ("annotate report", "for 'val' of critters but there are none; fix: 'wsol-bench annotate'"),
        ("annotate show", "Expected a card beside the pseudo-boxes but there is none."),
        ("annotate import --from x", "Missing option '--dataset'"),
        ("annotate import --from x -d folder:name=cub", "Expected folders called train, val, test"),
        ("annotate noise --metadata x --out y", "Expected a folder with image_ids.txt"),
        ("methods cost camm", "Did you mean 'cam'?"),
        ("methods cost --frame 16", "should be greater than or equal to 32"),
        ("methods cost --set bakbone=x cam", "Did you mean 'backbone'?"),
        ("check", "Missing argument 'FILE|METHOD'."),
        ("check camm", "Did you mean 'cam'?"),
        ("check nope.py", "there is no file 'nope.py'"),
        ("methods show", "Missing argument 'METHOD'."),
        ("methods show cam -d crittters", "Did you mean 'critters'?"),
        ("datasets check -d tiny-imagenet --root nope", "Expected"),
        ("datasets sheet --count 0", "should be greater than or equal to 1"),
        ("datasets sheet --boxes pseudo=ss", "'wsol-bench annotate' makes them"),
        ("leaderboard build", "Expected results in wsol_workspace/results but there are none"),
        ("evaluate", "Expected --maps DIR and --metadata DIR, or --merge FILE... alone."),
        ("evaluate --maps x", "Expected both --maps DIR and --metadata DIR"),
        ("evaluate --maps x --metadata y --merge z", "or --merge FILE... alone."),
        ("evaluate --maps x --metadata y --iou 0.3 high", "Invalid value for '--iou': should be a valid number"),
        ("--plugin nope.py methods list", "there is no file 'nope.py'"),
    ],
)
def test_errors_are_one_plain_line(capsys: Output, arguments: str, says: str) -> None:
    assert says in _error(capsys, *arguments.split())


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [("torch", "train", "sweep"), ("torch", "train", "methods show cam"), ("matplotlib", "plots", "broken")],
)
def test_a_missing_package_names_its_extra(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, arguments: str
) -> None:
    def unavailable() -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    entry = METHODS._entries["cam"]
    monkeypatch.setitem(METHODS._entries, "cam", replace(entry, load=unavailable))
    if arguments == "broken":
        monkeypatch.setattr("wsol_bench.workflow.sheet.write_sheet", lambda *_: unavailable())
        arguments = "datasets sheet"
    message = _error(capsys, *arguments.split())
    assert f"'{package}'" in message and f"pip install 'wsol-bench[{extra}]'" in message


def test_figures_that_cannot_be_drawn_are_refused_before_hours_of_work(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "find_spec", lambda _: None)
    assert "wsol-bench[plots]', or --no-figures" in _error(capsys, "select")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'wsol_bench.nope'", name="wsol_bench.nope")

    monkeypatch.setattr("wsol_bench.workflow.sheet.write_sheet", fault)
    with pytest.raises(ModuleNotFoundError):
        main(["datasets", "sheet"])


def test_ctrl_c_ends_with_a_word_of_comfort(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wsol_bench.workflow.run_study.run_study", interrupted)
    assert main(["sweep"]) == 130
    printed = capsys.readouterr()
    assert printed.out == "" and "the same command goes on from there" in printed.err
    monkeypatch.setattr("wsol_bench.workflow.sheet.write_sheet", interrupted)
    assert main(["datasets", "sheet"]) == 130


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no pipes that break")
@pytest.mark.parametrize("command", [("select", "--help"), ("datasets", "list"), ("datasets", "list", "--json")])
def test_a_reader_may_leave_early(command: tuple[str, ...]) -> None:
    code = f"import sys; from wsol_bench.cli import main; sys.exit(main({list(command)}))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


def test_python_m_is_the_same_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "wsol_bench", "sweep", "--configs", "0"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: Expected --configs to be at least 1 but got 0.\n"


# Plug-ins


def test_a_plugin_file_adds_to_the_lists(capsys: Output, plugin: str) -> None:
    rows = _json(capsys, "--plugin", plugin, "datasets", "list")["rows"]
    assert {row["name"]: row["what"] for row in rows}["my_critters"] == "Critters of my own"
    assert main(["--plugin", plugin, "sweep", "-d", "my_critters:96", "--dry-run"]) == 0
    assert "cam/0" in capsys.readouterr().out


def test_a_broken_plugin_is_reported_and_the_others_are_listed(capsys: Output, plugin: str) -> None:
    assert main(["--plugin", plugin, "methods", "list"]) == 0
    printed = capsys.readouterr()
    assert "Class activation mapping" in printed.out
    assert printed.err.startswith("warning: The method 'broken_one' (a_module_that_nobody_has:Method) cannot be loaded")
    listed = _json(capsys, "methods", "list")
    assert "cam" in {row["name"] for row in listed["rows"]} and list(listed["broken"]) == ["broken_one"]
    assert "broken_one" in _error(capsys, "sweep", "-m", "broken_one")


def test_a_clash_of_a_plugin_names_both_places(capsys: Output, tmp_path: Path) -> None:
    (tmp_path / "clash.py").write_text(PLUGIN.replace("my_critters", "critters"))
    message = _error(capsys, "--plugin", "clash.py", "datasets", "list")
    assert "Two datasets are called 'critters'" in message
    assert "wsol_bench.datasets.critters.dataset:Critters" in message and "clash.py:6" in message


# Commands


def test_lists(capsys: Output) -> None:
    datasets = {row["name"]: row for row in _json(capsys, "datasets", "list")["rows"]}
    assert {"critters", "folder", "tiny-imagenet"} <= set(datasets)
    assert datasets["folder"]["options"] == ["name", "frame", "class_names", "proxy_train"]
    assert datasets["folder"]["what"].endswith("Choe et al. (2020)")
    annotators = _json(capsys, "annotate", "list")["rows"]
    assert {row["name"]: row["supervision"] for row in annotators} == {
        "clip": "image-text pairs",
        "rpn": "class-agnostic boxes of another dataset",
        "ss": "none",
    }
    for command in ("datasets list", "annotate list", "methods list"):
        assert main(command.split()) == 0
        assert "  " in capsys.readouterr().out


def test_a_method_is_shown(capsys: Output) -> None:
    page = _json(capsys, "methods", "show", "cam", "--dataset", "cub")
    assert page["epochs"] == 50 and page["expected"] and page["origin"] == "wsol_bench.methods.cam:CAM"
    assert main(["methods", "show", "cam"]) == 0
    text = capsys.readouterr().out
    assert "0.0005" in text and "log-uniform" in text and "70.40" in text and "Zhou et al." in text


def test_the_cost_of_a_method_is_measured(capsys: Output) -> None:
    small = ("--frame", "32", "--classes", "3", "--batch", "2", "--set", "backbone=resnet_tiny")
    (row,) = _json(capsys, "methods", "cost", "cam", *small)["rows"]
    assert row["method"] == "cam" and row["params_m"] > 0 and row["macs_g"] > 0
    assert main(["methods", "cost", "cam", *small]) == 0
    assert "images per s" in capsys.readouterr().out


def test_a_method_is_checked(capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert main(["check", str(REPOSITORY / "examples" / "edge_cam" / "edge_cam.py")]) == 0
    assert re.search(r"edge_cam: (\d+) of \1 checks are as they should be", capsys.readouterr().out)
    (tmp_path / "empty.py").touch()
    assert "'empty.py' to register a method but it registers none" in _error(capsys, "check", "empty.py")
    monkeypatch.setattr("wsol_bench.methods.cam.CAM.localize", lambda *_: 1 / 0)
    assert main(["check", "cam", "--json"]) == 1
    failed = [one for one in json.loads(capsys.readouterr().out)["methods"]["cam"] if one["status"] == "failed"]
    assert any("ZeroDivisionError" in one["reason"] for one in failed)


def test_a_plan_is_printed_without_running_anything(capsys: Output, tmp_path: Path) -> None:
    arguments = ["sweep", "--dry-run", "--configs", "2", "--set", "lr=1e-3", "--epochs", "3"]
    trials = _json(capsys, *arguments)["trials"]
    assert [trial["trial"] for trial in trials] == ["cam/0", "cam/1"]
    assert all(trial["config"]["optimizer"]["lr"] == 1e-3 and trial["config"]["epochs"] == 3 for trial in trials)
    assert main(arguments) == 0
    assert trials[1]["id"] in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_workspace_comes_from_the_environment(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert options.DEFAULT_WORKSPACE == DEFAULT_WORKSPACE
    monkeypatch.setenv("WSOL_BENCH_WORKSPACE", str(tmp_path / "elsewhere"))
    assert str(tmp_path / "elsewhere") in _error(capsys, "leaderboard", "build")
    assert "here/results" in _error(capsys, "leaderboard", "build", "-w", "here")


def test_measured_rows_are_merged(capsys: Output, tmp_path: Path) -> None:
    from wsol_bench.judge.rows import ResultRow

    kinds = {"epoch": 1, "value": 43.25, "ci_low": 40.0, "ci_high": 46.0, "n": 400, "realistic": True}
    kinds |= {"split": "test", "selection": "BV", "tau_from": "VT", "configs": 3, "seeds": 1}
    row = ResultRow(**{name: kinds.get(name, name) for name in ResultRow.__dataclass_fields__})  # type: ignore[arg-type]
    for name, found in (("a", row), ("b", replace(row, dataset="other"))):
        write_csv(tmp_path / "w" / "results" / name / "rows.csv", [found])
    rows = _json(capsys, "leaderboard", "build", "-w", "w", "--out", "all.csv")["rows"]
    assert [one["dataset"] for one in rows] == ["dataset", "other"] and set(rows[0]) == set(row.as_dict())
    assert (tmp_path / "all.csv").read_text().count("\n") == 3
    assert main(["leaderboard", "build", "-w", "w"]) == 0
    assert "43.25" in capsys.readouterr().out
    write_csv(tmp_path / "w" / "results" / "b" / "rows.csv", [replace(row, value=1.0)])
    assert "results/a/rows.csv" in _error(capsys, "leaderboard", "build", "-w", "w")


def test_a_dataset_is_checked_and_drawn(capsys: Output, tmp_path: Path) -> None:
    small = ("-d", "critters:train=10,val=10,test=10")
    assert main(["datasets", "check", *small]) == 0
    assert "mean area" in capsys.readouterr().out
    rows = _json(capsys, "datasets", "check", *small)["rows"]
    assert [row["images"] for row in rows] == [10, 10, 10]
    sheet = _json(capsys, "datasets", "sheet", *small, "--boxes", "gt", "--count", "3", "--out", "x.png")
    assert sheet == {"file": "x.png", "images": 3} and (tmp_path / "x.png").is_file()


def test_official_datasets_are_prepared_checked_shown_and_packed(capsys: Output, tmp_path: Path) -> None:
    MINIATURES["cub"](tmp_path / "cub")
    place = ("-d", "cub", "--root", "cub")
    assert main(["datasets", "prepare", "cub", "--root", "cub"]) == 0
    told = capsys.readouterr().out
    assert "CUB_200_2011.tgz: unpacked" in told and "97eceeb196236b17998738112f37df78" in told and "by hand" in told
    assert main(["datasets", "prepare", "dogs", "--root", "none", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["rows"][0]["state"] == "missing" and not (tmp_path / "none").exists()
    assert main(["datasets", "check", *place]) == 1
    assert "test: expected 5794 images but got 6, by the card of cub" in capsys.readouterr().out
    assert main(["datasets", "check", *place, "--subset"]) == 0
    assert "test: note: expected 5794 images but got 6" in capsys.readouterr().out
    shown = _json(capsys, "datasets", "show", "30107316110.jpg", *place, "--out", "x.png")
    assert shown["image"]["split"] == "val" and shown["rows"][0]["source"] == "gt" and (tmp_path / "x.png").is_file()
    assert main(["datasets", "show", "30107316110.jpg", *place]) == 0
    assert "the picture is in image.png" in capsys.readouterr().out
    rows = _json(capsys, "datasets", "stats", *place)["rows"]
    assert [row["mean_area"] for row in rows] == [25.0, 25.0, 25.0]
    assert main(["datasets", "stats", *place, "--figure", "boxes.png"]) == 0 and (tmp_path / "boxes.png").is_file()
    assert "the figure is in boxes.png" in capsys.readouterr().out
    rows = _json(capsys, "datasets", "pack", *place, "-w", "w")["rows"]
    assert [row["images"] for row in rows] == [12, 3, 6] and list((tmp_path / "w" / "packed").iterdir())


def test_a_dataset_with_problems_fails_its_check(capsys: Output, tmp_path: Path) -> None:
    ids = ("a.png", "b.png")
    boxes = BoxSet.from_mapping({image_id: [(0, 0, 3, 3)] for image_id in ids}, dict.fromkeys(ids, (8, 6)))
    write_four_file(tmp_path / "images" / "metadata" / "val", ids=ids, labels=np.array([0, 1]), boxes=boxes)
    shutil.copy(_tiny_image(tmp_path), tmp_path / "images" / "a.png")
    check = ["datasets", "check", "-d", "folder:name=mine", "--root", "images"]
    assert main(check) == 1
    assert "b.png: Expected an image but the file does not exist" in capsys.readouterr().out
    assert main([*check, "--on-bad-image", "skip"]) == 0
    assert "val" in capsys.readouterr().out


def test_boxes_are_compared_with_ground_truth(capsys: Output, tmp_path: Path) -> None:
    sizes = {"a": (100, 100), "b": (100, 100)}
    for name, box in (("gt", (0, 0, 49, 49)), ("mine", (0, 0, 49, 99))):
        found = BoxSet.from_mapping({image_id: [box] for image_id in sizes}, sizes)
        write_four_file(tmp_path / name, ids=found.ids, labels=np.array([0, 1]), boxes=found)
    found = _json(capsys, "annotate", "report", "--boxes", "mine", "--metadata", "gt", "--frame", "100")
    assert found["mean_iou"] == 50.0 and found["n"] == 2
    assert main(["annotate", "report", "--boxes", "mine", "--metadata", "gt", "--frame", "100"]) == 0
    assert "50.00" in capsys.readouterr().out


def test_boxes_are_imported_and_shaken(capsys: Output, tmp_path: Path) -> None:
    sizes = {"a": (100, 100), "b": (100, 100)}
    found = BoxSet.from_mapping({image_id: [(10, 10, 49, 49)] for image_id in sizes}, sizes)
    write_four_file(tmp_path / "mine" / "val", ids=found.ids, labels=np.array([0, 1]), boxes=found)
    rows = _json(capsys, "annotate", "import", "--from", "mine", "-d", "folder:name=cub", "--name", "mine")["rows"]
    assert [(row["set"], row["split"], row["images"]) for row in rows] == [("mine", "val", 2)]
    assert main(["annotate", "import", "--from", "mine", "-d", "folder:name=cub", "--name", "mine"]) == 0
    assert "'select -d folder:name=cub --val pseudo=mine' uses them" in capsys.readouterr().out
    noisy = ("annotate", "noise", "--metadata", "mine/val", "--out", "noisy", "--level", "25", "--level", "50")
    rows = _json(capsys, *noisy)["rows"]
    assert [row["level"] for row in rows] == [25, 50] and (tmp_path / "noisy" / "metadata_noise_25" / "val").is_dir()
    assert "above 0 and up to 0.5" in _error(capsys, *noisy[:-1], "80")


@pytest.fixture
def maps(tmp_path: Path) -> list[str]:
    """Four maps of 32 x 32 whose bright square is the box, and the arguments that score them."""
    ids = tuple(f"{name}.jpg" for name in "abcd")
    truth = BoxSet.from_mapping({image_id: [(8, 8, 23, 23)] for image_id in ids}, dict.fromkeys(ids, (32, 32)))
    write_four_file(tmp_path / "metadata" / "test", ids=ids, labels=np.zeros(4, np.int64), boxes=truth)
    values = np.zeros((32, 32), np.float32)
    values[8:24, 8:24] = 1.0
    (tmp_path / "maps").mkdir()
    for image_id in ids:
        np.save(tmp_path / "maps" / f"{image_id}.npy", values)
    return ["evaluate", "--maps", "maps", "--metadata", "metadata", "--frame", "32", "--bootstrap", "20", "--quiet"]


@pytest.mark.parametrize("iou", ["--iou 0.3 0.5 0.7", "--iou 30 50 70", "--iou 0.3 --iou 0.5 --iou 0.7", ""])
def test_maps_are_scored(capsys: Output, maps: list[str], iou: str) -> None:
    rows = _json(capsys, *maps, *iou.split(), "--tau-step", "0.01", "--contours", "largest", "--strict")["rows"]
    levels = [row["iou_threshold"] for row in rows if row["metric"] == "max_box_acc"]
    assert levels == pytest.approx([0.3, 0.5, 0.7])
    assert all(row["value"] > 85 and row["n"] == 4 for row in rows)
    assert {"metric", "iou_threshold", "contours", "tau", "value", "n"} <= set(rows[0])


def test_maps_are_scored_in_shards(capsys: Output, maps: list[str], tmp_path: Path) -> None:
    whole = _json(capsys, *maps, "--also", "otsu", "pointing", "--per-image", "images.csv")
    for k in (1, 2):
        _json(capsys, *maps, "--also", "otsu", "pointing", "--shard", f"{k}/2", "--save-state", f"{k}.npz")
    assert _json(capsys, "evaluate", "--merge", "1.npz", "2.npz")["rows"] == whole["rows"]
    assert (tmp_path / "images.csv").read_text().count("\n") == 5
    assert main(maps) == 0
    assert "max_box_acc" in capsys.readouterr().out


def test_strict_makes_a_missing_map_an_error(capsys: Output, maps: list[str], tmp_path: Path) -> None:
    (tmp_path / "maps" / "c.jpg.npy").unlink()
    assert _json(capsys, *maps)["maps"] == {"missing": 1}
    assert "c.jpg" in _error(capsys, *maps, "--strict")


def test_what_selects_follows_the_protocol() -> None:
    realistic, choe = load_protocol("realistic"), load_protocol("choe2020")
    given = True, "pseudo=ss"
    assert select._sources(realistic, None, True, *given) == ["cls", "gt", "pseudo=ss"]
    assert select._sources(realistic, ["pseudo=rpn", "x/"], False, *given) == ["pseudo=rpn", "x/"]
    assert select._sources(choe, None, True, *given) == ["gt"]
    assert select._sources(realistic, None, True, False, "maps:cam") == ["cls", "maps:cam"]
    with pytest.raises(UsageError, match="Expected --reference"):
        select._sources(choe, None, False, *given)


def _tiny_image(folder: Path) -> Path:
    from PIL import Image

    path = folder / "tiny.png"
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(path)
    return path


def test_packing_prints_sizes_and_seconds(capsys: Output, tmp_path: Path) -> None:
    small = ("-d", "critters:train=4,val=2,test=2", "-w", str(tmp_path), "--quiet")
    found = _json(capsys, "datasets", "pack", *small)
    assert [(row["split"], row["images"], row["made"]) for row in found["rows"]] == [
        ("train", 4, True), ("val", 2, True), ("test", 2, True),
    ]  # fmt: skip
    assert main(["datasets", "pack", *small]) == 0
    table = capsys.readouterr().out
    assert "megabytes" in table and "seconds" in table and table.count(" no ") == 3


def test_the_precision_makes_other_trials(capsys: Output, tmp_path: Path) -> None:
    plans = [
        _json(capsys, "sweep", "--dry-run", "--configs", "1", "-w", str(tmp_path), "--precision", precision)["trials"]
        for precision in ("fp32", "bf16")
    ]
    assert plans[0] != plans[1]
    assert plans[0] == _json(capsys, "sweep", "--dry-run", "--configs", "1", "-w", str(tmp_path))["trials"]


def test_selecting_in_several_processes_is_refused(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "2")
    assert "torchrun for 'sweep', then 'select' without it" in _error(capsys, "select", "--no-figures")
