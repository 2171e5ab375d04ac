"""The report in a browser: sorting, filtering, the explorer and the viewer, by mouse and by keyboard."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from invented_study import hostile_study

from wsol_bench.workflow.report import write_report

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return hostile_study(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def address(study, tmp_path_factory) -> str:
    return write_report(study, tmp_path_factory.mktemp("out") / "report", images=3, figures=False).page.as_uri()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs 'pip install playwright'")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser, address):
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    problems, requests = [], []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(dialog.message))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(address)
    yield opened
    assert problems == []
    assert opened.title().startswith("set"), "a name was run as a script"
    assert all(url.startswith("file:") for url in requests)
    opened.close()


def column(page, table: str, place: int) -> list[str]:
    return page.locator(f"#{table} tbody tr:visible td:nth-child({place})").all_inner_texts()


def test_a_table_sorts_by_keyboard_and_comes_back(page):
    heading = page.locator("#table-results th", has_text="value")
    written = column(page, "table-results", 5)
    values = [float(re.search(r"[\d.]+", text)[0]) for text in written]
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    found = [float(re.search(r"[\d.]+", text)[0]) for text in column(page, "table-results", 5)]
    assert found == sorted(values) != values
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") is None
    assert column(page, "table-results", 5) == written


def test_a_table_filters(page):
    tools = page.locator("#table-results [data-tools]")
    everything = len(column(page, "table-results", 3))
    tools.get_by_label("Filter the table").fill("bv-vt maxbox")
    assert {text.split()[-1] for text in column(page, "table-results", 3)} == {"BV-VT"}
    shown = len(column(page, "table-results", 3))
    assert 0 < shown < everything
    assert tools.get_by_role("status").inner_text() == f"{shown} of {everything} rows"
    tools.get_by_label("realistic only").check()
    assert "gt" not in column(page, "table-results", 2)
    tools.get_by_label("Filter the table").fill("no such words")
    assert column(page, "table-results", 3) == []


def test_the_explorer_shows_the_judge_s_numbers(page, study):
    explorer = json.loads(page.locator("#explorer-data").text_content())
    judgements = {one.method: one for one in study.judged.judgements}
    assert page.locator("#ex-model option").count() == len(explorer["models"])
    for place, model in enumerate(explorer["models"]):
        run = next(one for one in judgements[model["method"]].scores if one.label == model["label"])
        epoch = run.epochs.index(model["epoch"])
        page.select_option("#ex-model", str(place))
        for level in range(len(explorer["levels"])):
            page.select_option("#ex-level", str(level))
            curve = run.test[epoch].curves.box_acc[level]
            for tau in (0, 1, 63, 100, 128, 254):
                page.locator("#ex-tau").evaluate(
                    "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }", str(tau)
                )
                cell = page.locator("#ex-table td[data-set='test']")
                assert float(cell.get_attribute("data-value")) == pytest.approx(curve[tau], abs=1e-9)
                assert cell.inner_text() == f"{float(cell.get_attribute('data-value')):.2f}"
            best = page.locator("#ex-table tbody tr").nth(1).locator("td").nth(1).inner_text()
            name = model["sets"][1]["name"]
            assert float(best) == pytest.approx(run.val[name].box_acc[epoch, level], abs=0.006)


def test_moving_tau_moves_boxes_and_words(page):
    slider = page.get_by_label("Threshold tau").first
    before = page.locator("#ex-cards").inner_html()
    words = page.locator("#ex-summary").inner_text()
    slider.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    assert page.locator("#ex-cards").inner_html() != before
    assert page.locator("#ex-summary").inner_text() != words
    assert slider.get_attribute("aria-valuetext") in page.locator("#ex-summary").inner_text().lower()
    page.locator("#ex-marks button").first.click()
    assert page.locator("#ex-tau-value").inner_text() in page.locator("#ex-marks button").first.inner_text()


def test_an_image_opens_closes_and_leads_to_the_next(page):
    link = page.locator("a.open").first
    link.focus()
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    assert viewer.is_visible()
    title = page.locator("#viewer-title").inner_text()
    assert "test/0" in title
    assert viewer.locator("rect.predicted, rect.manual").count() >= 2
    drawn = page.locator("#viewer-frame svg").inner_html()
    page.get_by_label("boxes at every tenth of tau").check()
    assert viewer.locator("rect.ghost").count() > 0
    page.get_by_label("heat map").check()
    assert viewer.locator("img").get_attribute("src").endswith("-map.png")
    page.locator("#viewer-tau").evaluate("one => { one.value = 200; one.dispatchEvent(new Event('input')); }")
    assert page.locator("#viewer-frame svg").inner_html() != drawn
    page.get_by_role("button", name="Next").click()
    assert page.locator("#viewer-title").inner_text() != title
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    assert page.evaluate("document.activeElement.className") == "open"


def test_an_image_without_a_map_offers_none(page):
    page.evaluate("Object.values(wsol.data.galleries[0].images).forEach((image) => { image.heat = ''; })")
    page.locator("a.open").first.click()
    assert page.get_by_role("dialog").is_visible()
    assert page.locator("#viewer-heat-label").is_hidden()


def test_without_scripts_everything_but_the_explorer_is_there(browser, address, page):
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(address)
    assert plain.locator("noscript p").is_visible()
    assert plain.locator("#explorer-app").is_hidden()
    assert plain.locator("#table-results tbody tr").count() == page.locator("#table-results tbody tr").count()
    assert plain.locator("a.open").first.get_attribute("href").startswith("images/")
    context.close()


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_is_as_wide_as_the_screen(browser, address, width):
    narrow = browser.new_page(viewport={"width": width, "height": 800})
    narrow.goto(address)
    assert narrow.evaluate("document.documentElement.scrollWidth") <= width
    narrow.close()
