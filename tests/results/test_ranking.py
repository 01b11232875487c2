"""Ranks: shared until an exact test separates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.report.leaderboard import render_ranking
from bench.results.cell import Cell, Result, Slice
from bench.results.frame import rows
from bench.results.outcome import Cost, Done, Evidence, Failed, Skipped, Verdicts
from bench.results.ranking import ranking
from bench.threats import ThreatModel

LINF, L2 = ThreatModel.parse("Linf:8/255"), ThreatModel.parse("L2:0.5")


def _result(defense, attack, threat, outcome, *, draws=1, n=4, seed=0, trained_on=(LINF,), dataset="digits"):
    ref = DefenseRef(defense, defense, f"{defense}-digest", draws > 1, trained_on)
    part = Slice(dataset, "test", n, f"images-{n}")
    return Result(Cell(ref, AttackRef(attack, attack, f"{attack}-digest"), threat, part, seed, draws, 64), outcome)


def _done(adversarial, *, clean=None, draws=1, cost=None):
    adversarial = np.array(adversarial, dtype=np.uint8)
    clean = np.full_like(adversarial, draws) if clean is None else np.array(clean, dtype=np.uint8)
    return Done(Verdicts(draws, clean, adversarial), cost or Cost())


def _prefix(robust, n=200):
    return _done([1] * robust + [0] * (n - robust))


@pytest.fixture
def results():
    return [
        _result("at", "pgd-20", LINF, _done([1, 1, 0, 0], clean=[1, 1, 1, 0], cost=Cost(84, 42))),
        _result("at", "pgd-20", L2, Failed("RuntimeError:\n out of memory")),
        _result("ap", "pgd-20", LINF, _done([10, 5, 0, 0], clean=[10, 10, 9, 0], draws=10), draws=10, trained_on=()),
        _result("ap", "pgd-20", L2, Skipped("no such attack"), draws=10, trained_on=()),
    ]


def test_ranks_are_shared_until_the_exact_test_separates():
    """Of 200 examples 160, 157 and 80: three flips separate nothing, 77 do."""
    results = [_result(name, "pgd-20", LINF, _prefix(k), n=200) for name, k in (("a", 157), ("b", 80), ("c", 160))]

    places = [(item.row.defense.label, item.accuracy.value, item.rank) for item in ranking(results)]

    assert places == [("c", 0.8, 1), ("a", 0.785, 1), ("b", 0.4, 3)]


@pytest.mark.parametrize(("flips", "rank"), [(6, 1), (7, 2)])
def test_separation_is_two_sided_and_adjusted_over_all_pairs(flips, rank):
    """Three pairs: 7 flips one way have 3 x 2 x 2^-7 = .047 <= .05, 6 have .094; half as many would do unadjusted."""
    names = (("a", 100), ("b", 100 - flips), ("c", 100 - flips))
    results = [_result(name, "pgd-20", LINF, _prefix(k), n=200) for name, k in names]

    ranks = {item.row.defense.label: item.rank for item in ranking(results)}

    assert ranks == {"a": 1, "b": rank, "c": rank}


def test_a_stochastic_defense_is_ranked_by_its_mean():
    """Nine of ten draws on every example beat 60 % of the examples; two numbers of draws compare."""
    n = 100
    results = [
        _result("half", "pgd-20", LINF, _done([1] * 60 + [0] * 40), n=n),
        _result("often", "pgd-20", LINF, _done([9] * n, draws=10), n=n, draws=10),
        _result("thrice", "pgd-20", LINF, _done([2] * n, draws=3), n=n, draws=3),
    ]

    places = [(item.row.defense.label, item.rank) for item in ranking(results)]

    assert places == [("often", 1), ("thrice", 2), ("half", 2)]


def test_an_incomplete_worst_case_has_no_rank_and_takes_none(results):
    """An upper bound could only flatter: it stands last, and nobody is ranked against it."""
    gap = [_result("gap", "pgd-20", LINF, _prefix(200), n=200), _result("gap", "square", LINF, None, n=200)]
    whole = [_result("whole", name, LINF, _prefix(50), n=200) for name in ("pgd-20", "square")]

    places = [(item.row.defense.label, item.rank) for item in ranking([*gap, *whole])]

    assert places == [("whole", 1), ("gap", None)]
    ranks = {line["defense"]: line["rank"] for line in rows([*gap, *whole]) if line["column"] == "worst-all"}
    assert ranks == {"whole": "1", "gap": ""}


def test_one_more_attack_on_one_defense_takes_no_rank_away():
    """Ranked over what all were asked under, and the attack that is left out is named."""
    names = ("a", "b", "c")
    results = [
        _result(name, attack, LINF, _prefix(k), n=200)
        for name, k in zip(names, (160, 120, 80), strict=True)
        for attack in ("pgd-20", "apgd-ce")
    ]
    before = [(item.row.defense.label, item.rank, item.accuracy.value) for item in ranking(results)]

    more = [*results, _result("a", "square", LINF, _prefix(10), n=200)]
    after = [(item.row.defense.label, item.rank, item.accuracy.value) for item in ranking(more)]

    assert before == after == [("a", 1, 0.8), ("b", 2, 0.6), ("c", 3, 0.4)]
    assert "deterministic   a, 5.0 under what others lack" in render_ranking(more)
    assert "not all of these were asked under square (Linf:8/255): ranked without" in render_ranking(more)
    assert "ranked without" not in render_ranking(results)


def test_a_defense_that_was_asked_under_little_does_not_reduce_the_others_to_it():
    """Three stay ranked over two attacks; the fourth has no rank, whatever its number."""
    results = [
        _result(name, attack, LINF, _prefix(k), n=200)
        for name, k in (("a", 160), ("b", 120), ("c", 80))
        for attack in ("pgd-20", "apgd-ce")
    ]

    places = [
        (item.row.defense.label, item.rank)
        for item in ranking([*results, _result("new", "pgd-20", LINF, _prefix(190), n=200)])
    ]

    assert places == [("a", 1), ("b", 2), ("c", 3), ("new", None)]


@pytest.mark.parametrize("outcome", [Failed("boom"), None], ids=["failed", "not finished"])
def test_what_breaks_down_ranks_nobody_higher(outcome):
    """An attack that was asked for is not left out because it has no verdict."""
    results = [
        _result("a", "pgd-20", LINF, _prefix(160), n=200),
        _result("a", "square", LINF, outcome, n=200),
        _result("b", "pgd-20", LINF, _prefix(120), n=200),
        _result("b", "square", LINF, _prefix(110), n=200),
    ]

    assert [(item.row.defense.label, item.rank) for item in ranking(results)] == [("b", 1), ("a", None)]


def test_a_defense_without_a_finished_cell_is_left_out_of_the_ranks():
    """There is nothing to rank it by."""
    assert ranking([_result("at", "pgd-20", LINF, Failed("boom"))]) == []


def test_ranks_never_mix_slices_or_seeds():
    """Other images, another seed: everyone is first in a group alone."""
    results = [
        _result("a", "pgd-20", LINF, _prefix(200), n=200),
        _result("b", "pgd-20", LINF, _prefix(1), n=200, seed=1),
        _result("c", "pgd-20", LINF, _prefix(1), n=200, dataset="other"),
    ]

    assert [item.rank for item in ranking(results)] == [1, 1, 1]


def test_a_defense_of_which_parts_of_an_attack_found_no_gradient_has_no_rank():
    """160 of 200 under what was left of AutoAttack is an upper bound, and outranks nobody."""
    lost = replace(_prefix(160), evidence=Evidence(unable=("apgd-ce",)))
    results = [
        _result("masked", "autoattack", LINF, lost, n=200),
        _result("at", "autoattack", LINF, _prefix(80), n=200),
    ]

    found = {item.row.defense.label: (item.rank, item.accuracy.complete) for item in ranking(results)}

    assert found == {"at": (1, True), "masked": (None, False)}
    assert "<= 80.0" in render_ranking(results)
    (line,) = [line for line in rows(results) if line["defense"] == "masked" and line["column"] == "worst-all"]
    assert (line["rank"], line["outcome"], line["reason"]) == (
        "",
        "partial",
        "an upper bound: there is no gradient for apgd-ce",
    )


def test_an_attack_that_knew_the_draws_ranks_nobody():
    """Two of three defenses have the column: ranks, accuracies and what they are over stay as they were."""
    ranks = [_result(name, "pgd-20", LINF, _prefix(k), n=200) for name, k in (("a", 160), ("b", 120), ("c", 80))]
    known = [_result(name, "known-draws", LINF, _prefix(k), n=200) for name, k in (("a", 1), ("b", 100))]
    known = [replace(one, cell=replace(one.cell, attack=replace(one.cell.attack, known_draws=True))) for one in known]

    with_them = [(each.row.defense.label, each.rank, each.accuracy, each.own) for each in ranking([*ranks, *known])]

    assert with_them == [(each.row.defense.label, each.rank, each.accuracy, each.own) for each in ranking(ranks)]
    assert render_ranking([*ranks, *known]) == render_ranking(ranks)
