"""The text of a search: what was tried and spent, what was found, and why others were left out."""

from pathlib import Path

from bench.report.searched import as_text
from bench.results.searched import Searched, Tried

FOUND = Tried(("across-draws", "bpda[eot=4]"), 16, 0.125, 1600)
OUT = [Tried((name,), 0, 1.0, 0, "it has no\nbase") for name in ("blind", "bpda")]


def test_every_number_of_the_search_is_there_and_reasons_are_counted():
    where = ("mine", "Linf:0.1", "digits", 16, 3, 1000, "random search")

    text = as_text(Searched(*where, (FOUND, *OUT), 9000, FOUND), Path("found.toml"), [])

    lines = text.splitlines()
    assert lines[0] == "mine, digits validation, n=16, Linf:0.1, seed 3: random search"
    assert "1 attacks and sequences of them, 2 left out" in text
    assert "562 of 1,000 per image" in text
    assert "12.5 % right on 16 validation images, at 100 passes per image" in text
    assert [line.split() for line in lines if line.startswith(("found", "then"))] == [
        ["found", "across-draws"],
        ["then", "bpda[eot=4]"],
    ]
    # One line for each reason, whatever it holds.
    assert [line for line in lines if line.startswith("left out")] == ["left out     2: it has no base"]
    assert lines[-1] == "no attack has a number on the test images"
