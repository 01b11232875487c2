"""Two defenses image by image: what is paired, what is left out, and when one is better."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from bench.catalogue.refs import AttackRef
from bench.errors import BenchError
from bench.results.cell import Slice
from bench.results.comparison import differences, row_of
from bench.results.finding import Finding
from bench.results.outcome import Done, Evidence, Failed, Skipped, Verdicts
from bench.results.stats import holm, paired_difference, smallest_detectable_drop
from tests.report.simulated import L2, LINF, STADV, done, result

N = 64


def compared(results, a="a", b="b"):
    found, notes = differences(row_of(results, a), row_of(results, b))
    return {(row.name, row.threat): row for row in found}, notes


def verdicts(adversarial, draws=1):
    counts = np.array(adversarial, dtype=np.uint8)
    return Done(Verdicts(draws, np.full_like(counts, draws), counts))


def test_the_numbers_are_those_of_the_pairs():
    """30 images only A gets right, 10 only B: accuracies, interval, McNemar's p, and all of it Holm-adjusted."""
    a, b = np.zeros(N), np.zeros(N)
    a[:40], b[30:50] = 1, 1

    rows, notes = compared([result("a", outcome=verdicts(a)), result("b", outcome=verdicts(b))])

    row = rows["pgd-20", "Linf:8/255"]
    assert (row.n, row.a, row.b, row.only_a, row.only_b) == (N, 40 / N, 20 / N, 30, 10)
    assert row.interval == paired_difference(a - b)
    assert row.p == pytest.approx(binomtest(30, 40).pvalue)
    assert (row.better, notes) == ("A", [])
    assert [each.adjusted for each in rows.values()] == holm([each.p for each in rows.values()])
    assert set(rows) == {("standard", ""), ("pgd-20", "Linf:8/255"), ("worst-unseen", ""), ("worst-all", "")}


def test_what_is_not_separated_says_what_would_be():
    """A smaller level for each of several numbers, and the flips that cancel out as noise."""
    a, b = np.zeros(N), np.zeros(N)
    a[:8], b[4:10] = 1, 1
    rows, _ = compared([result("a", outcome=verdicts(a)), result("b", outcome=verdicts(b))])

    row = rows["pgd-20", "Linf:8/255"]

    assert row.better == "not separated"
    level = 0.05 / (2 * len(rows))
    assert row.smallest == smallest_detectable_drop(N, level, noise=2 * 2 / N)


def test_counts_of_draws_are_compared_with_verdicts_in_shares():
    """Five of ten draws are half a verdict; nobody can say which images only one of them gets right."""
    rows, _ = compared(
        [result("a", outcome=verdicts([5] * N, 10), draws=10), result("b", outcome=verdicts([1] * 16 + [0] * 48))]
    )

    row = rows["pgd-20", "Linf:8/255"]

    assert (row.a, row.b, row.only_a, row.only_b) == (0.5, 0.25, None, None)
    assert row.better == "A"


def test_worst_cases_are_over_the_attacks_that_both_were_asked_for():
    """An attack of one defense alone is named and left out; one that is skipped for one is part of the other."""
    results = [
        result("a", outcome=done(60), trained_on=(LINF,)),
        result("b", outcome=done(50), trained_on=(LINF,)),
        result("a", "fgsm", L2, done(40), trained_on=(LINF,)),
        result("b", "fgsm", L2, Skipped("no"), trained_on=(LINF,)),
        result("a", "alone", STADV, done(0), trained_on=(LINF,)),
    ]

    rows, notes = compared(results)

    assert (rows["worst-all", ""].a, rows["worst-all", ""].b) == (40 / N, 50 / N)
    assert (rows["worst-seen", ""].a, rows["worst-seen", ""].b) == (60 / N, 50 / N)
    assert ("worst-unseen", "") not in rows
    assert notes == [
        "fgsm (L2:0.5) is left out: skipped for B",
        "not asked of both, and in no number here: alone (stadv:0.8)",
    ]


@pytest.mark.parametrize("outcome", [Failed("broke"), None])
def test_an_upper_bound_is_never_the_better_one(outcome):
    """A's worst case lacks a cell: above B it proves nothing, below B it is worse all the same."""

    def run(a, b):
        results = [result("a", outcome=done(a)), result("b", outcome=done(b))]
        results += [result("a", "fgsm", L2, outcome), result("b", "fgsm", L2, done(b))]
        rows, notes = compared(results)
        return rows["worst-all", ""], notes

    above, notes = run(60, 20)
    below, _ = run(20, 60)

    assert (above.bounds, above.better) == ("A", "no verdict")
    assert (below.bounds, below.better) == ("A", "B")
    assert notes == [f"fgsm (L2:0.5) is left out: {'failed' if outcome else 'missing'} for A"]


def test_a_flag_goes_with_the_number_and_a_block_forbids_it():
    flag, block = (Finding("A05", how, "1", "0", "A05: why") for how in ("flag", "block"))
    a = result("a", outcome=done(60))

    rows, _ = compared([a, result("b", outcome=done(20), findings=(flag,))])

    assert rows["worst-all", ""].flagged == rows["pgd-20", "Linf:8/255"].flagged == "B"
    with pytest.raises(BenchError, match="'b' has no number to compare: A05: why"):
        compared([a, result("b", outcome=done(20), findings=(block,))])


def test_folders_of_other_sizes_are_paired_image_by_image():
    """The first three of five, in another order; another attack of that name is no pair."""
    one = result("a", outcome=verdicts([1, 0, 1]))
    two = result("a", outcome=verdicts([0, 0, 0, 1, 1]))
    first = replace(one, cell=replace(one.cell, slice=Slice("digits", "test", 3, "3", ("x", "y", "z"))))
    other = replace(two, cell=replace(two.cell, slice=Slice("digits", "test", 5, "5", ("z", "u", "y", "x", "v"))))

    found, notes = differences(row_of([first], "a"), row_of([other], "a"))

    assert [(row.name, row.n, row.a, row.b) for row in found][1] == (
        "pgd-20",
        3,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
    )
    assert notes == ["only the 3 images that both have"]
    more = replace(other, cell=replace(other.cell, attack=AttackRef("pgd-20", "pgd-20", "x", config={"steps": 5})))
    found, notes = differences(row_of([first], "a"), row_of([more], "a"))
    assert "pgd-20" not in [row.name for row in found]
    assert "pgd-20 (Linf:8/255) is left out: its parameters differ" in notes
    apart = replace(two, cell=replace(two.cell, slice=Slice("digits", "test", 5, "6")))
    with pytest.raises(BenchError, match="no image in common"):
        differences(row_of([first], "a"), row_of([apart], "a"))


def test_a_label_has_to_be_there_and_to_be_clear():
    results = [result("at", outcome=done(5)), result("at", outcome=done(5), n=32)]

    with pytest.raises(BenchError, match="unknown defense of these results 'att': did you mean at"):
        row_of(results, "att")
    with pytest.raises(BenchError, match="several sets of images"):
        row_of(results, "at")


def test_what_lacks_parts_of_its_attack_is_a_bound_and_cannot_be_better():
    lost = replace(done(60), evidence=Evidence(unable=("apgd-ce",)))

    rows, _ = compared([result("a", outcome=lost), result("b", outcome=done(20))])

    assert {(row.bounds, row.better) for row in rows.values() if row.name != "standard"} == {("A", "no verdict")}
    assert rows["standard", ""].bounds == ""
