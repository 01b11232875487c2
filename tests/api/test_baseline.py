"""Updating a baseline: what is refused, what is allowed, and that a dry run changes nothing."""

from __future__ import annotations

import shutil

import pytest

import bench
from bench import api
from tests.api.nets import Templates, Watcher, own


def evaluated(root, seed, attacks):
    model = {"net": Templates(seed=seed)}
    return bench.evaluate(model, attacks, "Linf:0.02", dataset=own(16), checks="none", watcher=Watcher(), results=root)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("baseline")
    evaluated(root / "old", 0, "fgsm,noise")
    evaluated(root / "new", 1, "fgsm,noise")
    evaluated(root / "part", 0, "fgsm")
    return root


@pytest.fixture
def here(folders, tmp_path):
    for name in ("old", "new", "part"):
        shutil.copytree(folders / name, tmp_path / name)
    return tmp_path


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_first_baseline_is_made_and_holds_what_it_came_from(here):
    found = api.update_baseline(here / "base", here / "new")

    assert found.written
    assert {change.kind for change in found.changes} == {"added"}
    assert bench.gate(here / "base", here / "new", allow_underpowered=True).exit_code == 0
    again = api.update_baseline(here / "base", here / "new")
    assert {change.kind for change in again.changes} == {"same"}


def test_a_dry_run_says_the_same_and_changes_nothing(here):
    before = files(here)

    told = api.update_baseline(here / "old", here / "new", dry_run=True)

    assert files(here) == before
    assert not told.written
    assert told.changes == api.update_baseline(here / "old", here / "new").changes
    assert bench.gate(here / "old", here / "new", allow_underpowered=True).exit_code == 0


def test_a_cell_that_would_go_is_refused_unless_that_is_meant(here):
    """Nobody would be held to it any more, and no gate would say so."""
    before = files(here / "old")

    with pytest.raises(bench.BenchError, match=r"1 cell of the baseline is not in .*net x noise.*--allow-removed"):
        api.update_baseline(here / "old", here / "part")
    assert files(here / "old") == before
    found = api.update_baseline(here / "old", here / "part", allow_removed=True)

    assert [change.title for change in found.changes if change.kind == "removed"] == ["net x noise (Linf:0.02)"]
    assert len(bench.load(here / "old")) == 1


def test_a_missing_cell_is_refused_unless_that_is_meant(here):
    next((here / "new").rglob("fgsm.*.json")).unlink()

    with pytest.raises(bench.BenchError, match=r"1 cell is no baseline \(net x fgsm \(Linf:0.02\): missing\)"):
        api.update_baseline(here / "old", here / "new")
    api.update_baseline(here / "old", here / "new", allow_incomplete=True)

    assert bench.gate(here / "old", here / "new", allow_underpowered=True).exit_code == 3


def test_a_baseline_says_what_it_holds(here):
    text = api.describe_baseline(here / "old", width=100)

    assert "net x fgsm (Linf:0.02)" in text
    assert "2 cells by atop-bench" in text
    assert "3 cells: a gate would catch drops" in text


def test_what_is_no_folder_of_results_is_one_line(here):
    with pytest.raises(bench.BenchError, match="does not exist"):
        api.update_baseline(here / "old", here / "nowhere")
    with pytest.raises(bench.BenchError, match="does not exist"):
        api.describe_baseline(here / "nowhere")
    (here / "mine").mkdir()
    (here / "mine" / "thesis.tex").touch()
    with pytest.raises(bench.BenchError, match="is no results folder: name a new or empty one"):
        api.update_baseline(here / "mine", here / "new")
    assert (here / "mine" / "thesis.tex").exists()


@pytest.mark.parametrize("name", [".", ".."])
def test_the_present_folder_and_the_one_above_are_folders_like_others(here, monkeypatch, name):
    """They have no name of their own, beside which an update could keep the old baseline."""
    monkeypatch.chdir(here / "old" if name == "." else here / "old" / "runs")

    assert "net x fgsm (Linf:0.02)" in api.describe_baseline(name)
    api.update_baseline(name, here / "new")
    assert {change.kind for change in api.update_baseline(here / "old", here / "new").changes} == {"same"}
    (here / "mine" / "inner").mkdir(parents=True)
    (here / "mine" / "thesis.tex").touch()
    monkeypatch.chdir(here / "mine" if name == "." else here / "mine" / "inner")
    for place in (name, here / "mine"):
        with pytest.raises(bench.BenchError, match="is no results folder: name a new or empty one"):
            api.update_baseline(place, here / "new")
    assert (here / "mine" / "thesis.tex").exists()
