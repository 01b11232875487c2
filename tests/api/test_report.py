"""What the page is made from: ladders, kept images, runs and provenance of some results, and the file it becomes."""

from dataclasses import replace

import numpy as np
import pytest

import bench
from bench import api
from bench.api.report import page_data
from bench.api.results import Results
from bench.datasets.load import load
from bench.errors import BenchError
from bench.results.cell import Slice
from bench.results.outcome import Done, Kept
from bench.results.store import Store
from performance.page import simulated
from tests.report.page.reading import Page
from tests.report.page.simulated import BLOCK, LINF, cells, done, result, stored


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A real run with kept images, as small as there can be."""
    folder = tmp_path_factory.mktemp("run") / "results"
    return bench.run(
        defenses="standard,ap", attacks="fgsm,pgd-20[steps=2]", threat="Linf:0.2", n=8, checks="none", results=folder
    )


@pytest.mark.slow
def test_the_page_of_a_run_knows_its_runs_its_versions_and_its_images(run):
    data = page_data(api.load(run.store.root))
    (section,) = data.sections

    assert len(section.results) == 4
    assert [each.cells for each in data.runs] == [4]
    assert {made["atop-bench"] for made in data.made.values()} == {bench.__version__}
    assert set(data.made) == {each.cell.key for each in run}
    # Of each defense the attack that leaves the least; the images are those of the data set.
    assert [each.defense for each in section.pictures] == ["standard", "ap"]
    for shown in section.pictures:
        accuracies = [run.accuracy(shown.defense, attack).value for attack in ("fgsm", "pgd-20[steps=2]")]
        assert run.accuracy(shown.defense, shown.attack).value == min(accuracies)
        assert np.array_equal(shown.clean, load("digits", "test", n=8).x)
        assert 0 < np.abs(shown.adversarial - shown.clean).max() <= 0.2 + 1e-6


@pytest.mark.slow
def test_the_file_is_whole_and_repeats(run, tmp_path):
    first, second = (run.report(tmp_path / f"deep/{name}.html") for name in "ab")

    assert first == tmp_path / "deep/a.html"
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"<!DOCTYPE html>")
    assert first.read_bytes().endswith(b"</html>")
    assert b"data:image/png;base64," in first.read_bytes()


@pytest.mark.slow
def test_a_study_brings_its_ladder(tmp_path):
    results = bench.run(study="ladder", defenses="ap", n=8, checks="none", results=tmp_path / "ladder")
    text = api.load(results.store.root).report(tmp_path / "a.html", "ladder").read_text()

    assert "What each rung" in text
    assert 'id="s1-ladders"' in text
    assert "undefended base" in text


def test_published_values_stand_beside_ours_and_never_beside_a_blocked_number(tmp_path):
    """60.0 % of 1,000 images in a paper, 75.0 % of four here: a difference of 15 points; none for a blocked one."""
    text = """title = "Theirs"
[[published]]
defense = "at"
attack = "pgd-20"
threat = "Linf:8/255"
dataset = "digits"
value = 60.0
n = 1000
source = "A paper"
[[published]]
defense = "masked"
attack = "pgd-20"
threat = "Linf:8/255"
dataset = "digits"
value = 61.0
source = "A paper"
"""
    (tmp_path / "theirs.toml").write_text(text)
    stored(tmp_path / "none", cells()).report(tmp_path / "a.html", str(tmp_path / "theirs.toml"))
    rows = [row for row in Page((tmp_path / "a.html").read_bytes()).tables["plain"] if row[2:3] == ["digits"]]

    assert [row[:2] + row[3:7] for row in rows] == [
        ["at", "pgd-20 (Linf:8/255)", "60.0 ?", "1000", "75.0", "+15.0"],
        ["masked", "pgd-20 (Linf:8/255)", "61.0 ?", "–", "BLOCK", "–"],
    ]


def test_a_blocked_defense_is_in_no_gallery(tmp_path):
    found = simulated(tmp_path, 2, 4, n=16, side=8)
    blocked = tuple(
        replace(each, findings=(BLOCK,)) if each.cell.defense.label.startswith("defense-01") else each
        for each in found.cells
    )
    (section,) = page_data(replace(found, cells=blocked)).sections

    assert {each.defense for each in page_data(found).sections[0].pictures} == {
        "defense-00[rt=2]",
        "defense-01[rt=2]",
    }
    assert {each.defense for each in section.pictures} == {"defense-00[rt=2]"}


def test_images_whose_clean_ones_are_elsewhere_are_missed_with_a_reason(tmp_path):
    """The data set has changed: its images do not belong to those that are kept."""
    each = result("at", "pgd", LINF, done([1, 0, 1, 0]))
    each = replace(each, cell=replace(each.cell, slice=Slice("digits", "test", 4, "other")))
    store = Store(tmp_path)
    store.keep_images(each.cell, Kept(np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, int), np.zeros(4, int)))
    (section,) = page_data(Results((each,), store)).sections

    assert section.pictures == ()
    assert "are not those of at x pgd" in section.unpictured


def test_results_without_images_have_no_gallery_and_nothing_to_explain(tmp_path):
    (section,) = page_data(stored(tmp_path, cells())).sections

    assert (section.pictures, section.unpictured) == ((), "")
    assert sum(isinstance(each.outcome, Done) for each in section.results) == 5


def test_a_folder_in_place_of_a_file_and_no_cells_are_mistakes(tmp_path):
    results = stored(tmp_path / "none", cells())
    (tmp_path / "file").touch()

    with pytest.raises(BenchError, match="is a folder: name a file"):
        results.report(tmp_path)
    with pytest.raises(BenchError, match="cannot be written"):
        results.report(tmp_path / "file" / "a.html")
    with pytest.raises(BenchError, match="no cells"):
        results[:0].report(tmp_path / "a.html")
    with pytest.raises(BenchError, match="unknown study"):
        results.report(tmp_path / "a.html", "nonsense")
    assert not list(tmp_path.glob("*.html"))
