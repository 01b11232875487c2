"""One cell on the screen: who spent what."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import main
from bench.results.store import Store
from tests.report.costly import done, make_cell


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ({"sampled": 8}, "audit: fab-t, square tried on 8 survivors, none broke: at most 31.2 % would (95 %)"),
        ({"sampled": 8, "escalated": 70}, "alarm: fab-t, square attacked 70 more survivors"),
    ],
    ids=["quiet", "alarm"],
)
def test_show_prints_who_spent_what(tmp_path, capsys, evidence, expected):
    """Component by component, the spread over examples, and what became of an audit."""
    cell = make_cell()
    Store(tmp_path).finish(cell, [replace(done(**evidence)), done(forwards=(1000, 0))], {"torch": "2.13"})
    (path,) = Path(tmp_path).rglob("audit*.json")

    status = main(["show", str(path)])

    printed = capsys.readouterr().out
    assert status == 0
    assert "at x audit (Linf:0.2): 2 of 4 right under attack" in printed
    assert "pgd 4 2 1,003 4 2" in " ".join(printed.split())
    assert "forwards per attacked example: 3 to 1,000, median 502" in printed
    assert expected in printed
    assert "torch: 2.13" in printed


def test_a_file_that_is_no_cell_is_one_line(tmp_path, capsys):
    Store(tmp_path).fail(make_cell(), "it broke")
    (failed,) = Path(tmp_path).rglob("*.failed.json")

    statuses = [main(["show", str(tmp_path / "none.json")]), main(["show", str(failed)])]

    printed = capsys.readouterr().err
    assert statuses == [2, 2]
    assert "none.json': give the path of a cell in a results folder" in printed
    assert "is no finished cell: give one such as" in printed
