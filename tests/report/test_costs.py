"""Who spent the passes of a cell: kept in the store, printed by `bench show FILE`."""

from dataclasses import replace

import pytest

from bench.catalogue.refs import AttackRef
from bench.report.costs import cost_table
from bench.results.cell import Result
from bench.results.outcome import Skipped, joined
from tests.report.costly import done, make_cell


def test_the_cost_table_tells_passes_per_example():
    """Forwards and backwards, what was wasted, and nothing where nothing was computed."""
    spent = Result(make_cell(), joined([done(), done(forwards=(1000, 0))]))
    other = replace(make_cell(), attack=AttackRef("fgsm", "", "g"))

    table = cost_table([spent, Result(other, Skipped("no")), Result(replace(other, seed=1), None)])

    assert table.header[2:] == (("audit", "Linf:0.2"), ("fgsm", "Linf:0.2"))
    first, second = table.rows
    assert (first[2].text, first[2].detail) == ("251+1", "(0.2 % wasted)")
    assert first[3].text == "-"
    assert [cell.text for cell in second[2:]] == ["...", "..."]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "(0.2 % wasted)"),
        (0.0, "(0 s, 0.2 % wasted)"),
        (0.123, "(0.12 s, 0.2 % wasted)"),
        (1234.5, "(1,234 s, 0.2 % wasted)"),
    ],
)
def test_the_cost_table_tells_seconds_where_they_are_known(seconds, told):
    spent = Result(make_cell(), joined([done(), done(forwards=(1000, 0))]), seconds=seconds)

    assert cost_table([spent]).rows[0][2].detail == told
