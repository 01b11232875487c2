"""`bench results merge`, as a user types it: what it says, and how it ends."""

import pytest

from bench.cli import main
from bench.results.store import Store
from tests.results.shards import MADE, cell, contents, fill


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def test_it_says_what_was_merged_what_is_missing_and_what_comes_next(tmp_path, capsys):
    fill("a", cell(), [0, 2])
    fill("b", cell(), [1], made={**MADE, "torch": "2.12.0"})
    fill("b", cell("fgsm"), [0])
    (tmp_path / "b" / "notes\x1b[2J.txt").write_text("mine")

    assert main(["results", "merge", "a", "b", "--into", "my results"]) == 0

    told = capsys.readouterr().out
    assert all(line.isprintable() for line in told.splitlines())
    lines = dict(line.split(maxsplit=1) for line in told.splitlines() if not line.startswith((" ", "note")))
    assert lines["merged"] == "a, b into my results/"
    assert lines["cells"] == "1 finished, 1 of them now, from shards, 1 lack shards"
    assert "--results 'my results'" in lines["next"]
    notes = [line for line in told.splitlines() if line.startswith("note")]
    assert len(notes) == 2
    assert "torch 2.12.0 and 2.13.0" in notes[0]
    assert "is none of ours" in notes[1]
    assert Store(tmp_path / "my results").find(cell()) is not None


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["a", "b", "--into", "all"], 5, "the verdicts in 'a/"),
        (["a", "gone", "--into", "all"], 2, "'gone' does not exist"),
        (["a", "--into", "a/digits"], 2, "lies within"),
        (["a"], 2, "--into"),
        (["--into", "all"], 2, "FOLDER"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(words, status, message, tmp_path, capsys):
    fill("a", cell())
    fill("b", cell(), flip=True)
    before = contents(tmp_path, runs=True)

    assert main(["results", "merge", *words]) == status

    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert contents(tmp_path, runs=True) == before
