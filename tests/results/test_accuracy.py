"""Accuracies derived from verdicts: judging, the worst case, seen and unseen, what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.errors import BenchError
from bench.results.accuracy import WORST_CASES, Column, by_slice, defense_rows
from bench.results.cell import Cell, Result, Slice
from bench.results.finding import Finding
from bench.results.judging import judges
from bench.results.outcome import Cost, Done, Failed, Skipped, Verdicts
from bench.threats import ThreatModel

LINF, LARGE, L2 = (ThreatModel.parse(text) for text in ("Linf:0.1", "Linf:0.2", "L2:1"))


def _defense(label="at", *, stochastic=False, digest=None):
    return DefenseRef(label, label, digest or f"{label}-digest", stochastic, (LINF,))


def _result(attack, threat, outcome, *, defense=None, draws=1, n=4, seed=0):
    part = Slice("digits", "test", n, f"images-{n}")
    return Result(
        Cell(defense or _defense(), AttackRef(attack, attack, attack), threat, part, seed, draws, 32), outcome
    )


def _done(adversarial, *, clean=None, draws=1, cost=None):
    adversarial = np.array(adversarial, dtype=np.uint8)
    clean = np.full_like(adversarial, draws) if clean is None else np.array(clean, dtype=np.uint8)
    return Done(Verdicts(draws, clean, adversarial), cost or Cost())


def _row(*results):
    (row,) = defense_rows(results)
    return row


MEAN, WORST, MAJORITY, RESUBMISSION = judges(stochastic=True, draws=10)
ONCE = judges(stochastic=False, draws=1)[0]


def test_a_lucky_example_is_not_robust_in_the_worst_of_n():
    """Right in 3 of 10 draws as it is, in 10 of 10 under a clumsy attack: not a robust example."""
    stochastic = _defense(stochastic=True)
    row = _row(_result("a", LINF, _done([10, 10], clean=[3, 10], draws=10), defense=stochastic, draws=10, n=2))

    values = {judge.rule: row.worst("all", judge).accuracy.value for judge in row.judges}

    assert values == {"mean": 1.0, "worst": 0.5, "majority": 0.5, "resubmission": 1.0}
    assert row.score(row.columns[0], WORST).accuracy.value == 0.5


def test_the_worst_case_is_an_and_over_attacks_per_example():
    """Two attacks break different halves: each leaves 50 %, together they leave nothing."""
    row = _row(_result("a", LINF, _done([1, 1, 0, 0])), _result("b", LINF, _done([0, 0, 1, 1])))

    worst = row.worst("all", ONCE)

    assert [row.score(column, ONCE).accuracy.value for column in row.columns] == [0.5, 0.5]
    assert (worst.state, worst.accuracy.value, worst.accuracy.complete) == ("done", 0.0, True)


@given(st.data(), st.sampled_from([1, 2, 10]), st.integers(1, 12), st.integers(1, 4))
def test_the_worst_case_is_never_above_any_column(data, draws, n, attacks):
    """Whatever the counts, however judged: no attack alone shows a lower accuracy than the worst case."""
    count = st.lists(st.integers(0, draws), min_size=n, max_size=n)
    defense = _defense(stochastic=draws > 1)
    threats = [LINF, LARGE, L2]
    row = _row(
        *(
            _result(f"a{i}", data.draw(st.sampled_from(threats)), _done(data.draw(count), draws=draws),
                    defense=defense, draws=draws, n=n)
            for i in range(attacks)
        )
    )  # fmt: skip

    for judge in row.judges:
        for which in WORST_CASES:
            columns = [row.score(column, judge).accuracy.value for column in row.chosen(which)]
            accuracy = row.worst(which, judge).accuracy
            assert (accuracy is None) == (not columns)
            assert accuracy is None or accuracy.value <= min(columns)
    values = [row.worst(which, row.judges[0]).accuracy for which in WORST_CASES]
    assert values[2].value <= min(v.value for v in values if v)


def test_seen_and_unseen_part_the_attacks_by_threat():
    """Trained on Linf:0.1: that ball is seen; a larger one and another norm are not."""
    row = _row(
        _result("a", LINF, _done([1, 1, 1, 0])),
        _result("a", LARGE, _done([1, 1, 0, 0])),
        _result("a", L2, _done([0, 1, 1, 1])),
    )

    values = [row.worst(which, ONCE).accuracy.value for which in WORST_CASES]

    assert values == [0.75, 0.25, 0.25]
    assert row.seen(Column("a", LINF))
    assert not row.seen(Column("a", LARGE))


@pytest.mark.parametrize(("threat", "which", "reason"), [(L2, "seen", "no threat"), (LINF, "unseen", "every threat")])
def test_a_worst_case_over_no_attack_is_not_a_hundred_percent(threat, which, reason):
    """Nothing seen, or nothing unseen: there is no number, and the reason is given."""
    score = _row(_result("a", threat, _done([1, 1, 1, 1]))).worst(which, ONCE)

    assert (score.state, score.accuracy) == ("skipped", None)
    assert score.reason.startswith(reason)


def test_skipped_cells_are_left_out_of_the_worst_case():
    """A meaningless pair is no gap: the worst case over the others is complete."""
    row = _row(_result("a", LINF, _done([1, 0, 0, 0])), _result("b", LINF, Skipped("no gradient")))

    worst = row.worst("all", ONCE)

    assert (worst.state, worst.accuracy.value, worst.accuracy.complete) == ("done", 0.25, True)
    skipped = row.score(Column("b", LINF), ONCE)
    assert (skipped.state, skipped.accuracy, skipped.reason) == ("skipped", None, "no gradient")


@pytest.mark.parametrize(("outcome", "state"), [(Failed("boom"), "failed"), (None, "missing")])
def test_a_gap_makes_the_worst_case_partial(outcome, state):
    """A failed or missing attack could only have lowered it: the value stands as an upper bound."""
    row = _row(_result("a", LINF, _done([1, 0, 0, 0])), _result("b", LINF, outcome))

    worst = row.worst("all", ONCE)

    assert (worst.state, worst.accuracy.value, worst.accuracy.complete) == ("partial", 0.25, False)
    assert worst.reason == "an upper bound: 1 of 2 cells failed or missing"
    assert row.score(Column("b", LINF), ONCE).state == state
    assert row.score(Column("b", LINF), ONCE).accuracy is None


def test_a_gap_among_the_unseen_leaves_the_seen_complete():
    """Incomplete is what lacks a cell, not the whole row."""
    row = _row(_result("a", LINF, _done([1, 0, 0, 0])), _result("a", L2, Failed("boom")))

    states = [row.worst(which, ONCE).state for which in WORST_CASES]

    assert states == ["done", "failed", "partial"]


def test_a_column_only_another_defense_has_is_missing():
    """A defense spared one attack must not look better than those that faced it."""
    spared, faced = defense_rows(
        [
            _result("a", LINF, _done([1, 1, 1, 1]), defense=_defense("spared")),
            _result("a", LINF, _done([1, 1, 1, 1]), defense=_defense("faced")),
            _result("b", LINF, _done([0, 1, 1, 1]), defense=_defense("faced")),
        ]
    )

    assert spared.score(Column("b", LINF), ONCE).state == "missing"
    assert spared.worst("all", ONCE).state == "partial"
    assert faced.worst("all", ONCE).state == "done"


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([Failed("boom"), None, Skipped("why")], "failed"),
        ([None, Skipped("why"), Skipped("why")], "missing"),
        ([Skipped("why")] * 3, "skipped"),
    ],
)
def test_without_a_finished_cell_the_most_alarming_state_shows(outcomes, state):
    """Standard accuracy and worst case of a row with no verdicts: failed before missing before skipped."""
    row = _row(*(_result(f"a{i}", LINF, outcome) for i, outcome in enumerate(outcomes)))

    for score in (row.standard(ONCE), row.worst("all", ONCE)):
        assert (score.state, score.accuracy) == (state, None)
        assert score.reason


@pytest.fixture
def discarding():
    """A defense whose number rests on `pgd-20`, beside an attack that a check says discards its successes."""
    told = Finding("A05", "flag", "7", "0", "A05: silent", attacks=("mine",))
    results = [_result("mine", LINF, _done([1, 1, 1, 1])), _result("pgd-20", LINF, _done([1, 1, 0, 0]))]
    return [*(replace(result, findings=(told,)) for result in results), _result("pgd-20", L2, _done([1, 1, 1, 0]))]


def test_a_finding_about_one_attack_marks_its_column_and_the_worst_cases_it_is_part_of(discarding):
    row = _row(*discarding)

    alarmed = {(column.attack, str(column.threat)): row.score(column, ONCE).alarmed for column in row.columns}
    assert alarmed == {("mine", "Linf:0.1"): True, ("pgd-20", "Linf:0.1"): False, ("pgd-20", "L2:1"): False}
    assert [row.worst(which, ONCE).alarmed for which in WORST_CASES] == [True, False, True]
    assert row.blocks == ()


def test_a_finding_about_one_attack_is_not_told_of_a_table_without_it(discarding):
    assert list(_row(*discarding).alarms.values()) == [(LINF,)]
    assert _row(*discarding[1:]).alarms == {}


def test_standard_accuracy_comes_from_the_clean_verdicts():
    """It is judged as the robust accuracy is: clean worst-of-10 beside worst-of-10."""
    outcome = _done([0, 0, 0, 0], clean=[10, 10, 5, 0], draws=10)
    row = _row(_result("a", LINF, outcome, defense=_defense(stochastic=True), draws=10))

    values = [row.standard(judge).accuracy.value for judge in row.judges]

    assert values == [0.625, 0.5, 0.5, pytest.approx((2 + 1 / 252) / 4)]


def test_the_cost_of_a_worst_case_is_what_its_attacks_cost_together():
    """Passes add up over the finished cells only."""
    row = _row(
        _result("a", LINF, _done([1, 1, 1, 1], cost=Cost(10, 5))),
        _result("b", LINF, _done([1, 1, 1, 1], cost=Cost(100, 50))),
        _result("c", L2, _done([1, 1, 1, 1], cost=Cost(7, 7))),
        _result("d", LINF, Failed("boom")),
    )

    assert row.cost("seen") == Cost(110, 55)
    assert row.cost("all") == Cost(117, 62)


def test_rows_are_parted_by_slice_seed_and_draws_in_the_given_order():
    """Verdicts on other images, of another seed or number of draws never enter one accuracy."""
    one = _defense(stochastic=True)
    results = [
        _result("a", LINF, None, defense=one, draws=10),
        _result("a", LINF, None, defense=one, draws=10, seed=1),
        _result("a", LINF, None, defense=one, draws=1),
        _result("a", LINF, None, defense=one, draws=10, n=8),
    ]

    rows = defense_rows(results)

    assert [(row.slice.n, row.seed, row.draws) for row in rows] == [(4, 0, 10), (4, 1, 10), (4, 0, 1), (8, 0, 10)]
    assert by_slice(results) == [results[:3], results[3:]]


def test_two_results_for_one_place_are_refused():
    """Choosing one of them silently could only mislead."""
    results = [_result("a", LINF, _done([1, 1, 1, 1])), _result("a", LINF, _done([0, 0, 0, 0]))]

    with pytest.raises(BenchError, match=r"two results for at x a \(Linf:0.1\) \(seed 0\)"):
        defense_rows(results)


def test_one_label_for_two_defenses_is_refused():
    """A worst case over attacks on two different defenses is the worst case of neither."""
    results = [_result("a", LINF, None), _result("b", LINF, None, defense=_defense(digest="other"))]

    with pytest.raises(BenchError, match="'at' stands for two different ones"):
        defense_rows(results)


def test_an_attack_that_knew_the_draws_is_a_column_and_in_no_worst_case():
    """It breaks every example; what nobody could know still counts, and the column alone says what was known."""
    stochastic = _defense(stochastic=True)
    usual = _result("a", LINF, _done([10, 8], draws=10), defense=stochastic, draws=10, n=2)
    known = _result("known-draws", LINF, _done([0, 0], draws=10), defense=stochastic, draws=10, n=2)
    known = replace(known, cell=replace(known.cell, attack=replace(known.cell.attack, known_draws=True)))
    row = _row(usual, known)

    assert [column.attack for column in row.attacked] == ["a"]
    assert [column.attack for column in row.known_draws] == ["known-draws"]
    assert {row.worst(which, MEAN).accuracy.value for which in ("seen", "all")} == {0.9}
    assert row.lowest(MEAN).accuracy.value == 0.9
    assert row.score(row.known_draws[0], MEAN).accuracy.value == 0.0
    assert _row(known).worst("all", MEAN).state == "skipped"
