"""A folder at each commit: from a real repository, without touching it."""

from __future__ import annotations

import json
import os

import pytest

from bench.errors import BenchError
from bench.results.commits import folder_history
from tests.report.histories import commit, git


@pytest.fixture
def repository(tmp_path):
    """Three commits that touch `a/results`, and one that does not."""
    root = tmp_path / "repo"
    folder = root / "a" / "results"
    folder.mkdir(parents=True)
    git(root, "init", "-q")
    (folder / "one.json").write_text(json.dumps(1))
    commit(root, "first")
    (root / "other.txt").write_text("x")
    commit(root, "elsewhere")
    (folder / "deep").mkdir()
    (folder / "deep" / "zwei ü.json").write_text(json.dumps(2))
    (folder / "note.txt").write_text("no document")
    (folder / "link.json").symlink_to("/etc/passwd")
    commit(root, "second\n\nbody")
    (folder / "one.json").write_text(json.dumps(3))
    commit(root, "third")
    return root, folder


def held(folder):
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_text())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_each_commit_that_touched_the_folder_is_read_the_oldest_first(repository):
    """Documents alone: no other files, and no link that points anywhere."""
    _, folder = repository

    found = [(each.subject, held(place)) for each, place in folder_history(folder, 20).states()]

    assert found == [
        ("first", {"one.json": 1}),
        ("second", {"one.json": 1, "deep/zwei ü.json": 2}),
        ("third", {"one.json": 3, "deep/zwei ü.json": 2}),
    ]


def test_the_last_ones_are_the_newest(repository):
    _, folder = repository

    assert [each.subject for each in folder_history(folder, 2).commits] == ["second", "third"]


def test_nothing_in_the_repository_changes_and_nothing_is_left(repository, tmp_path, monkeypatch):
    root, folder = repository
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (folder / "one.json").write_text("not committed")
    before = sorted((path.relative_to(root), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file())

    for _ in folder_history(folder, 20).states():
        assert len(list((tmp_path / "tmp").iterdir())) == 1

    assert (
        sorted((path.relative_to(root), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file())
        == before
    )
    assert list((tmp_path / "tmp").iterdir()) == []
    assert git(root, "status", "--porcelain") == " M a/results/one.json\n"


def test_what_git_is_told_to_do_with_files_does_not_change_them(repository):
    """`git archive` would leave out what is export-ignored, and fill in what is export-subst."""
    root, folder = repository
    (root / ".gitattributes").write_text("*.json export-ignore export-subst\n")
    (folder / "one.json").write_text(json.dumps("$Format:%H$"))
    commit(root, "fourth")

    found = [held(place) for _, place in folder_history(folder, 20).states()]
    assert found[-1]["one.json"] == "$Format:%H$"


def test_a_folder_that_is_gone_from_the_work_tree_still_has_its_history(repository):
    root, folder = repository
    git(root, "rm", "-rq", "a")
    commit(root, "gone")

    found = [(each.subject, len(held(place))) for each, place in folder_history(folder, 20).states()]

    assert found == [("first", 1), ("second", 2), ("third", 2), ("gone", 0)]


def test_the_whole_repository_may_be_the_folder(repository):
    root, _ = repository

    (found,) = [held(place) for _, place in folder_history(root, 1).states()]

    assert set(found) == {"a/results/one.json", "a/results/deep/zwei ü.json"}


def test_variables_of_a_hook_do_not_lead_elsewhere(repository, tmp_path, monkeypatch):
    _, folder = repository
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))

    assert len(folder_history(folder, 20).commits) == 3


def test_a_name_that_looks_like_a_pattern_or_an_option_is_a_name(repository):
    root, _ = repository
    for name in ("*", "--all"):
        (root / name).mkdir()
        (root / name / "x.json").write_text("1")
    commit(root, "odd names")

    for name in ("*", "--all"):
        assert [each.subject for each in folder_history(root / name, 20).commits] == ["odd names"]


@pytest.mark.parametrize("last", [0, -1, 1001])
def test_a_bound_out_of_range_is_one_line(repository, last):
    with pytest.raises(BenchError, match="--last"):
        folder_history(repository[1], last)


def test_where_there_is_nothing_to_read_one_line_says_so(repository, tmp_path, monkeypatch):
    root, folder = repository
    (tmp_path / "plain").mkdir()
    with pytest.raises(BenchError, match="give a folder within a repository"):
        folder_history(tmp_path / "plain", 5)
    with pytest.raises(BenchError, match=r"no commit of .* touches"):
        folder_history(root / "never", 5)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(BenchError, match="git cannot be run"):
        folder_history(folder, 5)
