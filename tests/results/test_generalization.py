"""Measures of generalization against the definitions of their authors, written out again."""

from dataclasses import replace

import numpy as np
import pytest

from bench.results.calibrations import ATA, CLEAN_STAR, STAR
from bench.results.finding import Finding
from bench.results.generalization import generalization, records
from bench.results.outcome import Done, Failed, Skipped, Verdicts
from bench.results.stats import paired_difference, wilson
from bench.threats import ThreatModel
from tests.report.simulated import L2, LINF, STADV, done, result

N = 64


def of(results, label="at"):
    (measured,) = (measured for row, measured in generalization(results) if row.defense.label == label)
    return {each.name: each for each in measured}


def cifar(attack, threat, outcome, **more):
    """On CIFAR-10, for which both papers calibrated their sizes."""
    made = result("at", attack, threat, outcome, **more)
    return replace(made, cell=replace(made.cell, slice=replace(made.cell.slice, dataset="cifar10")))


def verdicts(held):
    counts = np.asarray(held, dtype=np.uint8)
    return Done(Verdicts(1, np.ones_like(counts), counts))


def test_of_each_unseen_threat_the_worst_case_counts_and_of_all_the_mean():
    """Under L2 two attacks leave the images 20 to 39, under stAdv 10 are left: (20 + 10) / 2 of 64 on average."""
    first, last = np.arange(N) < 40, np.arange(N) >= 20
    results = [
        result(outcome=done(50), trained_on=(LINF,)),
        result("at", "one", L2, verdicts(first), trained_on=(LINF,)),
        result("at", "two", L2, verdicts(last), trained_on=(LINF,)),
        result("at", "stadv", STADV, done(10), trained_on=(LINF,)),
    ]

    found = of(results)

    mean = found["mean-unseen"]
    assert (mean.value, mean.bound, mean.over) == (15 / N, "", "2 threat models")
    assert mean.interval == pytest.approx(wilson(15, N))
    assert found["worst-unseen"].value == 0.0
    gap = found["gap"]
    assert gap.value == 50 / N
    assert gap.interval == paired_difference((np.arange(N) < 50).astype(float))


def test_an_attack_that_failed_makes_bounds_and_a_threat_without_a_number_none():
    """The seen worst case is known and the unseen one may still fall, so the gap may still grow."""
    seen = result(outcome=done(50), trained_on=(LINF,))
    one = result("at", "one", L2, done(20), trained_on=(LINF,))
    broken = result("at", "two", L2, Failed("broke"), trained_on=(LINF,))

    found = of([seen, one, broken])
    assert {name: found[name].bound for name in ("mean-unseen", "worst-unseen", "gap")} == {
        "mean-unseen": "<=",
        "worst-unseen": "<=",
        "gap": ">=",
    }

    none = of([seen, one, result("at", "stadv", STADV, None, trained_on=(LINF,))])
    assert none["mean-unseen"].value is None
    assert none["mean-unseen"].reason == "1 of 2 threat models have no number: stadv:0.8"
    skipped = of([seen, one, result("at", "stadv", STADV, Skipped("no"), trained_on=(LINF,))])
    assert skipped["mean-unseen"].value == 20 / N

    upper = of([result("at", "other", LINF, None, trained_on=(LINF,)), seen, one])
    assert upper["gap"].bound == "<="
    both = of([result("at", "other", LINF, None, trained_on=(LINF,)), seen, one, broken])
    assert (both["gap"].value, both["gap"].reason) == (None, "both worst cases are only upper bounds")


def test_uar_is_the_sum_of_accuracies_by_the_sum_of_those_of_training():
    """Kang et al.: of six sizes, in the unit of ddkang/advex-uar; what is missing is named instead."""
    held = (60, 50, 40, 30, 20, 10)
    linf = [cifar("pgd-20", ThreatModel.parse(f"Linf:{2**at}/255"), done(k)) for at, k in enumerate(held)]
    elastic = [cifar("elastic", threat, done(16), trained_on=(LINF,)) for threat in ATA["elastic"]]

    found = of(linf)
    assert found["UAR Linf"].value == pytest.approx(sum(held) / N / (0.910 + 0.878 + 0.816 + 0.713 + 0.465 + 0.231))
    assert found["mUAR"].value == found["UAR Linf"].value
    low, high = found["UAR Linf"].interval
    assert low < found["UAR Linf"].value < high

    part = of(linf[:4])
    assert "mUAR" not in part
    assert part["UAR Linf"].reason == "2 of 6 threat models have no number: Linf:16/255, Linf:32/255"

    trained = [cifar("pgd-20", each.cell.threat, each.outcome, trained_on=(LINF,)) for each in linf]
    both = of([*trained, *elastic])
    assert both["mUAR"].value == both["UAR elastic"].value == pytest.approx(1.5 / sum(ATA["elastic"].values()))
    assert both["mUAR"].over == "elastic"


def test_mean_uar_is_the_mean_of_the_families_that_are_not_in_the_training():
    results = [cifar("x", threat, done(16)) for family in ("elastic", "jpeg-l1") for threat in ATA[family]]

    found = of(results)

    assert found["mUAR"].value == pytest.approx((found["UAR elastic"].value + found["UAR jpeg-l1"].value) / 2)


def test_the_competitiveness_ratios_are_those_of_the_authors_code():
    """`metrics.py` and `SC` of `utils.js`, as loops over dictionaries; trained on Linf up to 8/255."""
    generator = np.random.default_rng(1)
    held = {threat: int(generator.integers(1, N)) for threat in STAR}
    results = [cifar("x", threat, done(k, right=58), trained_on=(LINF,)) for threat, k in held.items()]

    found = of(results)

    accuracies = {None: 100 * 58 / N, **{threat: 100 * k / N for threat, k in held.items()}}
    stars = {None: 100 * CLEAN_STAR, **{threat: 100 * star for threat, star in STAR.items()}}
    ratios = [accuracies[place] / stars[place] for place in stars]
    assert len(ratios) == 181
    assert found["CR ind-avg"].value == pytest.approx(sum(ratios) / 181)
    assert found["CR ind-worst"].value == pytest.approx(min(ratios))
    largest = 0.0
    for one in [None, *(threat for threat in STAR if threat.family == "Linf" and threat.eps <= LINF.eps)]:
        for other in STAR:
            near = abs(stars[one] - stars[other])
            if other != one and 0 < near < 3:
                largest = max(largest, abs(accuracies[one] - accuracies[other]) / near)
    assert found["SC"].value == pytest.approx(largest)
    low, high = found["CR ind-avg"].interval
    assert low < found["CR ind-avg"].value < high


def test_a_blocked_defense_has_no_measure_and_a_flag_goes_with_it():
    flag, block = (Finding("A05", how, "1", "0", "A05: why") for how in ("flag", "block"))

    (row,) = records([result(outcome=done(60), findings=(block,))])
    flagged = records([result(outcome=done(60), findings=(flag,))])

    assert (row["measure"], row["value"], row["reason"]) == ("", None, "A05: why")
    assert {row["measure"]: row["flagged"] for row in flagged} == {
        "mean-unseen": True,
        "worst-unseen": True,
        "gap": False,
    }
    assert [row["value"] for row in flagged] == [100 * 60 / N, 100 * 60 / N, None]


def test_only_cifar10_has_calibrated_sizes():
    """The same sizes on digits are other threats."""
    results = [result("at", "pgd-20", threat, done(5)) for threat in ATA["Linf"]]

    assert set(of(results)) == {"mean-unseen", "worst-unseen", "gap"}
