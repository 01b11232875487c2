"""The page in a real browser: by mouse and keyboard, in the dark, on a phone, on paper, without scripts, attacked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import api
from bench.api.report import page_data
from bench.report.page.page import render
from tests.report.page.reading import Page
from tests.report.page.simulated import HOSTILE, cells, hostile, many, stored

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install '.[test]'")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in _NAMES if (path := shutil.which(name))), None)
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium"),
]

WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        # As root, as in a container, there is no sandbox to be had; the pages are ours.
        launched = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind, as files."""
    folder = tmp_path_factory.mktemp("pages")
    for name, found in {"cells": cells(), "many": many(), "hostile": hostile()}.items():
        (folder / f"{name}.html").write_bytes(render(page_data(stored(folder / "none", found))))
    claims = api.load(ROOT / "results" / "cifar10-claims").under("atop-claims")
    (folder / "claims.html").write_bytes(render(page_data(claims)))
    return folder


@pytest.fixture
def opened(browser, pages):
    """Open a page and watch it: whatever it asks for, says or raises fails the test."""
    seen, contexts = [], []

    def at(name, *, viewport=WIDE, color_scheme="light", javascript=True):
        context = browser.new_context(
            viewport=viewport, color_scheme=color_scheme, java_script_enabled=javascript, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda each: seen.append(f"request {each.url[:60]}"))
        page.on("console", lambda each: seen.append(f"console {each.type}: {each.text}"))
        page.on("pageerror", lambda error: seen.append(f"error {error}"))
        page.on("dialog", lambda dialog: (seen.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda _: seen.append("popup"))
        page.goto((pages / f"{name}.html").as_uri())
        return page

    yield at
    for context in contexts:
        context.close()
    # The file itself, and what is written within it.
    assert [each for each in seen if not each.startswith(("request file:", "request data:"))] == []
    assert sum(each.startswith("request file:") for each in seen) == len(contexts)


def column(page, number):
    return page.locator(f"table.cells tbody tr td:nth-child({number}), table.cells tbody tr th:nth-child({number})")


def accuracies(page):
    return [float(text) for text in column(page, 6).all_inner_texts() if text]


def test_a_click_sorts_by_number_both_ways(opened):
    """8.0 is below 10.2: sorted as numbers; what has no number stays at one end."""
    page = opened("many")
    head = page.locator("table.cells thead th").nth(5)
    before = accuracies(page)

    head.click()
    playwright.expect(head).to_have_attribute("aria-sort", "ascending")
    assert accuracies(page) == sorted(before) != before
    head.click()
    playwright.expect(head).to_have_attribute("aria-sort", "descending")
    assert accuracies(page) == sorted(before, reverse=True)


def test_the_keyboard_sorts(opened):
    page = opened("many")
    button = page.locator("table.cells thead th").nth(5).locator("[role=button], .dt-column-order[tabindex]").first

    button.focus()
    page.keyboard.press("Enter")

    playwright.expect(page.locator("table.cells thead th").nth(5)).to_have_attribute("aria-sort", "ascending")
    assert accuracies(page) == sorted(accuracies(page))


def test_filters_show_what_was_asked_for_and_nothing_else(opened):
    page = opened("many")
    total = column(page, 1).count()

    page.get_by_role("combobox", name="Defense").select_option("defense-1")
    assert set(column(page, 1).all_inner_texts()) == {"defense-1"}
    assert page.locator("form.filters output").inner_text() == f"8 of {total} rows"
    page.get_by_role("combobox", name="Seen").select_option("yes")
    assert set(column(page, 4).all_inner_texts()) == {"Linf:8/255"}
    page.get_by_role("searchbox", name="Find").fill("attack-3")
    assert column(page, 3).all_inner_texts() == ["attack-3"]
    page.get_by_role("searchbox", name="Find").fill("")
    page.get_by_role("combobox", name="Seen").select_option("")
    page.get_by_role("combobox", name="Defense").select_option("")
    assert column(page, 1).count() == total


def test_a_link_of_the_matrix_leads_to_its_cell_even_if_a_filter_hides_it(opened):
    page = opened("many")
    link = page.locator("table.matrix tbody a[href^='#cell-']").first
    target = link.get_attribute("href")

    page.get_by_role("searchbox", name="Find").fill("nothing like this")
    assert page.locator(target).count() == 0
    link.click()

    assert page.locator(target).is_visible()
    assert page.url.endswith(target)


@pytest.mark.parametrize("name", ["cells", "many", "hostile", "claims"])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_axe_finds_nothing(opened, name, color_scheme, viewport):
    page = opened(name, color_scheme=color_scheme, viewport=viewport)
    found = axe.Axe().run(page).response["violations"]

    assert [(each["id"], [node["html"][:160] for node in each["nodes"][:3]]) for each in found] == []


def test_the_dark_page_is_dark(opened):
    def shade(color_scheme, selector, what):
        page = opened("many", color_scheme=color_scheme)
        color = page.locator(selector).first.evaluate(f"(each) => getComputedStyle(each).{what}")
        return sum(int(part) for part in color[4:-1].split(","))

    for selector, what, ordered in (
        ("body", "backgroundColor", 1),
        ("body", "color", -1),
        ("table.matrix td.h20, table.matrix td.h18", "backgroundColor", 1),
        ("table.cells thead th", "backgroundColor", 1),
        ("figure svg text", "fill", -1),
    ):
        light, dark = (shade(mode, selector, what) for mode in ("light", "dark"))
        assert (light - dark) * ordered > 200, selector


@pytest.mark.parametrize("name", ["cells", "many", "hostile"])
def test_a_phone_scrolls_the_tables_and_not_the_page(opened, name):
    page = opened(name, viewport=PHONE)
    wide = page.evaluate("document.documentElement.scrollWidth")
    regions = page.locator(".scroll")

    assert wide == PHONE["width"]
    matrix = page.locator(".heat")
    assert matrix.evaluate("(each) => each.scrollWidth > each.clientWidth")
    matrix.focus()
    assert matrix.evaluate("(each) => each.scrollLeft") == 0
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)  # it scrolls smoothly
    assert matrix.evaluate("(each) => each.scrollLeft") > 0
    # Whatever can be scrolled can be reached by the keyboard and has a name.
    for at in range(regions.count()):
        assert regions.nth(at).get_attribute("tabindex") == "0"
        assert regions.nth(at).get_attribute("aria-labelledby") or regions.nth(at).get_attribute("aria-label")


def test_the_names_of_the_defenses_stay_when_the_matrix_is_scrolled(opened):
    page = opened("many", viewport=PHONE)
    name = page.locator("table.matrix tbody th").first
    before = name.bounding_box()["x"]

    page.locator(".heat").evaluate("(each) => each.scrollTo({ left: 400, behavior: 'instant' })")

    assert name.bounding_box()["x"] == before


@pytest.mark.parametrize("name", ["cells", "hostile"])
def test_without_javascript_everything_is_there(opened, pages, name):
    """Every text that the file holds is on the page or opens with a click; the filters, which cannot work, are not."""
    page = opened(name, javascript=False)
    known = Page((pages / f"{name}.html").read_bytes()).tables

    for table in ("matrix", "standings", "cells plain"):
        rows = page.locator(f"table.{table.replace(' ', '.')} tbody tr")
        heads = 2 if table == "matrix" else 1
        assert rows.count() == len(known[table]) - heads
        for at, expected in enumerate(known[table][heads:]):
            row = rows.nth(at)
            assert row.is_visible()
            told = "".join(row.inner_text().split())
            assert [cell for cell in expected if "".join(cell.split()) not in told] == []
    assert not page.locator("form.filters").is_visible()


def test_paper_holds_everything(opened, tmp_path):
    """Closed checks, every row of the long table, the whole matrix: read back from the PDF."""
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext: apt-get install poppler-utils")
    page = opened("many")
    page.pdf(path=str(tmp_path / "page.pdf"), prefer_css_page_size=True, print_background=True)
    printed = subprocess.run(
        ["pdftotext", "-raw", str(tmp_path / "page.pdf"), "-"], capture_output=True, text=True, check=True
    ).stdout
    squeezed = "".join(printed.split())

    keys = [each.cell.key for each in many()]
    assert [key for key in keys if key not in squeezed] == []
    frame = stored(tmp_path / "none", many()).to_pandas()
    shown = frame[~frame["judged"].str.contains("majority|resubmission")]
    assert [value for value in shown["accuracy"].dropna() if f"{value:.1f}" not in printed] == []
    for heading in ("Defenses by attacks", "Leaderboard", "Every cell", "Checks", "Provenance", "How to read"):
        assert heading in printed
    assert "attack-7-digest" in squeezed  # within a closed <details>


def test_hostile_names_do_nothing_and_can_be_read(opened):
    """No dialog, no request, no element: `opened` watches. Sorting and filtering by such a name, too."""
    page = opened("hostile")
    table = page.locator("table.cells")

    for head in page.locator("table.cells thead th").all():
        head.click()
    for name in HOSTILE:
        flat = "".join(char for char in " ".join(name.split()) if char.isprintable())
        page.get_by_role("searchbox", name="Find").fill(flat)
        page.get_by_role("searchbox", name="Find").fill("")
        page.get_by_role("combobox", name="Defense").select_option(flat)
        assert set(column(page, 1).all_inner_texts()) == {flat}
        page.get_by_role("combobox", name="Defense").select_option("")
    page.locator("details").evaluate_all("(all) => all.forEach((each) => (each.open = true))")
    assert table.locator("img, svg, script").count() == 0
    assert page.locator("main img, main iframe, main script, main [onerror], main [onload]").count() == 0
    assert (
        page.evaluate(
            "performance.getEntriesByType('resource').filter((each) => !each.name.startsWith('data:')).length"
        )
        == 0
    )


def test_the_policy_stops_a_script_that_was_slipped_in(browser, pages):
    """Should a name ever become an element, it still would not run, and could not send anything."""
    page = browser.new_page()
    page.goto((pages / "cells.html").as_uri())
    stopped = page.evaluate(
        """() => {
            document.body.insertAdjacentHTML("beforeend", "<div id=slipped onclick='window.ran = 1'></div>");
            document.getElementById("slipped").click();
            return window.ran === undefined;
        }"""
    )
    blocked = page.evaluate("fetch('https://example.invalid/').then(() => '', (error) => error.message)")
    page.close()

    assert stopped
    assert blocked == "Failed to fetch"
