"""The site that `make docs` builds: from the code as it is, whole, and with nothing from anywhere else."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree as ET

import pytest

import bench
import bench.attacks
from bench import api

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)


def module(name):
    """A module of docs/site/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / "docs" / "site" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # dataclasses look themselves up
    spec.loader.exec_module(loaded)
    return loaded


links, reference, gallery = (module(name) for name in ("links", "reference", "gallery"))

# mkdocs in a process that reaches no other machine.
OFFLINE = """
import socket, sys
def refuse(*_, **__):
    raise AssertionError("the site was built with the network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from mkdocs.__main__ import cli
cli(sys.argv[1:])
"""
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """What stands on a page: ids, links, assets, headings and text; raises where tags are not balanced."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.assets, self.alts, self.text, self.open, self.tags = [], [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        inside = "article" in self.open
        if tag not in VOID and "svg" not in self.open:
            self.open.append(tag)
        if of.get("id"):
            self.ids.append(of["id"])
        if tag == "a" and of.get("href"):
            self.links.append(of["href"])
        if of.get("src"):
            self.assets.append(of["src"])
        if tag == "link" and of.get("rel") not in ("prev", "next", "canonical"):
            self.assets.append(of["href"])
        if tag == "img":
            self.alts.append(of.get("alt"))
        if inside:
            self.tags.append(tag)

    def handle_endtag(self, tag):
        if "svg" in self.open and tag != "svg":
            return
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> after {self.open[-3:]} at line {self.getpos()}"

    def handle_data(self, data):
        if "article" in self.open:
            self.text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for name in ("mkdocs", "material", "mkdocstrings_handlers"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'atop-bench[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Every page by its path; that each can be parsed is a first test of them."""
    found = {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*.html"))}
    # The last ones are pages of results, which mkdocs copies as they are and other tests read.
    ours = {
        name: path for name, path in found.items() if not re.fullmatch(r"404\.html|results/[^/]+/report\.html", name)
    }
    return {name: Page(path.read_text(encoding="utf-8")) for name, path in ours.items()}


def navigation():
    """The files that the navigation names."""
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1].split("\n\n")[0]
    return re.findall(r": ([\w./-]+\.(?:md|html))$", nav, re.M)


def declared(name):
    """A constant of the hooks, which only mkdocs can import."""
    tree = ast.parse((ROOT / "docs" / "site" / "hooks.py").read_text(encoding="utf-8"))
    values = {
        ast.unparse(target): each.value for each in tree.body if isinstance(each, ast.Assign) for target in each.targets
    }
    return ast.literal_eval(values[name])


def published():
    """What `make results` makes of each folder of results, by its path, which is its place in the site, too."""
    folders = [path.parent for path in sorted((ROOT / "results").glob("*/page.toml"))]
    return [f"results/{each.name}/{name}" for each in folders for name in ("README.md", "table.md", "report.html")]


def html_of(place):
    return (
        re.sub(r"README\.md$", "index.html", place) if place.endswith("README.md") else re.sub(r"\.md$", ".html", place)
    )


pytestmark = pytest.mark.slow


def test_every_page_of_the_navigation_is_there_and_every_page_of_docs_in_it(site, pages):
    named = navigation()

    absent = [place for place in named if not (site / html_of(place)).is_file()]

    assert len(named) >= 25
    assert absent == []
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(named)


def test_every_folder_of_results_with_a_page_is_in_the_site_and_in_its_navigation(site, pages):
    links = {urljoin("index.html", link) for link in pages["index.html"].links}
    there = [place for place in published() if (ROOT / place).is_file()]

    assert "results/cifar10/README.md" in there
    for place in there:
        assert (site / html_of(place)).is_file(), place
        assert html_of(place) in links, place


def test_no_page_takes_anything_from_another_host(site, pages):
    for name, page in pages.items():
        for asset in page.assets:
            assert not re.match(r"(https?:)?//", asset), f"{name}: {asset}"
            assert asset.startswith("data:") or (site / name).parent.joinpath(urlsplit(asset).path).is_file(), asset
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        assert not re.search(r"(url\(|@import|href=)[\s\"']*(https?:)?//", path.read_text(encoding="utf-8")), path


def test_every_link_within_the_site_leads_to_a_page_and_a_place_on_it(site, pages):
    for name, page in pages.items():
        for link in page.links:
            target = urlsplit(urljoin(name, link))
            if target.scheme or target.netloc:
                continue
            path = unquote(target.path) or name
            assert (site / path).is_file(), f"{name}: {link}"
            if target.fragment and path in pages:
                assert unquote(target.fragment) in pages[path].ids, f"{name}: {link}"


def test_ids_are_unique_and_pictures_have_a_text(pages):
    for name, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), name
        assert all(page.alts), name


def test_every_command_is_on_the_page_with_all_its_options(pages):
    import typer

    from bench.cli.app import app

    def walk(name, command):
        if hasattr(command, "commands"):
            for each, below in command.commands.items():
                yield from walk(f"{name} {each}", below)
        else:
            yield name, command

    page = pages["reference/commands.html"]
    text = " ".join(" ".join(page.text).split())
    found = list(walk("bench", typer.main.get_command(app)))

    assert len(found) >= 18
    for name, command in found:
        assert name.replace(" ", "-") in page.ids, name
        section = text.split(f" {name} ¶ ")[1].split(" ¶ ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in section, f"{name} {parameter.opts}"
                assert (parameter.envvar or "") in section
            assert " ".join(parameter.help.split()) in section, f"{name} {parameter.name}"


def test_every_public_name_is_on_the_page_with_its_signature(pages):
    page = pages["reference/python.html"]

    for name in bench.__all__:
        assert name == "__version__" or f"bench.{name}" in page.ids, name
    for name in dir(api):
        assert name in bench.__all__ or f"bench.api.{name}" in page.ids, name
    assert bench.__version__ in " ".join(page.text)
    assert "bench.Results.to_pandas" in page.ids
    for name in bench.attacks.__all__:
        target = getattr(bench.attacks, name)
        assert f"{target.__module__}.{name}" in pages["reference/attack-classes.html"].ids


@pytest.mark.parametrize("kind", ["attacks", "defenses"])
def test_every_attack_and_defense_has_a_row_and_a_section(pages, kind):
    page = pages[f"reference/{kind}.html"]

    for entry in api.registered(kind):
        assert entry["name"] in page.ids
        assert f"#{entry['name']}" in page.links
        assert entry["summary"] in " ".join(page.text)


def test_options_and_exit_statuses_are_those_of_the_code(pages):
    from bench.catalogue.options import BY_NAME, variable
    from bench.cli import INCOMPLETE, INTERRUPTED, MISTAKE, NO_SPACE, NONDETERMINISM, TERMINATED

    options, statuses = ("".join(pages[f"reference/{name}.html"].text) for name in ("options", "exit-statuses"))

    assert all(variable(name) in options for name in BY_NAME)
    for status in (0, 1, 4, MISTAKE, INCOMPLETE, NONDETERMINISM, NO_SPACE, INTERRUPTED, TERMINATED):
        assert re.search(rf"\b{status}\b", statuses), status


def test_the_search_index_has_every_page_also_for_one_opened_as_a_file(site, pages):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {each["location"].partition("#")[0] or "index.html" for each in index["docs"]}

    assert found == set(pages)
    assert (site / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index = {")


def test_a_page_has_the_tables_and_lists_that_it_has_on_github(pages):
    """The oracle is another reader of Markdown; a list right below a paragraph is where the two differ."""
    markdown_it = pytest.importorskip("markdown_it")
    adopted = {source: place for source, place in declared("ADOPTED").items() if place.endswith(".md")}
    adopted |= {place: place for place in published() if place.endswith(".md")}
    sources = {**{f"docs/{path.name}": path.name for path in (ROOT / "docs").glob("*.md")}, **adopted}
    reader = markdown_it.MarkdownIt("commonmark").enable("table")

    assert len(sources) >= 18
    for source, place in sources.items():
        tokens = [token.type for token in reader.parse((ROOT / source).read_text(encoding="utf-8"))]
        tags = pages[html_of(place)].tags
        for kind, tag in (("table_open", "table"), ("list_item_open", "li"), ("tr_open", "tr")):
            assert tags.count(tag) == tokens.count(kind), f"{source}: {tag}"
        code = tokens.count("fence") + tokens.count("code_block")
        assert tags.count("pre") == code, f"{source}: code"


@pytest.mark.timeout(300)
def test_pages_opened_as_files_load_nothing_else_can_be_read_by_all_and_searched(site):
    playwright = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    asked, wrong = [], []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(color_scheme=scheme, viewport={"width": 1400, "height": 900})
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            for name in ("index", "reference/commands", "gallery"):
                page.goto(f"file://{site}/{name}.html")
                page.wait_for_function("document.documentElement.classList.contains('js')")
                found = axe.Axe().run(page).response["violations"]
                serious = [each for each in found if each["impact"] in ("serious", "critical")]
                assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == [], f"{name}, {scheme}"
        page.goto(f"file://{site}/index.html")
        page.click("input.md-search__input")
        page.keyboard.type("apgd-dlr")
        page.wait_for_selector("a.md-search-result__link[href*='reference/attacks.html']", timeout=30_000)
        narrow = browser.new_page(viewport={"width": 360, "height": 800})
        for name in ("index", "tutorial", "reference/commands", "reference/python", "gallery"):
            narrow.goto(f"file://{site}/{name}.html")
            assert narrow.evaluate("document.documentElement.scrollWidth") <= 360, name
        browser.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "about:"))] == []


PAGES = {"README.md": "index.md", "docs/speed.md": "speed.md", "results/x/README.md": "results/x/README.md"}


def test_links_are_led_to_where_the_site_has_what_they_lead_to():
    def led(text, source, repository=""):
        return links.rewritten(text, source, PAGES, repository)

    assert led("[a](docs/speed.md#b)", "README.md") == "[a](speed.md#b)"
    assert led("[a](../README.md)", "docs/speed.md") == "[a](index.md)"
    assert led("[a](../../docs/speed.md)", "results/x/README.md") == "[a](../../speed.md)"
    assert led("[a](../setup.cfg)", "docs/speed.md") == "a (`setup.cfg`)"
    assert led("[`setup.cfg`](../setup.cfg)", "docs/speed.md") == "`setup.cfg`"
    assert (
        led("[a](../setup.cfg#L3)", "docs/speed.md", "https://x.org/r") == "[a](https://x.org/r/blob/HEAD/setup.cfg#L3)"
    )
    for unchanged in ("[a](https://x.org)", "[a](#b)", "`[a](../setup.cfg)`", "```\n[a](../setup.cfg)\n```"):
        assert led(unchanged, "docs/speed.md") == unchanged


def test_a_hostile_name_stays_text_in_a_table_and_in_a_picture():
    hostile = "<img src=x onerror=alert(1)> | `a` [b](javascript:c) \x1b[31m & </text>"
    shown = gallery.screen(["$ x", hostile]).decode()
    tree = ET.fromstring(shown)  # noqa: S314  (a picture of ours)

    assert {each.tag.rpartition("}")[2] for each in tree.iter()} == {"svg", "style", "rect", "circle", "text"}
    assert "\x1b" not in shown
    assert "<img" not in reference._text(hostile)
    markdown = pytest.importorskip("markdown")
    cell = markdown.markdown(f"| a |\n| --- |\n| {reference._text(hostile[:60])} |", extensions=["tables"])
    assert cell.count("<td>") == 1
    assert not re.search(r"<(img|code|a)\b", cell)


def test_the_gallery_shows_its_pictures_small_and_the_commands_that_make_them():
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page(), "make gallery"
    named = {each.name for each in gallery.GALLERY}
    assert {path.name for path in gallery.PICTURES.iterdir()} == named
    assert sum((gallery.PICTURES / name).stat().st_size for name in named) < 300_000


COMMITTED = [each for each in gallery.GALLERY if each.draw is gallery.terminal and "results/cifar10" in each.command]


@pytest.mark.parametrize("picture", COMMITTED, ids=lambda each: each.name)
def test_a_terminal_with_committed_results_shows_what_the_command_prints_now(picture, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", str(gallery.COLUMNS))

    assert picture.draw(picture.command) == (gallery.PICTURES / picture.name).read_bytes(), "make gallery"
