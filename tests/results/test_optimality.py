"""Optimality against the envelope of all attacks, in examples small enough to work out by hand."""

import numpy as np
import pytest

from bench.results.finding import Finding
from bench.results.optimality import overall, standings
from bench.results.outcome import Cost, Done, Evidence, Failed, Skipped, Verdicts
from bench.threats import ThreatModel
from tests.report.informed import both
from tests.report.simulated import L2, LINF, result


def outcome(clean, adversarial, draws=1, **evidence):
    counts = [np.array(each, dtype=np.uint8) for each in (clean, adversarial)]
    return Done(Verdicts(draws, *counts), Cost(20, 10), Evidence(**evidence))


def verdicts(attack, adversarial, *, clean=(1, 1, 1, 1, 0), threat=LINF, defense="at", **evidence):
    return result(defense, attack, threat, outcome(clean, adversarial, **evidence), n=len(clean))


def by_attack(results, what="optimality"):
    return {each.column.attack: getattr(each, what) for each in standings(results)}


def test_it_is_the_share_of_the_images_that_any_attack_breaks():
    """Of five images one is wrong before; one attack breaks images 0 and 1, another 1 and 2; together three."""
    results = [
        verdicts("a", [0, 0, 1, 1, 0]),
        verdicts("b", [1, 0, 0, 1, 0]),
        verdicts("c", [1, 1, 1, 1, 0]),
        verdicts("all", [0, 0, 0, 1, 0]),
    ]

    assert by_attack(results[:3]) == pytest.approx({"a": 2 / 3, "b": 2 / 3, "c": 0})
    assert by_attack(results[:3], "alone") == pytest.approx({"a": 1 / 5, "b": 1 / 5, "c": 0})
    assert by_attack(results) == pytest.approx({"all": 1, "a": 2 / 3, "b": 2 / 3, "c": 0})
    assert by_attack(results, "alone") == pytest.approx({"all": 0, "a": 0, "b": 0, "c": 0})


def test_the_strongest_comes_first_and_another_threat_apart():
    found = standings(
        [
            verdicts("weak", [1, 1, 1, 0, 0]),
            verdicts("strong", [0, 0, 1, 0, 0]),
            verdicts("l2", [1, 1, 0, 1, 0], threat=L2),
        ]
    )

    assert [(each.column.attack, each.optimality) for each in found] == [
        ("strong", 1.0),
        ("weak", pytest.approx(1 / 3)),
        ("l2", 1.0),
    ]
    assert found[0].passes == (4, 2)


def test_where_nothing_breaks_there_is_no_share():
    assert by_attack([verdicts("a", [1, 1, 1, 1, 0]), verdicts("b", [1, 1, 1, 1, 0])]) == {"a": None, "b": None}


def test_of_a_stochastic_defense_correct_draws_count():
    """18 of 20 draws are right without attack; 8 and 9 are left, and at least 5 by image: 10/13 and 9/13."""
    clean = [10, 8]
    results = [
        result("atop", attack, LINF, outcome(clean, adversarial, draws=10), draws=10, n=2)
        for attack, adversarial in (("a", [2, 6]), ("b", [6, 3]))
    ]

    assert by_attack(results) == pytest.approx({"a": 10 / 13, "b": 9 / 13})


def test_a_blocked_defense_has_no_number():
    block = Finding("A05", "block", "1", "0", "A05: why")

    (found,) = standings([result(outcome=outcome([1, 1], [0, 1]), n=2, findings=(block,))])

    assert found.score.state == "blocked"
    assert found.score.accuracy is found.optimality is found.area is found.alone is None


def test_a_failed_or_missing_attack_makes_the_others_bounds():
    """The envelope may lie lower: what is said of the others is then at most true."""
    known = verdicts("a", [0, 0, 1, 1, 0])

    for more in (Failed("broke"), None, outcome([1, 1, 1, 1, 0], [0, 0, 0, 1, 0], unable=("apgd-ce",))):
        found = {each.column.attack: each for each in standings([known, result(attack="b", outcome=more, n=5)])}
        assert found["a"].bounded
        assert found["b"].optimality is None
    (alone,) = standings([known, result(attack="b", outcome=Skipped("no"), n=5)])
    assert not alone.bounded


def test_a_partial_attack_still_lowers_the_envelope():
    """What it broke is broken, although it has no share of its own."""
    partial = verdicts("b", [0, 0, 0, 1, 0], unable=("apgd-ce",))

    assert by_attack([verdicts("a", [0, 0, 1, 1, 0]), partial]) == {"a": pytest.approx(2 / 3), "b": None}


def eps(size):
    return ThreatModel.parse(f"L2:{size}")


def test_the_area_of_distances_is_exact():
    """Distances 1, 3 and none within 4, and 2, 2 and none; one image is wrong before.

    The areas are (0 + 1 + 3 + 4) / 4 and (0 + 2 + 2 + 4) / 4; of the envelope (0 + 1 + 2 + 4) / 4; without attack 3.
    """
    clean = (0, 1, 1, 1)
    results = [
        verdicts("a", [0, 0, 0, 1], clean=clean, threat=eps(4), distances=(0.0, 1.0, 3.0, None)),
        verdicts("b", [0, 0, 0, 1], clean=clean, threat=eps(4), distances=(0.0, 2.0, 2.0, None)),
    ]

    assert by_attack(results, "area") == pytest.approx({"a": (12 - 8) / (12 - 7), "b": (12 - 8) / (12 - 7)})
    assert by_attack(results) == {"a": 1, "b": 1}


def test_distances_count_up_to_the_smallest_eps_that_all_were_run_at():
    results = [
        verdicts("a", [0, 0], clean=(1, 1), threat=eps(4), distances=(1.0, 3.0)),
        verdicts("b", [0, 1], clean=(1, 1), threat=eps(2), distances=(0.5, None)),
    ]

    # Up to 2: areas 1 + 2 and 0.5 + 2 of 4.
    assert by_attack(results, "area") == pytest.approx({"a": (4 - 3) / (4 - 2.5), "b": 1})


def test_the_area_of_sweeps_is_that_of_the_polygon_and_distances_are_read_at_its_sizes():
    """Two images and the sizes 1 and 3. The sweep leaves 1 and 0; the distances 0.5 and 3 leave 1 and 0 there.

    The accuracies 1, 0.5 and 0 at 0, 1 and 3 enclose 0.75 + 0.5. The sweep `b` leaves both at 1 and one at 3:
    1 + 1.5. Without attack the area is 3.
    """
    clean = (1, 1)
    results = [
        verdicts("a", [1, 0], clean=clean, threat=eps(1)),
        verdicts("a", [0, 0], clean=clean, threat=eps(3)),
        verdicts("b", [1, 1], clean=clean, threat=eps(1)),
        verdicts("b", [1, 0], clean=clean, threat=eps(3)),
        verdicts("fmn", [0, 0], clean=clean, threat=eps(4), distances=(3.0, 0.5)),
        verdicts("once", [0, 0], clean=clean, threat=eps(2)),
    ]

    found = {each.column.attack: each.area for each in standings(results)}

    assert found == {
        "a": pytest.approx((3 - 1.25) / (3 - 1.25)),
        "b": pytest.approx((3 - 2.5) / (3 - 1.25)),
        "fmn": pytest.approx(1),
        "once": None,
    }


def test_what_is_broken_near_stays_broken_far():
    """An attack that does worse at a larger eps could have stayed near; of noisy means that is not assumed."""
    results = [
        verdicts("a", [0, 1], clean=(1, 1), threat=eps(1)),
        verdicts("a", [1, 1], clean=(1, 1), threat=eps(2)),
        verdicts("b", [0, 1], clean=(1, 1), threat=eps(1)),
        verdicts("b", [0, 1], clean=(1, 1), threat=eps(2)),
    ]

    assert set(by_attack(results, "area").values()) == {1}
    noisy = [
        result("atop", "a", eps(size), outcome([10, 10], [left, 10], draws=10), draws=10, n=2)
        for size, left in ((1, 4), (2, 5))
    ]
    other = [
        result("atop", "b", eps(size), outcome([10, 10], [left, 10], draws=10), draws=10, n=2)
        for size, left in ((1, 8), (2, 6))
    ]
    # Per draw of the first image: 1, 0.4, 0.5 enclose 0.7 + 0.45, the envelope too; 1, 0.8, 0.6 enclose 0.9 + 0.7.
    assert by_attack([*noisy, *other], "area") == pytest.approx({"a": 1, "b": (2 - 1.6) / (2 - 1.15)})


def test_the_global_optimality_is_the_mean_over_defenses():
    """An attack without a number on one of them has none: the other may have been the easier one."""
    results = [
        verdicts("a", [0, 0, 1, 1, 0]),
        verdicts("b", [0, 0, 0, 0, 0]),
        verdicts("a", [0, 0, 0, 0, 0], defense="ap"),
        verdicts("b", [1, 0, 0, 0, 0], defense="ap"),
        verdicts("c", [1, 0, 0, 0, 0], defense="ap"),
    ]
    # The column of `c` is missing for the first defense, so that nothing there is more than a bound.
    assert overall(standings(results)) == {}
    assert overall(standings(results[:4])) == pytest.approx({("a", "Linf:8/255"): 0.75, ("b", "Linf:8/255"): 0.875})
    skipped = result("at", "c", LINF, Skipped("no"), n=5)
    assert overall(standings([*results, skipped])) == pytest.approx(
        {("a", "Linf:8/255"): 0.75, ("b", "Linf:8/255"): 0.875}
    )
    assert overall(standings(results[:2])) == {}


def test_an_attack_that_knows_the_draws_is_no_rival():
    """It attacks each draw on its own; beside it every other attack would look weak."""
    assert by_attack(both(robust=40, known=10)) == {"pgd-20": 1}
