"""Who spent the passes of a cell: kept in the store, printed by `bench show FILE`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cell import AttackRef, Cell, DefenseRef, Result, Slice
from bench.cli import main
from bench.costs import cost_table
from bench.outcome import Component, Cost, Done, Evidence, Ledger, Skipped, Verdicts, joined, worst_case
from bench.store import Store
from bench.tables import make_table
from bench.types import ThreatModel

RESERVE = (AttackRef("fab-t", "", "f"), AttackRef("square", "", "s", access="score"))


def make_cell(**attack):
    return Cell(
        DefenseRef("at", "at", "d"),
        AttackRef("audit", "", "a", reserve=RESERVE, **attack),
        ThreatModel.parse("Linf:0.2"),
        Slice("digits", "test", 4, "x"),
        seed=0,
        draws=1,
        batch=2,
    )


def done(label="pgd", forwards=(3, 0), backwards=(2, 0), broken=1, **evidence):
    array = np.array([1, 0], dtype=np.uint8)
    cost = Cost(sum(forwards), sum(backwards), 1)
    ledger = Ledger({label: Component(cost, 2, broken)}, forwards, backwards)
    return Done(Verdicts(1, array, array), cost, Evidence(**evidence), ledger)


def test_the_ledgers_of_shards_follow_each_other():
    """Examples in order; components and alarms add up."""
    whole = joined([done(sampled=1), done(forwards=(5, 6), escalated=2)])

    assert whole.ledger.forwards == (3, 0, 5, 6)
    assert whole.ledger.components == {"pgd": Component(Cost(14, 4, 2), 4, 2)}
    assert (whole.evidence.sampled, whole.evidence.escalated) == (1, 2)


def test_the_ledgers_of_attacks_on_the_same_examples_add_up():
    both = worst_case([done("one"), done("two", forwards=(1, 1), backwards=(0, 1))])

    assert both.ledger.forwards == (4, 1)
    assert both.ledger.backwards == (2, 1)
    assert list(both.ledger.components) == ["one", "two"]
    assert both.cost == Cost(5, 3, 2)


def test_the_store_keeps_the_ledger(tmp_path):
    cell, found = make_cell(), joined([done(), done(escalated=3)])

    Store(tmp_path).finish(cell, [found], {})

    stored = Store(tmp_path).find(cell)
    assert stored.ledger == found.ledger
    assert stored.cost == found.cost
    assert stored.evidence == found.evidence


def test_a_reference_with_stages_survives_the_store():
    """The members of a cascade, and what it holds back."""
    attack = make_cell(stages=(AttackRef("apgd-ce", "", "c"),), audited=0.1).attack

    assert AttackRef.from_json(attack.to_json()) == attack


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
    assert "pgd                   4         2       1,003            4         2" in printed
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


def test_a_table_says_which_cascade_raised_the_alarm():
    results = [
        Result(make_cell(), replace(joined([done(), done()]), evidence=Evidence(escalated=count))) for count in (0, 7)
    ]

    quiet, alarmed = (make_table([result]).notes for result in results)

    assert not any("attacked" in note for note in quiet)
    assert any(
        "at x audit (Linf:0.2)" in note and "fab-t, square attacked 7 more survivors" in note for note in alarmed
    )


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
