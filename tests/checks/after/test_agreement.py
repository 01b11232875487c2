"""Each mark of a failed attack is named; a matrix that hangs together passes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.catalogue.refs import AttackRef, DefenseRef
from bench.checks.after.agreement import after
from bench.checks.after.group import DefenseUnderThreat, Measured
from bench.results.cell import Cell, Slice
from bench.results.finding import Finding
from bench.results.outcome import Component, Cost, Done, Evidence, Ledger, Verdicts
from bench.threats import ThreatModel

N = 64


OURS, A_FILE, A_LIBRARY = "bench.attacks.lp.pgd:PGD", "./mine.py:build", "bench.attacks.adapters.foolbox:Foolbox"


def measured(
    label,
    counts,
    *,
    draws=1,
    backwards=20,
    access="gradient",
    needs="",
    composite=False,
    silent=0,
    nonfinite=0,
    source=OURS,
):
    counts = np.asarray(counts, dtype=np.uint8)
    clean = np.full_like(counts, draws)
    attack = AttackRef(label, source, label, access=access, backwards=backwards, needs=needs)
    return Measured(attack, Done(Verdicts(draws, clean, counts), evidence=Evidence(silent, nonfinite)), composite)


def standing(k, n=N):
    """Verdicts on the first `n` of 64 examples, of which `k` stand, spread evenly: more k, more stand."""
    return [int(37 * index % N < k) for index in range(n)]


def group(table, probes=(), *, stochastic=False, draws=1, offers=(), asked=None, classes=10):
    defense = DefenseRef("mine", "mine.py:build", "d", stochastic=stochastic, offers=offers)
    cell = Cell(defense, table[0].attack, ThreatModel.parse("Linf:0.1"), Slice("digits", "test", N, "s"), 0, draws, 128)
    return DefenseUnderThreat(cell, classes, table, dict(probes), asked or [each.attack for each in table])


def verdicts(group):
    return {finding.id: finding.verdict for finding in after(group)}


def honest_probes(**changed):
    probes = {
        "half eps": standing(56, 32),
        "same eps": standing(40, 32),
        "double eps": standing(10, 32),
        "large eps": standing(0, 32),
        "double steps": standing(39, 32),
        "noise": standing(62, 32),
        **changed,
    }
    return {role: measured(role, counts) for role, counts in probes.items()}


HONEST = [
    measured("fgsm", standing(50), backwards=1),
    measured("pgd-20", standing(40)),
    measured("square", standing(41), access="score", backwards=0),
    measured("autoattack", standing(38), composite=True),
]


def test_a_matrix_that_hangs_together_raises_no_alarm():
    found = after(group(HONEST, honest_probes()))

    ran = [finding.id for finding in found if "not run" not in finding.message]
    assert ran == ["A01", "A02", "A03", "A04", "A05", "A06", "A08", "A12", "A14"]
    assert not [finding.message for finding in found if finding.alarming]


@pytest.mark.parametrize(
    ("id_", "probes"),
    [
        ("A01", {"large eps": standing(6, 32)}),
        ("A01", {"half eps": standing(30, 32)}),
        ("A04", {"double steps": standing(25, 32)}),
        ("A08", {"noise": standing(30, 32)}),
    ],
    ids=["large eps survived", "rises with eps", "twice the steps", "noise"],
)
def test_a_probe_that_breaks_more_than_the_table_is_flagged(id_, probes):
    found = after(group(HONEST, honest_probes(**probes)))

    assert {finding.id for finding in found if finding.alarming} - {"A03"} == {id_}


def test_one_example_more_is_no_alarm_and_two_are():
    one = [measured("pgd-20", standing(40)), measured("square", standing(39), access="score", backwards=0)]
    two = [measured("pgd-20", standing(40)), measured("square", standing(38), access="score", backwards=0)]

    assert verdicts(group(one))["A03"] == "pass"
    assert verdicts(group(two))["A03"] == "flag"


@pytest.mark.parametrize(("broken", "expected"), [(1, "pass"), (2, "flag")])
def test_what_a_black_box_breaks_of_what_gradients_left_in_a_cascade_is_flagged(broken, expected):
    """There each attack meets the survivors of those before it, so whatever it breaks, they missed."""
    whole = measured("autoattack", standing(38))
    stages = (AttackRef("apgd-ce", "", "a"), AttackRef("square", "", "b", access="score"))
    ledger = Ledger({"apgd-ce": Component(Cost(), N, 20), "square": Component(Cost(), N - 20, broken)})
    chained = replace(whole, attack=replace(whole.attack, stages=stages), done=replace(whole.done, ledger=ledger))
    derived = replace(chained, is_composite=True)
    others = [measured("pgd-20", standing(39)), measured("noise", standing(60), access="score", backwards=0)]

    assert verdicts(group([chained, *others]))["A03"] == expected
    assert verdicts(group([derived, *others]))["A03"] == "pass"


def test_one_step_that_beats_many_is_flagged():
    table = [measured("fgsm", standing(30), backwards=1), measured("pgd-20", standing(45))]

    assert verdicts(group(table))["A02"] == "flag"


def path(*table):
    """What A05 says of a table."""
    (finding,) = [finding for finding in after(group(table)) if finding.id == "A05"]
    return finding


def test_a_silent_success_of_ours_blocks():
    """Our attacks hand in what they find: where one did not, something is wrong with the harness or the defense."""
    finding = path(measured("pgd-20", standing(40), silent=1), measured("fgsm", standing(50), backwards=1))

    assert (finding.verdict, finding.attacks) == ("block", ())
    assert "1 silent successes in pgd-20" in finding.message


@pytest.mark.parametrize("source", [A_FILE, A_LIBRARY, "plugin.attacks:Best"])
def test_a_silent_success_of_an_attack_that_somebody_brought_flags_that_attack_alone(source):
    """The defense has done nothing: its number rests on the attacks that handed in what they found."""
    finding = path(measured("mine", standing(60), silent=7, source=source), measured("pgd-20", standing(40)))

    assert (finding.verdict, finding.attacks) == ("flag", ("mine",))
    assert "7 silent successes in mine: its column is no evidence" in finding.message
    assert "return the point that was misclassified" in finding.message


def test_a_number_that_rests_on_no_other_attack_is_blocked_with_the_remedy():
    one = measured("mine", standing(60), silent=7, source=A_FILE)
    other = measured("foolbox:X", standing(60), silent=1, source=A_LIBRARY)

    finding = path(one, other)

    assert (finding.verdict, finding.attacks) == ("block", ())
    assert "8 silent successes in mine, foolbox:X, and no other attack was run" in finding.message
    assert "return the point that was misclassified" in finding.message


def test_a_silent_success_of_ours_is_not_excused_by_one_of_somebody_else():
    finding = path(
        measured("mine", standing(60), silent=7, source=A_FILE),
        measured("pgd-20", standing(40), silent=1),
        measured("fgsm", standing(50)),
    )

    assert (finding.verdict, finding.value) == ("block", "8")


def test_a_cascade_of_ours_is_ours():
    whole = measured("audit", standing(38), silent=1, source="malt + apgd-ce")
    stages = (
        AttackRef("malt", "bench.attacks.lp.malt:MALT", "a"),
        AttackRef("apgd-ce", "bench.attacks.lp.apgd:APGD", "b"),
    )
    whole = replace(whole, attack=replace(whole.attack, stages=stages))

    assert path(whole, measured("pgd-20", standing(39))).verdict == "block"


def test_a_finding_about_some_attacks_survives_the_store_and_one_about_all_is_written_as_ever():
    some = path(measured("mine", standing(60), silent=7, source=A_FILE), measured("pgd-20", standing(40)))
    all_ = path(measured("pgd-20", standing(40), silent=1))

    for finding in (some, all_):
        assert Finding.from_json(json.loads(json.dumps(finding.to_json()))) == finding
    assert "attacks" not in all_.to_json()


def test_an_answer_that_is_not_finite_under_attack_blocks():
    """Clean and noisy images may be answered well; the adversarial ones tell."""
    table = [measured("pgd-20", standing(40), nonfinite=3), measured("fgsm", standing(40), backwards=1)]

    first = after(group(table))[0]

    assert (first.id, first.verdict, first.value) == ("S01", "block", "3/64")
    assert after(group(HONEST))[0].id == "A01"


def test_a_silent_success_is_counted_where_it_was_not_where_it_is_derived():
    """AutoAttack inherits the evidence of its parts; the part is the one to mend."""
    table = [
        measured("apgd-ce", standing(40), silent=2),
        measured("autoattack", standing(38), silent=2, composite=True),
    ]

    (finding,) = [each for each in after(group(table)) if each.id == "A05"]

    assert (finding.value, finding.message) == ("2", "A05: 2 silent successes in apgd-ce")


def test_a_surrogate_is_declared_and_a_table_of_surrogates_alone_blocks_a_purifier():
    blind = measured("blind", standing(60), needs="base")
    full = measured("pgd-20", standing(40))

    alone = verdicts(group([blind], offers=("base", "bpda")))
    both = verdicts(group([blind, full], offers=("base", "bpda")))

    assert (alone["A06"], alone["A09"]) == ("info", "block")
    assert (both["A06"], both["A09"]) == ("info", "pass")


def test_a_purifier_whose_gradient_is_masked_is_flagged():
    bpda = {"bpda": measured("bpda", standing(20, 32), needs="bpda")}

    found = verdicts(group([measured("pgd-20", standing(40))], bpda, offers=("base", "bpda")))

    assert found["A09"] == "flag"


def test_a_defense_no_better_than_its_base_is_flagged():
    table = [measured("pgd-20", standing(20))]
    same, worse = measured("pgd-20", standing(19)), measured("pgd-20", standing(2))

    assert verdicts(group(table, {"base": same}))["A11"] == "flag"
    assert verdicts(group(table, {"base": worse}))["A11"] == "pass"


def test_a_stronger_attack_that_leaves_more_is_flagged():
    table = [measured("pgd-20", standing(30)), measured("autoattack", standing(36), composite=True)]

    assert verdicts(group(table))["A12"] == "flag"


class TestStochastic:
    """The same for counts of ten draws: differences must be significant, not merely there."""

    def counts(self, mean, n=16, seed=0):
        return np.random.default_rng(seed).binomial(10, mean, n)

    def table(self, mean=0.6):
        return [
            measured("pgd-eot-20", self.counts(mean, N), draws=10),
            measured("fgsm", self.counts(0.8, N, 1), draws=10, backwards=1),
        ]

    def probes(self, **means):
        means = {"half eps": 0.8, "same eps": 0.6, "double eps": 0.2, "large eps": 0.0, "double steps": 0.6} | means
        return {
            role: measured(role, self.counts(mean, seed=index), draws=10)
            for index, (role, mean) in enumerate(means.items())
        }

    def build(self, **means):
        return group(self.table(), self.probes(**means), stochastic=True, draws=10)

    def test_noise_between_two_equally_strong_attacks_is_no_alarm(self):
        found = after(self.build(**{"double eot": 0.6, "noise": 0.95}))

        assert not [finding.message for finding in found if finding.alarming]

    @pytest.mark.parametrize(("id_", "role"), [("A04", "double steps"), ("A07", "double eot"), ("A08", "noise")])
    def test_a_clear_drop_is_flagged(self, id_, role):
        found = verdicts(self.build(**{role: 0.25}))

        assert found[id_] == "flag"

    def test_a_large_eps_may_leave_chance_level_and_no_more(self):
        assert verdicts(self.build(**{"large eps": 0.08}))["A01"] == "pass"
        assert verdicts(self.build(**{"large eps": 0.3}))["A01"] == "flag"

    def test_robustness_that_is_unforeseen_randomness_is_reported(self):
        probes = self.probes() | {"frozen": measured("pgd-20", [1, 1] + [0] * 14)}

        (finding,) = [
            each for each in after(group(self.table(), probes, stochastic=True, draws=10)) if each.id == "A10"
        ]

        assert finding.verdict == "info"
        assert "points of robustness come from randomness" in finding.message

    def test_a_frozen_defense_that_looks_more_robust_is_flagged(self):
        probes = self.probes() | {"frozen": measured("pgd-20", [1] * 16)}

        assert verdicts(group(self.table(), probes, stochastic=True, draws=10))["A10"] == "flag"
