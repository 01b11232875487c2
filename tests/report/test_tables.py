"""The table: what stands where, and how each rendering shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.report.tables import make_table
from bench.results.cell import Cell, Result, Slice
from bench.results.outcome import Done, Evidence, Failed, Skipped, Verdicts, joined
from bench.threats import ThreatModel
from tests.report.costly import done, make_cell

LINF, L2 = ThreatModel.parse("Linf:8/255"), ThreatModel.parse("L2:0.5")


def _result(defense, attack, threat, outcome, *, draws=1, n=128, seed=0, trained_on=()):
    ref = DefenseRef(defense, defense, defense, draws > 1, trained_on)
    cell = Cell(
        ref, AttackRef(attack, attack, attack), threat, Slice("digits", "test", n, f"images-{n}"), seed, draws, 64
    )
    return Result(cell, outcome)


def _done(robust, *, n=128, draws=1, right=None):
    """The first `right` of n examples are correct without attack, the first `robust` under attack."""
    counts = np.arange(n)
    clean = np.where(counts < (n if right is None else right), draws, 0).astype(np.uint8)
    return Done(Verdicts(draws, clean, np.where(counts < robust, draws, 0).astype(np.uint8)))


@pytest.fixture
def results():
    """One deterministic and one stochastic defense, two attacks, two threats, every kind of outcome."""
    tenth = Done(Verdicts(10, np.full(128, 9, np.uint8), np.full(128, 3, np.uint8)))
    return [
        _result("at", "pgd-20", LINF, _done(70, right=100), trained_on=(LINF,)),
        _result("at", "pgd-20", L2, Failed("Violation:\n 3 examples"), trained_on=(LINF,)),
        _result("at", "pgd-eot-20", LINF, Skipped("one draw is no EOT"), trained_on=(LINF,)),
        _result("at", "pgd-eot-20", L2, Skipped("one draw is no EOT"), trained_on=(LINF,)),
        _result("atop[rt=2]", "pgd-20", LINF, tenth, draws=10),
        _result("atop[rt=2]", "pgd-20", L2, None, draws=10),
        _result("atop[rt=2]", "pgd-eot-20", LINF, tenth, draws=10),
        _result("atop[rt=2]", "pgd-eot-20", L2, tenth, draws=10),
    ]


def test_columns_are_standard_attacks_and_worst_cases(results):
    """The attacks stand in the given order with their threats beneath, then the worst cases."""
    table = make_table(results)

    assert [" ".join(lines) for lines in table.header] == [
        "defense",
        "n",
        "standard",
        "pgd-20 Linf:8/255",
        "pgd-20 L2:0.5",
        "pgd-eot-20 Linf:8/255",
        "pgd-eot-20 L2:0.5",
        "worst seen",
        "worst unseen",
        "worst all",
    ]


def test_a_stochastic_defense_takes_two_rows(results):
    """mean-of-10 and beneath it worst-of-10, whose standard accuracy is judged by all ten draws too."""
    rows = make_table(results).rows

    assert [(row[0].text, row[0].detail) for row in rows] == [
        ("at", "(deterministic)"),
        ("atop[rt=2]", "(mean-of-10)"),
        ("atop[rt=2]", "(worst-of-10)"),
    ]
    assert [row[2].text for row in rows] == ["78.1", "90.0", "0.0"]


def test_every_outcome_has_its_own_look(results):
    """Value with interval and seen mark, FAIL, a numbered dash, and dots for what is missing."""
    at, mean, _ = make_table(results).rows

    assert (at[3].text, at[3].detail, at[3].seen) == ("54.7", "[46.1, 63.0]", True)
    assert (at[4].text, at[4].detail) == ("FAIL", "")
    assert (at[5].text, at[5].note, at[6].note) == ("-", 1, 1)
    assert (mean[4].text, mean[4].detail) == ("...", "")
    assert (mean[3].text, mean[3].seen) == ("30.0", False)
    assert (mean[7].text, mean[7].note) == ("-", 2)


def test_a_worst_case_with_gaps_is_marked_as_a_bound(results):
    """Failed and missing cells leave an upper bound; a complete worst case carries no mark."""
    at, mean, _ = make_table(results).rows

    assert [(cell.text, cell.bound) for cell in at[7:]] == [("54.7", False), ("FAIL", False), ("54.7", True)]
    assert [(cell.text, cell.bound) for cell in mean[8:]] == [("30.0", True), ("30.0", True)]


def test_notes_explain_every_mark_that_is_there(results):
    """Footnotes carry the distinct reasons, and a small n is called smoke."""
    notes = make_table(results).notes

    starts = ["Accuracies in %", "worst seen", "mean-of-N", "* seen", "<= an upper", "FAIL", "..."]
    starts += ["[1] one draw is no EOT", "[2] no threat here was seen in training", "n=128 < 500", "n=128: a paired"]
    assert [note[: len(start)] for note, start in zip(notes, starts, strict=True)] == starts
    assert notes[-2] == "n=128 < 500: smoke numbers, not comparable with a leaderboard"


@pytest.mark.parametrize(("n", "smoke"), [(499, True), (500, False)])
def test_notes_explain_no_mark_that_is_not_there(n, smoke):
    """A plain table of 500 examples has two notes only."""
    table = make_table([_result("at", "pgd-20", LINF, _done(70, n=n), n=n)])

    seen_nothing = "[1] no threat here was seen in training"
    assert [seen_nothing in table.notes, len(table.notes)] == [True, 4 if smoke else 3]


def test_results_of_two_slices_do_not_share_a_table():
    """Rows over other images are not comparable; the message names what is there."""
    results = [_result("at", "pgd-20", LINF, None, n=n) for n in (128, 512)]

    with pytest.raises(BenchError, match="hold digits test n=128, digits test n=512: select one"):
        make_table(results)
    with pytest.raises(BenchError, match="hold none"):
        make_table([])


def test_rows_of_several_seeds_say_which():
    """Two seeds of one defense are two rows that can be told apart."""
    table = make_table([_result("at", "pgd-20", LINF, _done(70), seed=seed) for seed in (0, 1)])

    assert [row[0].detail for row in table.rows] == ["(deterministic, seed 0)", "(deterministic, seed 1)"]


def test_a_column_whose_attack_has_no_power_here_is_marked(monkeypatch):
    """A number that no attack has earned must not look like robustness."""
    from bench.catalogue.registry import AttackEntry, Registry
    from bench.report import tables

    weak = AttackEntry("dust", "m:a", "", "", ("Linf",), powerless={"digits": "the undefended model keeps 54 %"})
    known: Registry[AttackEntry] = Registry("attack", "bench.no-such-group")
    known.add(weak)
    monkeypatch.setattr(tables, "ATTACKS", known)

    table = make_table([_result("at", "dust", LINF, _done(70)), _result("at", "pgd-20", LINF, _done(60))])

    assert ("dust~", "Linf:8/255") in table.header
    assert ("pgd-20", "Linf:8/255") in table.header
    assert table.notes[-1] == "~ dust has no power here: the undefended model keeps 54 %"


def test_a_table_says_when_its_numbers_were_made_by_different_code():
    """The same versions, but somebody vouched for another state of the code in between."""
    made = [{"harness": "h1", "attack": "a1", "defense": "d1"}, {"harness": "h2", "attack": "a2", "defense": "d1"}]
    both = [
        replace(_result("at", attack, LINF, _done(70)), code=code)
        for attack, code in zip(("pgd-20", "fgsm"), made, strict=True)
    ]

    assert make_table(both).notes[-1] == "made by different code: harness h1 (1 cell), h2 (1 cell)"
    assert "different code" not in " ".join(make_table([replace(each, code=made[0]) for each in both]).notes)


def test_a_table_says_when_one_of_its_numbers_was_made_by_different_code():
    """Its shards were computed on machines with different versions: all cells alike, and yet not by one code."""
    code = {"harness": "h1", "attack": "a", "defense": "d", "torch": "2.12.0 and 2.13.0"}
    both = [replace(_result("at", attack, LINF, _done(70)), code=code) for attack in ("pgd-20", "fgsm")]

    assert make_table(both).notes[-1] == "made by different code: torch 2.12.0 and 2.13.0 (2 cells)"
    alike = [replace(each, code={**code, "torch": "2.13.0"}) for each in both]
    assert "different code" not in " ".join(make_table(alike).notes)
    hostile = [replace(each, code={**code, "torch": "1 and \x1b[2J"}) for each in both]
    assert all(line.isprintable() for line in make_table(hostile).notes)


def test_the_parts_of_an_attack_on_another_kind_of_defense_are_no_different_code():
    """AutoAttack is four attacks on a deterministic defense and two on a stochastic one."""
    one, two = _result("at", "autoattack", LINF, _done(70)), _result("atop", "autoattack", LINF, _done(70))
    two = replace(two, cell=replace(two.cell, attack=replace(two.cell.attack, source="apgd-ce + apgd-dlr")))
    one, two = (
        replace(each, code={"harness": "h", "attack": code, "defense": "d"})
        for each, code in ((one, "a+b"), (two, "a"))
    )

    assert "different code" not in " ".join(make_table([one, two]).notes)


def test_a_row_says_when_its_numbers_were_searched_for_in_different_formats():
    """Folders of two machines copied together: an example at the boundary is here broken and there not."""
    one, two = _result("at", "pgd-20", LINF, _done(70)), _result("at", "fgsm", LINF, _done(70))
    half = replace(two, cell=replace(two.cell, precision="bfloat16 channels-last / float32"))
    rows = replace(two, cell=replace(two.cell, precision="float32 / 160 rows"))

    said = "searched in different formats: at float32 (1 cell), bfloat16 channels-last / float32 (1 cell)"
    assert said in make_table([one, half]).notes
    assert "different formats" not in " ".join(make_table([one, rows]).notes)


def test_code_that_is_not_known_is_not_taken_for_the_same():
    one, two = _result("at", "pgd-20", LINF, _done(70)), _result("at", "fgsm", LINF, _done(70))

    notes = make_table([one, replace(two, code={"harness": "h1", "attack": "a1", "defense": "d1"})]).notes

    assert "made by different code: harness unknown (1 cell), h1 (1 cell)" in notes
    assert "made by different code: defense at unknown (1 cell), d1 (1 cell)" in notes


def test_a_table_says_which_cascade_raised_the_alarm():
    results = [
        Result(make_cell(), replace(joined([done(), done()]), evidence=Evidence(escalated=count))) for count in (0, 7)
    ]

    quiet, alarmed = (make_table([result]).notes for result in results)

    assert not any("attacked" in note for note in quiet)
    assert any(
        "at x audit (Linf:0.2)" in note and "fab-t, square attacked 7 more survivors" in note for note in alarmed
    )
