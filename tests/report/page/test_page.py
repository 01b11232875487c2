"""The page as a file: what it holds, what it must not hold, and that it repeats."""

import base64
import csv
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.report import page_data
from bench.catalogue.study import AttackProtocol, Claim, Study
from bench.errors import BenchError
from bench.report.page.page import render
from bench.results.frame import rows, write_csv
from performance.page import simulated
from tests.report.page.reading import Page
from tests.report.page.simulated import BLOCK, FLAG, HOSTILE, LINF, STADV, cells, done, hostile, many, result, stored


def page_of(found, root="nowhere"):
    return render(page_data(stored(root, found)))


@pytest.fixture(scope="module", params=["cells", "many", "hostile"])
def made(request, tmp_path_factory):
    """A page of each kind, and what it was made from."""
    found = {"cells": cells, "many": many, "hostile": hostile}[request.param]()
    return page_of(found, tmp_path_factory.mktemp("store")), found


def test_nothing_is_loaded_and_nothing_runs_but_the_one_script(made):
    """Every address is within the page; no handler, no frame, no form target; the policy names the script's digest."""
    page = Page(made[0])
    addresses = page.attributes("src") + page.attributes("href") + page.attributes("xlink:href")
    (policy,) = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()

    assert {address.partition(":")[0] if ":" in address else address[0] for address in addresses} <= {"#", "data"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "base", "foreignobject", "image"}
    assert not page.attributes("action")
    assert "@import" not in "".join(page.styles)
    assert "url(" not in "".join(page.styles)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert "unsafe-eval" not in policy


def test_every_link_leads_to_one_place_within_the_page(made):
    page = Page(made[0])
    ids = page.attributes("id")
    wanted = {address[1:] for address in page.attributes("href") if address.startswith("#")}
    labels = {name for value in page.attributes("aria-labelledby") for name in value.split()}

    assert len(ids) == len(set(ids))
    assert (wanted | labels) - set(ids) == set()
    assert {f"cell-{each.cell.key[:16]}" for each in made[1]} <= set(ids)


def test_every_key_stands_in_full(made):
    text = Page(made[0]).text

    assert [each.cell.key for each in made[1] if each.cell.key not in text] == []


def test_the_matrix_holds_the_numbers_of_the_frame(made, tmp_path):
    """Read back by another parser: every accuracy of `to_pandas()` in its row, and none where there is none."""
    found = made[1]
    frame = stored(tmp_path, found).to_pandas()
    headline = frame[~frame["judged"].str.contains("majority|resubmission")]
    expected = {label: sorted(part["accuracy"].dropna()) for label, part in headline.groupby(["defense", "judged"])}
    shown = [
        sorted(map(float, re.findall(r"\d+\.\d", " ".join(row[1:])))) for row in Page(made[0]).tables["matrix"][2:]
    ]

    assert len(shown) == len(expected)
    for got, known in zip(sorted(shown), sorted(expected.values()), strict=True):
        # Rounded to one digit here, to two in the frame.
        assert got == pytest.approx(known, abs=0.056)


def test_the_csv_within_is_the_leaderboard(made, tmp_path):
    (link,) = [attrs for tag, attrs in Page(made[0]).tags if "download" in attrs]
    kind, _, content = link["href"].partition(";base64,")
    content = base64.b64decode(content)
    table = gzip.decompress(content) if "gzip" in kind else content
    lines = list(csv.DictReader(io.StringIO(table.decode(), newline="")))
    expected = rows(made[1])

    assert len(lines) == len(expected)
    assert table == write_csv(made[1], tmp_path / "leaderboard.csv").read_bytes()
    assert [(line["key"], line["accuracy"], line["outcome"]) for line in lines] == [
        (line["key"], line["accuracy"], line["outcome"]) for line in expected
    ]


def test_a_blocked_defense_has_no_number_anywhere():
    """43 and 37 of 64, mean, worst case, intervals, curves, cost, gallery, CSV: none of it is in the page."""
    n = 64
    masked = [[1] * 43 + [0] * 21, [1] * 37 + [0] * 27]
    found = [
        result("masked", "pgd", threat, done(held, clean=[1] * 61 + [0] * 3), findings=[BLOCK], n=n)
        for threat, held in zip((LINF, STADV), masked, strict=True)
    ]
    found += [result("at", "pgd", threat, done([1] * 3 + [0] * 61), n=n) for threat in (LINF, STADV)]
    page = Page(page_of(found))
    (link,) = [attrs for _, attrs in page.tags if "download" in attrs]
    everything = page.text + " ".join(page.attributes("title")) + base64.b64decode(link["href"].split(",")[1]).decode()

    assert "masked" in everything
    assert BLOCK.message in everything
    assert "4.7" in everything  # what is not blocked is there: 3 of 64
    for number in ("67.2", "67.19", "57.8", "57.81", "95.3", "95.31", "78.4", "45.6"):
        assert number not in everything
    assert {entry for row in page.tables["matrix"] if row[0].startswith("masked") for entry in row[1:]} == {"BLOCK"}


def test_a_claim_on_a_blocked_defense_is_not_measured():
    """It would hold by 43 and 37 of 64 against 3; a flagged number is compared, and marked."""
    masked = [
        result("masked", "pgd", STADV, done([1] * 43 + [0] * 21), findings=[BLOCK], n=64),
        result("flagged", "pgd", STADV, done([1] * 37 + [0] * 27), findings=[FLAG], n=64),
        result("at", "pgd", STADV, done([1] * 3 + [0] * 61), n=64),
    ]
    claims = tuple(Claim(f"{name} above AT", name, "at", "unseen") for name in ("masked", "flagged"))
    study = Study("Claims", protocols=(AttackProtocol("adaptive", ("pgd",)),), claims=claims)
    text = Page(render(replace(page_data(stored("nowhere", masked)), study=study))).text

    assert f"masked against at: a check blocks masked: {BLOCK.message}" in " ".join(text.split())
    assert "67.2" not in text
    assert re.search(r"57\.8\s*!", text)


def test_hostile_names_are_text(tmp_path):
    """No element that a name could have made, and every printable name can be read."""
    page = Page(page_of(hostile(), tmp_path))

    assert not [attrs for tag, attrs in page.tags if tag == "img"]
    assert "onload" not in {name for _, attrs in page.tags for name in attrs}
    for name in HOSTILE:
        flat = "".join(char for char in " ".join(name.split()) if char.isprintable())
        assert flat in page.text
    assert not [char for char in page.text if not char.isprintable() and char not in "\n\xa0"]
    assert "49" not in [cell for row in page.tables["matrix"] for cell in row]


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes_in_another_process():
    """Two interpreters with other hash seeds: no date, no random id, no order of a set."""
    code = (
        "import hashlib, runpy; from bench.api.report import page_data; from bench.report.page.page import render;"
        f"s = runpy.run_path({str(Path(__file__).with_name('simulated.py'))!r});"
        "found = (*s['cells'](), *s['many'](), *s['hostile']());"
        "print(hashlib.sha256(render(page_data(s['stored']('nowhere', found)))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path), "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }

    assert len(digests) == 1


@pytest.mark.slow
def test_the_page_of_24_defenses_and_40_attacks_stays_below_3_megabytes(tmp_path, tally):
    """With kept images, findings of every check and the script of the table."""
    page = render(page_data(simulated(tmp_path, 24, 40)))

    assert len(page) < 3_000_000
    assert len(Page(page).tables["matrix"]) == 2 + 36
    tally("page", len(page) // 1000, 3000, "kB of a matrix of 24 x 40")


def test_sets_of_images_have_a_section_each(tmp_path):
    found = [result("at", "pgd", LINF, done([1, 0]), dataset=name, n=2) for name in ("digits", "cifar10")]
    page = Page(page_of(found, tmp_path))

    assert {"s1", "s2", "s1-matrix", "s2-matrix"} <= set(page.attributes("id"))
    assert "cifar10 test, n = 2, seed 0" in page.text
    assert "Robust accuracy on digits, cifar10" in page.text


def test_cells_that_nobody_computed_make_a_page_without_numbers(tmp_path):
    page = Page(page_of([result("at", "pgd", LINF, None)], tmp_path))

    assert {cell for row in page.tables["matrix"][2:] for cell in row[1:]} == {"…"} | {"–"}
    assert "No defense has a finished cell yet." in page.text


@pytest.mark.parametrize("name", ["jinja2", "itables", "matplotlib"])
def test_a_missing_library_is_one_line_with_the_command(name, monkeypatch):
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda each, *more: None if each == name else real(each, *more))

    with pytest.raises(BenchError) as caught:
        page_of(cells())

    assert str(caught.value) == "the page needs jinja2, itables and matplotlib: pip install 'atop-bench[report]'"


def test_where_nobody_has_a_rank_no_number_of_attacks_is_given(tmp_path):
    """`at` alone, of which a cell failed; with the others the ranking names its attacks."""
    alone = tuple(each for each in cells() if each.cell.defense.label == "at")

    assert b"No defense has a rank here: " in page_of(alone, tmp_path / "alone")
    assert b"over 0 attacks" not in page_of(alone, tmp_path / "alone")
    assert b"No defense has a rank here: " not in page_of(many(), tmp_path / "many")
