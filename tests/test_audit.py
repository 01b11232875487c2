"""The audit of published numbers: arithmetic against brute force, verdicts against what is known of AToP."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, hypergeom

from bench.audit.claim import AttackNumber, Claim, ClaimedProtocol, ClassifierAlone, Comparison, decimals
from bench.audit.comparison import examples_needed, unpaired_p
from bench.audit.faults import FAULTS
from bench.audit.logic import both, either, negated
from bench.audit.numbers import counts, nearest_count, truncated_count
from bench.audit.protocol import REFERENCE, differences, not_stated
from bench.audit.reading import parse_claim, read_claim
from bench.audit.report import audit_claim
from bench.cli.audit import audit
from bench.errors import BenchError
from bench.types import ThreatModel

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples" / "claims"

CLEAN = ClaimedProtocol(
    stochastic=True,
    purifier=True,
    attack="PGD-200 + EOT-20",
    reduced=False,
    gradient="full",
    loss="several",
    steps=200,
    restarts=3,
    eot=20,
    union=("bpda", "transfer"),
    draws=10,
    judged="worst",
    clean_twin=True,
    attacked_resolution=32,
    dataset_resolution=32,
    subset="fixed",
    seeded=("torch", "numpy", "python", "attack"),
    shared_randomness=False,
    interval=True,
    transform_on_every_example=True,
    purifier_range_matches=True,
    classifier_range_matches=True,
    checkpoint_verified=True,
    name_matches_code=True,
    code_complete=True,
    code_runs=True,
    outputs_released=True,
)
CLAIM = Claim(
    title="a number",
    source="somewhere",
    dataset="cifar10",
    threat=ThreatModel.parse("Linf:8/255"),
    robust=Decimal("45.0"),
    standard=Decimal("80.0"),
    n=1000,
    protocol=CLEAN,
)


def with_protocol(**changes):
    return dataclasses.replace(CLAIM, protocol=dataclasses.replace(CLEAN, **changes))


def applying(claim):
    return {fault.id for fault in FAULTS if fault.state(claim.protocol) == "applies"}


def undecided(claim):
    return {fault.id for fault in FAULTS if fault.state(claim.protocol) == "cannot be told"}


def example(name):
    return audit_claim(read_claim(EXAMPLES / f"{name}.toml"))


# k of n


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_the_possible_counts_are_those_whose_share_rounds_to_the_number(digits):
    """For every n up to 600: rounding each k, half up and half to even, gives the counts of every number nearby."""
    for n in range(1, 601):
        expected = {}
        for k in range(n + 1):
            below, rest = divmod(100 * 10**digits * k, n)
            up = below + (2 * rest >= n)
            even = below + (below % 2 if 2 * rest == n else 2 * rest > n)
            expected.setdefault(up, set()).add(k)
            expected.setdefault(even, set()).add(k)

        nearby = {value + step for value in expected for step in (-1, 0, 1)}
        for value in nearby & set(range(100 * 10**digits + 1)):
            assert set(counts(Decimal(value).scaleb(-digits), n)) == expected.get(value, set()), (value, n)


@settings(deadline=None)
@given(st.integers(1, 10**7), st.data(), st.integers(0, 6), st.sampled_from([ROUND_HALF_UP, ROUND_HALF_EVEN]))
def test_a_number_that_was_printed_from_a_count_is_never_called_impossible(n, data, digits, rule):
    k = data.draw(st.integers(0, n))
    # Exact to the half: with 50 digits no quotient of seven-digit numbers is mistaken for a tie.
    share = Decimal(100 * k * 10**20 // n).scaleb(-20) + (Decimal(1).scaleb(-21) if 100 * k * 10**20 % n else 0)
    printed = share.quantize(Decimal(1).scaleb(-digits), rule)

    assert k in counts(printed, n)


@pytest.mark.parametrize(
    ("printed", "n", "expected"),
    [
        ("72.85", 512, [373]),
        ("38.89", 512, []),
        ("80.02", 512, []),
        ("64.06", 64, [41]),
        ("90.04", 64, []),
        ("100", 512, [510, 511, 512]),
        ("0.00", 512, [0]),
        ("0.2", 512, [1]),  # 1/512 is 0.195 %
        ("12.5", 8, [1]),
        ("12", 8, [1]),  # half to even
        ("13", 8, [1]),  # half up
        ("38", 8, [3]),  # 37.5 goes to 38 by either rule
        ("37", 8, []),
    ],
)
def test_known_counts(printed, n, expected):
    assert list(counts(Decimal(printed), n)) == expected


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 10_000))
def test_the_nearest_count_is_the_nearest(n, hundredths):
    printed = Decimal(hundredths).scaleb(-2)

    k = nearest_count(printed, n)

    gaps = [abs(Fraction(100 * other, n) - Fraction(printed)) for other in (k - 1, k, k + 1)]
    assert 0 <= k <= n
    assert gaps[1] == min(gaps)


@pytest.mark.parametrize(("printed", "n", "expected"), [("38.86", 512, 199), ("38.87", 512, None), ("100", 3, 3)])
def test_a_number_that_was_cut_off_is_recognized(printed, n, expected):
    assert truncated_count(Decimal(printed), n) == expected


def test_an_impossible_number_comes_with_its_neighbors_and_the_sizes_that_allow_it():
    claim = dataclasses.replace(CLAIM, robust=Decimal("80.02"), standard=None, n=512)

    (robust,) = audit_claim(claim).numbers

    assert robust.possible is False
    assert [robust.share(k) for k in robust.neighbours] == ["409/512 = 79.883", "410/512 = 80.078"]
    sizes = robust.to_json()["possible_n"]
    assert 10_000 in sizes
    assert 512 not in sizes
    assert all(any(abs(Decimal(100 * k) / n - robust.printed) <= Decimal("0.005") for k in range(n)) for n in sizes)
    smaller = [n for n in range(1, min(sizes)) if counts(robust.printed, n)]
    assert smaller == []


def test_a_mean_of_draws_has_a_finer_grid_but_the_interval_of_its_examples():
    """At n=512 there is no 38.89; the mean of ten draws has it, and 64 examples stay 64."""
    claim = with_protocol(judged="mean", draws=10)
    ten = audit_claim(dataclasses.replace(claim, robust=Decimal("38.89"), standard=None, n=512)).numbers[0]
    one = audit_claim(dataclasses.replace(CLAIM, robust=Decimal("38.89"), standard=None, n=512)).numbers[0]

    assert (one.possible, ten.possible) == (False, True)
    assert ten.wilson(512).high - ten.wilson(512).low == pytest.approx(
        one.wilson(512).high - one.wilson(512).low, rel=0.01
    )
    assert ten.exact is None
    assert one.exact is not None


def test_runs_are_averaged_and_a_standard_accuracy_without_clean_twin_is_of_one_draw():
    """The mean of 3 runs over 10 draws is k of 30 n, the standard accuracy beside it k of 3 n."""
    claim = dataclasses.replace(with_protocol(judged="mean", draws=10, clean_twin=False), runs=3)

    robust, standard = audit_claim(claim).numbers

    assert (robust.cells, standard.cells) == (30_000, 3000)


def test_without_n_the_sizes_are_those_that_allow_every_number():
    audited = audit_claim(dataclasses.replace(CLAIM, robust=Decimal("80.27"), standard=Decimal("88.48"), n=None))

    assert {512, 1024, 10_000} <= set(audited.candidates)
    assert not {64, 100, 128, 256, 500, 1000} & set(audited.candidates)
    assert "n" in audited.not_stated
    assert audited.numbers[0].possible is None


def test_a_number_with_its_own_n_says_nothing_about_the_n_of_the_others():
    """80.02 is no k/512, but it is a number of 5000 other examples."""
    claim = dataclasses.replace(CLAIM, robust=Decimal("80.27"), n=None, standard=Decimal("80.02"), standard_n=5000)

    audited = audit_claim(claim)

    assert 512 in audited.candidates
    assert audited.numbers[1].possible is True


@pytest.mark.parametrize(
    ("printed", "n", "low", "high"),
    [
        ("59.18", 512, 54.9, 63.4),
        ("72.85", 512, 68.8, 76.5),
        ("59.57", 512, 55.3, 63.7),
        ("43.55", 512, 39.3, 47.9),
        ("56.25", 64, 44.1, 67.7),
        ("64.06", 64, 51.8, 74.7),
    ],
)
def test_the_intervals_of_the_published_numbers_are_the_known_ones(printed, n, low, high):
    item = audit_claim(dataclasses.replace(CLAIM, robust=Decimal(printed), n=n)).numbers[0].to_json()

    assert [round(end, 1) for end in item["wilson"]] == [low, high]
    exact = binomtest(item["counts"][0], n).proportion_ci(method="exact")
    assert item["clopper_pearson"] == pytest.approx([100 * exact.low, 100 * exact.high], abs=0.006)


# comparisons


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_the_unpaired_test_is_twice_the_smaller_hypergeometric_tail(n_a, n_b, data):
    a, b = data.draw(st.integers(0, n_a)), data.draw(st.integers(0, n_b))

    p = unpaired_p(a, n_a, b, n_b)

    law = hypergeom(n_a + n_b, n_a, a + b)
    smaller = min(law.cdf(a), law.sf(a - 1))
    assert p == pytest.approx(min(1.0, 2 * smaller), rel=1e-8, abs=1e-300)
    assert p == pytest.approx(unpaired_p(b, n_b, a, n_a), rel=1e-8, abs=1e-300)


def test_the_unpaired_test_is_quick_and_finite_at_the_largest_n():
    n = 10**7

    assert unpaired_p(0, n, n, n) == 0.0
    assert unpaired_p(n // 2, n, n // 2, n) == pytest.approx(1.0, abs=0.01)
    assert unpaired_p(n // 2 + 1200, n, n // 2 - 1200, n) == pytest.approx(0.2831, abs=1e-3)


@pytest.mark.parametrize(
    ("drop", "alpha", "expected"), [(0.01, 0.05, 29_796), (0.02, 0.01, 12_138), (0.05, 0.001, 3021), (0.05, 0.05, 1208)]
)
def test_the_examples_needed_are_those_of_the_planning_table(drop, alpha, expected):
    """Base 60 %, 80 % power, one-sided; the table's normal approximations differ by a percent or two."""
    assert examples_needed(0.6, 0.6 - drop, tail=alpha) == pytest.approx(expected, rel=0.02)


def test_the_examples_needed_are_for_the_two_sided_test_that_is_printed():
    """At that n about 80 % of simulated pairs are resolved, and at half of it far fewer."""
    generator = np.random.default_rng(3)

    def power(n):
        pairs = generator.binomial(n, [0.5625, 0.6406], size=(400, 2)).tolist()
        return sum(unpaired_p(a, n, b, n) < 0.05 for a, b in pairs) / len(pairs)

    needed = examples_needed(0.5625, 0.6406)
    assert power(needed) == pytest.approx(0.8, abs=0.06)
    assert power(needed // 2) < 0.6


def test_equal_numbers_need_no_examples_to_be_told_apart():
    assert examples_needed(0.5, 0.5) is None


def test_a_comparison_without_n_is_not_resolved():
    claim = dataclasses.replace(CLAIM, n=None, comparison=Comparison(Decimal("10.0")))

    contrast = audit_claim(claim).contrast

    assert contrast.resolved is None
    assert (contrast.points, contrast.needed) == ("+35.0", examples_needed(0.45, 0.1))


# logic, faults and the reference


@pytest.mark.parametrize("a", [True, False, None])
@pytest.mark.parametrize("b", [True, False, None])
def test_an_unknown_part_leaves_open_what_it_could_change(a, b):
    """The three-valued answer is what all the ways to fill in the unknown agree on."""
    fillings = [(x, y) for x in (True, False) for y in (True, False) if a in (x, None) and b in (y, None)]
    for connective, boolean in ((both, lambda x, y: x and y), (either, lambda x, y: x or y)):
        answers = {boolean(x, y) for x, y in fillings}
        assert connective(a, b) is (answers.pop() if len(answers) == 1 else None)
    assert negated(a) is (None if a is None else not a)


def test_the_reference_protocol_has_nothing_to_find():
    audited = audit_claim(CLAIM)

    assert audited.findings == []
    assert audited.exit_code == 0
    assert {fault.state(CLEAN) for fault in FAULTS} == {"does not apply"}


DETERMINISTIC = {
    "stochastic": False,
    "purifier": False,
    "attack": "AutoAttack",
    "version": "standard",
    **dict.fromkeys(("loss", "steps", "restarts", "eot", "union", "draws", "judged", "clean_twin")),
    **dict.fromkeys(("shared_randomness", "transform_on_every_example", "purifier_range_matches")),
    "seeded": ("attack",),
}


def test_a_deterministic_defense_needs_autoattack_and_none_of_what_randomness_asks_for():
    assert audit_claim(with_protocol(**DETERMINISTIC)).findings == []


def test_autoattack_rand_with_its_own_settings_is_as_good_as_pgd_with_eot():
    own = dict.fromkeys(("steps", "restarts", "loss", "eot"))

    assert audit_claim(with_protocol(attack="AutoAttack", version="rand", **own)).findings == []


SINGLE_FAULTS = [
    ("F1", {"transform_on_every_example": False}),
    ("F2", {"purifier_range_matches": False}),
    ("F2", {"checkpoint_verified": False}),
    ("F3", {"reduced": True}),
    ("F3", {"attack": "AutoAttack", "version": "standard", "eot": 20}),
    ("F3", {"eot": 1}),
    ("F4", {"gradient": "skipped", "eot": 1}),
    ("F5", {"classifier_range_matches": False}),
    ("F6", {**DETERMINISTIC, "eot": 10}),
    ("F7", {"subset": "shuffled"}),
    ("F8", {"shared_randomness": True}),
    ("F8", {"draws": 1}),
    ("F9", {"attacked_resolution": 256}),
    ("F10", {"name_matches_code": False}),
    ("F11", {"seeded": ("torch", "attack")}),
    ("F12", {"code_runs": False}),
    ("F13", {"code_complete": False}),
    ("F14", {"outputs_released": False}),
]


@pytest.mark.parametrize(("fault", "changes"), SINGLE_FAULTS)
def test_a_fault_is_found_by_its_own_field_and_alone(fault, changes):
    claim = with_protocol(**changes)

    assert applying(claim) == {fault}
    assert any(line.startswith(f"{fault} applies") for line in audit_claim(claim).findings)
    assert undecided(claim) == set()


def test_every_fault_has_been_triggered():
    assert {fault for fault, _ in SINGLE_FAULTS} == {fault.id for fault in FAULTS} == {f"F{i}" for i in range(1, 15)}


def test_eot_of_a_skipped_purifier_is_no_eot():
    assert applying(with_protocol(gradient="skipped", eot=10)) == {"F4", "F6"}


DECIDING = sorted({(fault.id, name) for fault in FAULTS for name in fault.fields if name not in ("version", "attack")})
# Where the other fields of a fault would decide already, the ones that do not.
OTHERS = {
    ("F1", "stochastic"): {"transform_on_every_example": False},
    ("F2", "purifier"): {"purifier_range_matches": False},
    ("F3", "stochastic"): {"eot": 1},
    ("F3", "gradient"): {"eot": 1},
    ("F6", "eot"): {"gradient": "skipped"},
    ("F8", "stochastic"): {"draws": 1},
    ("F11", "stochastic"): {"seeded": ("torch",)},
}


@pytest.mark.parametrize(("fault_id", "name"), DECIDING)
def test_a_field_that_is_not_stated_leaves_its_fault_open_and_is_named(fault_id, name):
    (fault,) = (fault for fault in FAULTS if fault.id == fault_id)

    protocol = with_protocol(**OTHERS.get((fault_id, name), {}), **{name: None}).protocol

    assert fault.state(protocol) == "cannot be told"
    assert fault.missing(protocol) == (name,)


def test_the_version_is_asked_for_where_the_attack_is_autoattack():
    (fault,) = (fault for fault in FAULTS if fault.id == "F3")

    assert fault.state(with_protocol(attack="AutoAttack").protocol) == "cannot be told"
    assert fault.missing(with_protocol(attack="AutoAttack").protocol) == ("version",)


WEAKER = {
    "attack": {**DETERMINISTIC, "attack": "PGD-1000", "steps": 1000, "restarts": 3, "loss": "several"},
    "version": {"attack": "AutoAttack", "version": "standard", "eot": 20},
    "gradient": {"gradient": "bpda"},
    "steps": {"steps": 99},
    "restarts": {"restarts": 2},
    "loss": {"loss": "ce"},
    "eot": {"eot": 19},
    "union": {"union": ("bpda",)},
    "draws": {"draws": 9},
    "judged": {"judged": "majority"},
    "clean_twin": {"clean_twin": False},
    "attacked_resolution": {"attacked_resolution": 64},
    "subset": {"subset": "shuffled"},
    "seeded": {"seeded": ("torch", "numpy", "python")},
    "shared_randomness": {"shared_randomness": True},
    "interval": {"interval": False},
}


@pytest.mark.parametrize("name", WEAKER)
def test_a_weaker_field_is_a_difference_from_the_reference(name):
    assert [item.field for item in differences(with_protocol(**WEAKER[name]))] == [name]


def test_a_single_draw_is_judged_one_shot_without_saying_so():
    found = {item.field: item.claimed for item in differences(with_protocol(draws=1, judged=None))}

    assert found["judged"] == "one-shot"


def test_fewer_examples_are_a_difference_from_the_reference():
    assert [item.field for item in differences(dataclasses.replace(CLAIM, n=999))] == ["n"]


def test_every_field_of_the_reference_has_been_tested():
    assert {item.keys[0] for item in REFERENCE} == {*WEAKER, "n"}


def test_a_claim_that_says_nothing_is_told_everything_it_left_out():
    claim = Claim("bare", Decimal("50.0"))

    asked = {key for item in REFERENCE for key in item.keys} - {"version"}
    assert set(not_stated(claim)) == asked | {"source", "dataset", "threat", "standard", "stochastic", "purifier"}
    assert undecided(claim) == {fault.id for fault in FAULTS}
    assert audit_claim(claim).exit_code == 1


# orders


def order(*numbers, standard="90.0", gradient="full"):
    table = tuple(AttackNumber(attack, Decimal(robust), path) for attack, robust, path in numbers)
    protocol = ClaimedProtocol(gradient=gradient)
    claim = Claim("t", Decimal("10.0"), standard=Decimal(standard), protocol=protocol, numbers=table)
    return list(audit_claim(claim).orders)


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [("FGSM", "PGD-20"), ("PGD-20", "AutoAttack"), ("fgsm", "AA"), ("BIM", "AutoAttack (rand)"), ("PGD-10", "PGD-100")],
)
def test_a_stronger_attack_that_leaves_more_is_flagged_and_the_usual_order_is_not(weaker, stronger):
    flagged = order((weaker, "40.0", None), (stronger, "41.5", None))
    usual = order((weaker, "40.0", None), (stronger, "40.0", None))

    assert len(flagged) == 1
    assert flagged[0].startswith(f"{stronger} (full gradient) is 1.5 points above {weaker}")
    assert usual == []


@pytest.mark.parametrize("pair", [("CW-100", "PGD-1000"), ("EoT", "BPDA"), ("Square", "FGSM"), ("PGD-10", "CW-20")])
def test_attacks_of_no_known_order_are_left_alone(pair):
    assert order((pair[0], "40.0", None), (pair[1], "60.0", None)) == []
    assert order((pair[0], "60.0", None), (pair[1], "40.0", None)) == []


def test_a_full_gradient_that_is_weaker_than_none_is_masked():
    flagged = order(("FGSM", "39.84", "full"), ("FGSM", "16.60", "skipped"))

    assert len(flagged) == 1
    assert "masked" in flagged[0]
    assert order(("FGSM", "16.60", "full"), ("FGSM", "39.84", "skipped")) == []
    assert order(("PGD-10", "39.84", "full"), ("FGSM", "16.60", "skipped")) == []


def test_robust_above_standard_accuracy_is_flagged_where_the_examples_are_the_same():
    assert "label leaking" in order(("FGSM", "90.1", None))[0]
    assert order(("FGSM", "90.0", None)) == []
    claim = dataclasses.replace(CLAIM, robust=Decimal("81.0"))
    assert "label leaking" in audit_claim(claim).orders[0]
    assert audit_claim(dataclasses.replace(claim, standard_n=512)).orders == ()


# standard accuracy beyond that of the classifier alone


def behind(alone, standard="73.44", n=512, alone_n=10_000, frozen=True, **protocol):
    """The orders of a purifier with that standard accuracy, in front of a classifier with the other."""
    claim = dataclasses.replace(
        with_protocol(**protocol),
        robust=Decimal("40.04"),
        standard=Decimal(standard),
        n=n,
        classifier=ClassifierAlone(Decimal(alone), n=alone_n, frozen=frozen),
    )
    return list(audit_claim(claim).orders)


def test_a_purifier_that_makes_its_frozen_classifier_better_is_flagged():
    """376 of 512 against 6734 of 10,000 is beyond what sampling does."""
    (line,) = behind("67.34")

    assert line.startswith(
        "standard accuracy 73.44 is 6.10 points above that of the classifier alone, 67.34 (p = 0.0041)"
    )
    assert "other weights, or a classifier that was trained further" in line


@pytest.mark.parametrize("n", [100, 512, 10_000])
def test_what_counts_as_above_is_what_the_sampling_of_both_does_not_explain(n):
    """The least gap that is flagged at an n is the least one that the exact test resolves there."""
    flagged = [k for k in range(n // 2, n + 1) if behind("50.00", f"{100 * k / n:.2f}", n=n, alone_n=n)]

    assert flagged == [k for k in range(n // 2 + 1, n + 1) if unpaired_p(k, n, n // 2, n) < 0.05]


@pytest.mark.parametrize("standard", ["67.34", "67.19", "40.04"])
def test_a_purifier_that_costs_standard_accuracy_is_the_usual_one(standard):
    assert behind("67.34", standard) == []


def test_a_classifier_that_was_trained_behind_the_purifier_may_be_better_and_so_may_another_defense():
    assert behind("67.34", frozen=False) == []
    assert behind("67.34", **DETERMINISTIC) == []


def test_the_examples_of_the_classifier_are_those_of_the_standard_accuracy_where_nothing_else_is_stated():
    """71.88 is 368 of 512 and 65.62 is 336: resolved at 512, and would not be at 64."""
    claim = dataclasses.replace(
        CLAIM, n=64, standard_n=512, robust=Decimal("45.31"), standard=Decimal("71.88"), classifier=None
    )
    alone = ClassifierAlone(Decimal("65.62"))

    assert len(audit_claim(dataclasses.replace(claim, classifier=alone)).orders) == 1
    assert audit_claim(dataclasses.replace(claim, standard_n=None, classifier=alone)).orders == ()


def test_without_n_a_gain_is_flagged_where_every_usual_n_that_allows_the_numbers_resolves_it():
    """52.73 and 73.44 are no k/64, k/100 or k/128; a gap of less than a point says nothing without n."""
    (resolved,) = example("atop-xcit-cifar100").orders
    (open_,) = behind("73.00", n=None)

    assert "p = 0.044 at n = 256, the smallest usual one that allows it" in resolved
    assert open_ == (
        "standard accuracy 73.44 is 0.44 points above that of the classifier alone, 73.00: "
        "cannot be told from sampling without n"
    )


def test_the_accuracy_of_the_classifier_alone_has_to_be_possible_too():
    claim = dataclasses.replace(CLAIM, classifier=ClassifierAlone(Decimal("80.02"), n=512))

    assert "classifier 80.02 is no k/512" in audit_claim(claim).findings


# the published numbers of AToP


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_read_and_is_found_wanting(path, capsys):
    status = audit(path, as_json=False)

    out = capsys.readouterr().out
    claim = read_claim(path)
    assert status == 1
    assert out.startswith(claim.title)
    assert out.isascii()
    assert claim.source is not None
    assert path.read_text().startswith("# Number")
    assert max(map(len, out.splitlines())) <= 120


EXPECTED = {
    "atop-gan-cifar10": (True, True, {"F3", "F8", "F9"}),
    "atop-gan-cifar100": (True, False, {"F3", "F8", "F9"}),
    "atop-ae-cifar10": (True, True, {"F3", "F8", "F9"}),
    "atop-xcit-cifar10": (None, None, set()),
    "atop-xcit-cifar100": (None, None, set()),
    "atop-rt1-classifier-only": (True, None, {"F4"}),
    "atop-rt2-purifier-skipped": (True, True, {"F4", "F6"}),
    "atop-rt3-purifier-skipped": (True, False, {"F4", "F6"}),
    "atop-rt2-full-gradient": (True, False, set()),
    "atop-rt2-skipped-against-full": (True, True, {"F4", "F6"}),
    "rt1-fgsm-two-gradients": (True, None, {"F3"}),
    "atop-rt2-fixed-mask": (True, True, set()),
    "rt1-tables-7-and-8": (True, None, {"F4"}),
    "atop-training-log-epoch-50": (True, None, {"F4", "F8", "F9"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_verdicts_on_an_example_are_the_known_ones(name):
    possible, resolved, attack_faults = EXPECTED[name]

    audited = example(name)

    assert audited.numbers[0].possible is possible
    assert (audited.contrast.resolved if audited.contrast else None) is resolved
    assert applying(audited.claim) & {"F3", "F4", "F6", "F8", "F9"} == attack_faults


def test_every_example_is_expected():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == set(EXPECTED)


def test_the_released_evaluation_of_atop_has_all_faults_but_the_two_of_its_training_notebooks():
    assert applying(example("atop-gan-cifar10").claim) == {fault.id for fault in FAULTS} - {"F4", "F6"}


def test_the_two_impossible_numbers_of_atop_are_found():
    assert "the same purifier without AToP 38.89 is no k/512" in example("atop-gan-cifar100").findings
    assert "standard 80.02 is no k/512" in example("atop-rt3-purifier-skipped").findings


def test_64_images_do_not_resolve_the_gain_of_atop():
    """64.06 against 56.25 at n=64: 41 against 36 images."""
    audited = example("atop-rt2-full-gradient")

    assert [item.count for item in audited.numbers] == [41, 461]
    assert audited.contrast.other.count == 36
    assert audited.contrast.p == pytest.approx(0.47, abs=0.005)
    assert audited.contrast.needed > 64


def test_skipping_the_purifier_overstates_but_the_protocols_differ_in_two_things():
    audited = example("atop-rt2-skipped-against-full")

    assert audited.contrast.points == "+16.99"
    assert (audited.contrast.claimed.n, audited.contrast.other.n) == (512, 64)
    assert "the two numbers compared come from different protocols" in audited.findings
    assert audited.contrast.other.wilson(64).high < 0.8105


def test_the_training_log_shows_label_leaking():
    (line,) = example("atop-training-log-epoch-50").orders

    assert line.startswith("FGSM (purifier skipped) 92.38 is above the standard accuracy 90.04")


def test_the_gradient_of_rt1_is_masked():
    (line,) = example("rt1-fgsm-two-gradients").orders

    assert "FGSM (full gradient) is 23.24 points above FGSM (purifier skipped)" in line


# the file and the command


def test_a_claim_keeps_the_decimals_that_were_printed():
    claim = parse_claim('title = "t"\nrobust = 70.10\nstandard = "90.0"\n[[numbers]]\nattack = "a"\nrobust = 7')

    printed = [claim.robust, claim.standard, claim.numbers[0].robust]
    assert [str(value) for value in printed] == ["70.10", "90.0", "7"]
    assert [decimals(value) for value in printed] == [2, 1, 0]


def test_a_claim_is_read_into_its_records():
    claim = parse_claim(
        'title = "two\\nlines \\u001b[31m"\nrobust = 1e1\nthreat = "linf:8/255"\nn = 5\n'
        "[comparison]\nrobust = 9\nsame_protocol = false\n"
        "[classifier]\nstandard = 93.10\nfrozen = false\n"
        '[protocol]\nunion = ["bpda"]\njudged = "mean"\nsteps = 7\nreduced = false'
    )

    assert claim == Claim(
        "two lines [31m",
        Decimal(10),
        threat=ThreatModel.parse("Linf:8/255"),
        n=5,
        comparison=Comparison(Decimal(9), same_protocol=False),
        classifier=ClassifierAlone(Decimal("93.10"), frozen=False),
        protocol=ClaimedProtocol(union=("bpda",), judged="mean", steps=7, reduced=False),
    )


START = 'title = "t"\nrobust = 50.0\n'
MISTAKES = {
    "no TOML": ("title = ", "not TOML"),
    "a key twice": (START + "robust = 5", "not TOML"),
    "nested too deeply": (START + "n = " + "[" * 50_000, "not TOML"),
    "no title": ("robust = 5", "no 'title'"),
    "no robust": ('title = "t"', "no 'robust'"),
    "an empty title": ('title = " "\nrobust = 5', "title is empty"),
    "an unknown key": (START + "robuts = 1", "did you mean robust"),
    "an unknown key of a table": (START + "[protocol]\nstepps = 1", "did you mean steps"),
    "a key of the protocol above it": (START + "eot = 20", r"below \[protocol\]"),
    "a key of the claim in a table": (START + "[protocol]\nn = 512", "above the first"),
    "robust above 100": ('title = "t"\nrobust = 130', "from 0 to 100"),
    "robust below 0": ('title = "t"\nrobust = -0.1', "from 0 to 100"),
    "robust nan": ('title = "t"\nrobust = nan', "from 0 to 100"),
    "robust inf": ('title = "t"\nrobust = inf', "from 0 to 100"),
    "robust as a word": ('title = "t"\nrobust = "high"', "from 0 to 100"),
    "robust as a truth value": ('title = "t"\nrobust = true', "as printed"),
    "robust as a share": ('title = "t"\nrobust = 0.7285', "such as 72.85"),
    "too many decimals": ('title = "t"\nrobust = 72.1234567', "at most 6"),
    "a vanishing number": ('title = "t"\nrobust = 1e-999999999', "decimals"),
    "an exponent beyond any": ('title = "t"\nrobust = 1e99999999999999999999', "not TOML|no accuracy"),
    "a long integer": ('title = "t"\nrobust = 1' + "0" * 5000, "TOML|no accuracy"),
    "n zero": (START + "n = 0", "n = 0 is out of range"),
    "n negative": (START + "n = -5", "out of range"),
    "n a string": (START + 'n = "512"', "no whole number"),
    "n a decimal number": (START + "n = 512.0", "no whole number"),
    "n a truth value": (START + "n = true", "no whole number"),
    "n beyond any": (START + "n = 10000001", "10,000,000"),
    "runs zero": (START + "runs = 0", "runs = 0 is out of range"),
    "a wrong threat": (START + 'threat = "Linf:8"', "did you mean 8/255"),
    "an unknown choice": (START + '[protocol]\ngradient = "half"', "full, bpda, skipped, none"),
    "an unknown choice in a list": (START + '[protocol]\nseeded = ["jax"]', "torch, numpy"),
    "a choice that is no list": (START + '[protocol]\nseeded = "torch"', "no list"),
    "a truth value in words": (START + '[protocol]\nreduced = "no"', "no truth value"),
    "a protocol that is no table": (START + "protocol = 5", "no table"),
    "numbers that are no tables": (START + "numbers = [1]", "no list of tables"),
    "a single table of numbers": (START + '[numbers]\nattack = "a"', "no list of tables"),
    "a number without attack": (START + "[[numbers]]\nrobust = 5", "no 'attack'"),
    "a comparison without number": (START + '[comparison]\ntitle = "a"', "no 'robust'"),
    "a classifier without standard accuracy": (START + "[classifier]\nn = 5", r"\[classifier\] has no 'standard'"),
    "a text that is none": (START + "source = 5", "no text"),
    "a date": (START + "source = 2023-11-01", "no text"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_a_claim_is_one_line_that_says_what_to_write(kind, tmp_path):
    text, message = MISTAKES[kind]
    path = tmp_path / "claim.toml"
    path.write_text(text)

    with pytest.raises(BenchError, match=message) as caught:
        read_claim(path)

    assert str(caught.value).startswith(f"claim {str(path)!r}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_claim_that_cannot_be_read_is_a_mistake(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b'title = "\xff"')
    (tmp_path / "huge.toml").write_bytes(b"# " + b"x" * (1 << 20))

    for name, message in [
        ("missing.toml", "no file"),
        (".", "no file"),
        ("binary.toml", "not UTF-8 text at byte 9"),
        ("huge.toml", "bytes"),
    ]:
        with pytest.raises(BenchError, match=message):
            read_claim(tmp_path / name)


def test_a_claim_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path):
    (tmp_path / "claim.toml").write_bytes(b"\xef\xbb\xbf" + START.replace("\n", "\r\n").encode())

    assert read_claim(tmp_path / "claim.toml") == Claim("t", Decimal("50.0"))


def test_the_json_says_all_that_the_screen_says(capsys):
    status = audit(EXAMPLES / "atop-gan-cifar100.toml", as_json=True)

    document = json.loads(capsys.readouterr().out)
    audited = example("atop-gan-cifar100")
    assert status == 1
    assert document["findings"] == audited.findings
    assert document["numbers"][0] | {"possible_n": []} == {
        "name": "robust",
        "printed": "43.55",
        "n": 512,
        "verdicts_per_example": 1,
        "possible": True,
        "counts": [223],
        "nearest": [],
        "wilson": [39.32, 47.88],
        "clopper_pearson": [39.21, 47.97],
        "possible_n": [],
    }
    assert document["comparison"]["resolved"] is False
    assert document["comparison"]["nearest"] == ["199/512 = 38.867", "200/512 = 39.062"]
    assert [fault["id"] for fault in document["faults"]] == [f"F{i}" for i in range(1, 15)]
    assert math.isclose(document["comparison"]["p_unpaired"], audited.contrast.p)


def test_a_claim_without_findings_says_so_and_exits_with_zero(tmp_path, capsys):
    lines = ['title = "t"', 'source = "s"', 'dataset = "d"', 'threat = "Linf:0.2"', "robust = 45.0", "standard = 80.0"]
    lines += ["n = 1000", "[protocol]"]
    for item in dataclasses.fields(CLEAN):
        value = getattr(CLEAN, item.name)
        lines += [] if value is None else [f"{item.name} = {json.dumps(value)}"]
    (tmp_path / "claim.toml").write_text("\n".join(lines))

    status = audit(tmp_path / "claim.toml", as_json=False)

    assert status == 0
    assert capsys.readouterr().out.endswith("nothing found\n")


def test_every_field_and_every_fault_is_in_the_documentation():
    page = (ROOT / "docs" / "claims.md").read_text()

    for kind in (Claim, ClaimedProtocol, Comparison, ClassifierAlone, AttackNumber):
        for item in dataclasses.fields(kind):
            assert f"`{item.name}`" in page or f"[{item.name}]" in page, item.name
    for fault in FAULTS:
        effect = "overstates" if fault.effect == "overstates" else "either way"
        assert f"| {fault.id} | {fault.title} | {effect}: {fault.does} |" in page


def test_the_claim_in_the_documentation_can_be_read():
    page = (ROOT / "docs" / "claims.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.S)

    assert audit_claim(parse_claim(block)).contrast.resolved is False
