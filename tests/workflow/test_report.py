"""The report of a study: complete, escaped, without network, and with the judge's numbers."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from invented_study import COUNTS, METHODS, TAG, Hostile, hostile_study
from PIL import Image

from wsol_bench.cli import main
from wsol_bench.content import content_folder
from wsol_bench.errors import UsageError
from wsol_bench.report.explorer import accuracy_at
from wsol_bench.workflow.report import write_report
from wsol_bench.workflow.selection_tables import TABLES

SPEC = "critters:size=64,train=200,val=30,test=40"


class _Page(HTMLParser):
    """Elements, ids, links and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.attributes.append(values)
        self.links += [values[name] for name in ("href", "src") if name in values]
        self.ids += [values["id"]] if "id" in values else []
        self._script = tag == "script"

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script:
            self.scripts.append(data)
        else:
            self.text += data


def explorer_of(folder: Path) -> dict:
    return json.loads(_Page((folder / "index.html").read_text(encoding="utf-8")).scripts[0])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return hostile_study(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory) -> Path:
    return write_report(study, tmp_path_factory.mktemp("out") / "report", images=4).page.parent


@pytest.fixture(scope="module")
def page(folder) -> _Page:
    return _Page((folder / "index.html").read_text(encoding="utf-8"))


def test_hostile_names_are_text_and_nothing_else(page):
    assert page.tags.count("script") == 5
    assert [source for source in page.scripts if source.strip()] == [page.scripts[0]]
    assert not any(name.startswith("on") for values in page.attributes for name in values)
    for name in (*METHODS, f"set{TAG}", "ss<i>&", "rpn';--"):
        assert name in page.text
    assert "b" not in page.tags
    italics = [values for tag, values in zip(page.tags, page.attributes, strict=True) if tag == "i"]
    assert {values.get("class") for values in italics} == {"usual", "real"}


def test_the_embedded_json_cannot_end_its_script(page):
    assert not re.search(r"[<>&']", page.scripts[0])
    names = [image["class"] for one in json.loads(page.scripts[0])["galleries"] for image in one["images"].values()]
    assert set(names) <= set(Hostile.class_names)
    assert Hostile.class_names[0] in names


def test_every_link_resolves_and_none_leaves_the_folder(page, folder):
    assert len(set(page.ids)) == len(page.ids)
    assert len(page.links) > 50
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert ":" not in link and not link.startswith("/")
            assert (folder / unquote(link)).is_file(), link
    for name in ("style.css", "tables.js", "boxes.js", "explorer.js", "viewer.js"):
        source = (folder / "assets" / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|innerHTML|eval\(", source.replace("// ", ""))


def test_tables_figures_and_data_are_files(folder):
    for name in (*TABLES, "results", "audit", "costs"):
        for suffix in ("csv", "md", "tex"):
            assert (folder / "tables" / f"table-{name}.{suffix}").is_file()
    with (folder / "tables" / "table-4.2.csv").open(newline="") as stream:
        assert {row["method"] for row in csv.DictReader(stream)} == set(METHODS)
    drawn = {path.suffix: path for path in (folder / "figures").iterdir()}
    assert set(drawn) == {".svg", ".pdf", ".png"}
    assert "<dc:date>" not in drawn[".svg"].read_text()
    assert {path.name for path in (folder / "data").iterdir()} == {
        "rows.csv", "audit.json", "selection.yaml",
    }  # fmt: skip


def test_the_explorer_gives_the_judge_s_numbers(study, folder):
    explorer = explorer_of(folder)
    judgements = {one.method: one for one in study.judged.judgements}
    checked = 0
    for model in explorer["models"]:
        runs = judgements[model["method"]].scores
        run = next(one for one in runs if one.label == model["label"])
        epoch = run.epochs.index(model["epoch"])
        sets = {one["name"]: one for one in model["sets"]}
        assert list(sets) == ["test", *study.judged.boxes.val]
        for level, _ in enumerate(explorer["levels"]):
            curve = run.test[epoch].curves.box_acc[level]
            for place in (0, 1, 40, 100, 101, 127, 200, 254):
                found = accuracy_at(sets["test"]["max"], sets["test"]["switches"][level], explorer["taus"][place])
                assert found == pytest.approx(curve[place], abs=1e-9)
                checked += 1
            for source, scores in run.val.items():
                own = sets[source]
                values = [accuracy_at(own["max"], own["switches"][level], tau) for tau in explorer["taus"]]
                assert max(values) == pytest.approx(scores.box_acc[epoch, level], abs=1e-9)
                assert int(np.argmax(values)) == scores.box_acc_tau[epoch, level]
        for mark in model["marks"]:
            own = sets["test"]
            assert accuracy_at(own["max"], own["switches"][mark["level"]], mark["tau"]) == pytest.approx(mark["value"])
            checked += 1
    assert checked > 50


def test_the_gallery_shows_what_its_lists_promise(study, folder):
    explorer = explorer_of(folder)
    gallery = explorer["galleries"][0]
    model = explorer["models"][gallery["model"]]
    assert set(model["curves"]) == set(gallery["images"])
    for name, image in gallery["images"].items():
        kinds = [box["kind"] for box in image["boxes"]]
        assert "manual" in kinds
        assert kinds.count("source") == (2 if image["split"] == "val" else 0)
        assert image["id"] == f"{image['split']}/{name.split('-')[1]}{TAG}.png"
        with Image.open(folder / image["file"]) as picture, Image.open(folder / image["heat"]) as heat:
            assert picture.size == heat.size == (40, 30)
    assert {name.split("-")[0] for name in gallery["images"]} == {"val", "test"}


def test_only_reports_are_replaced(study, folder, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds something else"):
        write_report(study, tmp_path, figures=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="holds something else"):
        write_report(study, tmp_path / "file", figures=False)
    again = tmp_path / "report"
    first = write_report(study, again, images=2, figures=False)
    (again / "stale.txt").write_text("")
    second = write_report(study, again, images=1, figures=False)
    assert not (again / "stale.txt").exists()
    assert second.files < first.files
    assert second.size == sum(path.stat().st_size for path in again.rglob("*") if path.is_file())


def test_without_maps_there_is_no_heat(tmp_path):
    study = hostile_study(tmp_path, maps=False)
    written = write_report(study, tmp_path / "report", images=2, figures=False)
    explorer = explorer_of(written.page.parent)
    assert {image["heat"] for one in explorer["galleries"] for image in one["images"].values()} == {""}
    assert COUNTS["test"] == len(explorer["models"][0]["sets"][0]["max"])


def test_the_command_line(tmp_path, capsys):
    studies = content_folder("leaderboards") / "studies" / "critters-tiny"
    place = ["-d", SPEC, "-w", str(studies)]
    out = tmp_path / "report"
    assert main(["report", *place, "--out", str(out), "--images", "2", "--no-figures", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(out / "index.html")
    page = _Page((out / "index.html").read_text(encoding="utf-8"))
    assert "The usual practice" in page.text
    assert "42 rows call themselves realistic; the evidence confirms 42." in page.text
    assert f"wsol-bench report -d {SPEC} -w WORKSPACE --out REPORT" in page.text
    assert str(tmp_path) not in (out / "index.html").read_text(encoding="utf-8")
    (out / "report.json").unlink()
    assert main(["report", *place, "--out", str(out)]) == 2
    assert "fix: another name" in capsys.readouterr().err
    assert main(["report", "-w", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert "wsol-bench select" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
