"""Who spent the passes of a cell: kept in the store, printed by `bench show FILE`."""

from dataclasses import replace

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
