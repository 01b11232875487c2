"""The claims of a study: paired, corrected, and honest about what was not measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from bench.catalogue import study
from bench.catalogue.selection import Selection
from bench.catalogue.study import AttackProtocol, Claim, Study
from bench.cli import main
from bench.datasets.digits import digits
from bench.errors import BenchError
from bench.harness.matrix import build
from bench.report import claims as contest
from bench.results.cell import Result
from bench.results.finding import Finding
from bench.results.outcome import Cost, Done, Evidence, Failed, Skipped, Verdicts
from bench.results.stats import holm, sign_flip
from bench.threats import ThreatModel

N = 60
THREATS = tuple(map(ThreatModel.parse, ("Linf:0.2", "L2:1")))
PROTOCOLS = (AttackProtocol("official", ("blind",), ("fgsm",)), AttackProtocol("adaptive", ("pgd-20", "apgd-ce")))
SEEN = Claim("above AP", "atop", "ap", "seen")
UNSEEN = Claim("above AT", "atop", "at", "unseen")
STANDARD = Claim("more accurate", "atop", "at", "standard")


def drawn(share, seed, draws):
    return np.random.default_rng(seed).binomial(draws, share, N).astype(np.uint8)


def results_of(shares, clean=None, broken=()):
    """A result for each cell of three defenses: `shares` by (defense, attack, family), else .5."""
    plan = build(Selection.of("atop,ap,at", "blind,fgsm,pgd-20,apgd-ce", THREATS), digits("test").first(N))
    found = []
    for planned in plan:
        cell = planned.cell
        place = (cell.defense.label, cell.attack.label, cell.threat.family)
        left = drawn(shares.get(place, 0.5), 1 + len(found), cell.draws)
        unharmed = drawn((clean or {}).get(cell.defense.label, 1.0), 0, cell.draws)
        outcome = Done(Verdicts(cell.draws, unharmed, left), Cost())
        if planned.skip:
            outcome = Skipped(planned.skip)
        found.append(Result(cell, Failed("boom") if place in broken else outcome))
    return found


def compare(results, *claims, protocols=PROTOCOLS):
    return contest.comparisons(results, Study("test", {}, (), (), protocols, claims))


def counts_of(results, *place):
    (found,) = [r for r in results if (r.cell.defense.label, r.cell.attack.label, r.cell.threat.family) == place]
    return found.outcome.verdicts.adversarial.astype(np.int64)


def test_seen_attacks_are_those_of_the_better_ones_training():
    """AToP was trained on Linf: the comparison takes Linf alone, the worst case of both attacks, draw by draw."""
    results = results_of({("atop", "pgd-20", "Linf"): 0.8, ("ap", "pgd-20", "Linf"): 0.3})

    official, adaptive = compare(results, SEEN)

    def worst(name, unit):
        return unit * np.minimum(
            counts_of(results, name, "pgd-20", "Linf"), counts_of(results, name, "apgd-ce", "Linf")
        )

    difference = worst("atop", 1) - worst("ap", 10)
    raw = counts_of(results, "atop", "blind", "Linf") - 10 * counts_of(results, "ap", "blind", "Linf")
    p_values = [2 * min(sign_flip(each), sign_flip(-each)) for each in (raw, difference)]
    assert adaptive.difference == pytest.approx(difference.mean() / 10)
    assert [official.p, adaptive.p] == pytest.approx([min(1, p) for p in holm(p_values)])
    assert adaptive.attacks == ("pgd-20 (Linf:0.2)", "apgd-ce (Linf:0.2)")


@pytest.mark.parametrize(
    ("atop", "at", "verdict"), [(0.9, 0.2, "holds"), (0.2, 0.9, "does not hold"), (0.5, 0.64, "not resolved")]
)
def test_a_claim_holds_does_not_hold_or_is_not_resolved(atop, at, verdict):
    """Unseen: L2, which neither was trained on."""
    shares = {
        (name, attack, "L2"): share for name, share in (("atop", atop), ("at", at)) for attack in ("pgd-20", "apgd-ce")
    }

    (found,) = compare(results_of(shares), UNSEEN, protocols=PROTOCOLS[1:])

    assert found.verdict == verdict
    assert {attack.partition(" ")[2] for attack in found.attacks} == {"(L2:1)"}


def test_standard_accuracy_is_compared_once_and_without_attack():
    results = results_of({}, clean={"atop": 0.6, "at": 0.99})

    (found,) = compare(results, STANDARD)

    assert (found.protocol, found.attacks, found.verdict) == ("", (), "does not hold")
    assert found.better.value == pytest.approx(drawn(0.6, 0, 10).mean() / 10)


def test_a_defense_no_attack_of_the_protocol_fits_meets_the_other_ones():
    """`blind` needs a purifier: AT meets FGSM, and the note says so."""
    results = results_of({})

    official, _ = compare(results, UNSEEN)

    assert official.attacks == ("blind (L2:1)", "fgsm (L2:1)")
    assert "blind (L2:1) + fgsm (L2:1)" in contest.render([official])


def test_a_failed_cell_leaves_its_claim_unmeasured():
    """A worst case over fewer attacks would flatter the defense that failed."""
    results = results_of({}, broken={("atop", "pgd-20", "Linf")})

    official, adaptive = compare(results, SEEN)

    assert official.verdict != "not measured"
    assert (adaptive.verdict, adaptive.better) == ("not measured", None)
    assert "atop: 1 of 2 cells failed or missing" in contest.render([official, adaptive])


def test_what_was_not_run_is_said():
    results = [result for result in results_of({}) if result.cell.defense.label != "ap"]

    found = compare(results, SEEN, Claim("x", "atop", "at", "seen"), protocols=(AttackProtocol("p", ("square",)),))

    assert [each.reason for each in found] == [
        "ap is not in this run",
        "atop: no attack of protocol 'p' is defined for it",
    ]


STRONG = {("atop", attack, "L2"): 0.9 for attack in ("pgd-20", "apgd-ce")} | {
    ("at", attack, "L2"): 0.2 for attack in ("pgd-20", "apgd-ce")
}


def only(results):
    (found,) = compare(results, UNSEEN, protocols=PROTOCOLS[1:])
    return found


def found_by(verdict, results, where):
    """The results, with a finding of a check on those that `where` chooses."""
    finding = Finding("S01", verdict, "3/60", "0", "S01: 3/60 images give NaN")
    return [replace(each, findings=(finding,)) if where(each.cell) else each for each in results]


def test_a_claim_has_no_number_where_a_check_blocks_one_of_its_defenses():
    """A block of any cell is one of the whole row: the number may be computed, and is still none."""
    results = results_of(STRONG)
    assert only(results).verdict == "holds"

    found = only(found_by("block", results, lambda cell: cell.title == "atop x fgsm (Linf:0.2)"))

    assert (found.verdict, found.better, found.worse) == ("not measured", None, None)
    assert found.reason == "a check blocks atop: S01: 3/60 images give NaN"
    assert found.reason in " ".join(contest.render([found]).split())


def test_a_flagged_number_is_marked():
    found = only(found_by("flag", results_of(STRONG), lambda cell: cell.title == "atop x pgd-20 (L2:1)"))

    assert found.flagged == ("atop",)
    assert f"{100 * found.better.value:.1f}! [" in contest.render([found])
    assert f"{100 * found.worse.value:.1f} [" in contest.render([found])
    assert "a check flags the number" in contest.render([found])


def test_an_attack_that_was_asked_of_one_defense_only_leaves_no_worst_case():
    """It is not skipped for the other one: nobody has tried, and fewer attacks flatter."""
    results = [each for each in results_of(STRONG) if each.cell.title != "atop x apgd-ce (L2:1)"]

    assert (only(results).verdict, only(results).reason) == (
        "not measured",
        "atop: 1 of 2 cells failed or missing",
    )


def test_a_number_without_the_gradient_parts_of_its_attack_is_only_an_upper_bound():
    unable = Evidence(unable=("apgd-ce",))
    results = [
        replace(each, outcome=replace(each.outcome, evidence=unable))
        if each.cell.title == "atop x pgd-20 (L2:1)"
        else each
        for each in results_of(STRONG)
    ]

    assert (only(results).verdict, only(results).reason) == (
        "not measured",
        "atop: only an upper bound: there is no gradient for apgd-ce",
    )


def test_defenses_on_different_images_or_on_several_sets_are_not_compared():
    """Image by image means the same images: as many of another beginning are no pairs."""
    results = results_of(STRONG)
    moved = [replace(each, cell=replace(each.cell, slice=replace(each.cell.slice, digest="other"))) for each in results]

    apart = only([one if one.cell.defense.label == "atop" else two for one, two in zip(results, moved, strict=True)])
    several = only([*results, *moved])

    assert (apart.verdict, apart.reason) == ("not measured", "atop and at were not run on the same images and seed")
    assert (several.verdict, several.reason) == (
        "not measured",
        "atop was run on several sets of images, seeds or draws: select one",
    )


def test_more_comparisons_make_each_harder_to_pass():
    """Holm: the same data, p twice as large beside a second line."""
    results = results_of(
        {
            (name, attack, "L2"): share
            for name, share in (("atop", 0.62), ("at", 0.4))
            for attack in ("pgd-20", "apgd-ce")
        }
    )

    (alone,) = compare(results, UNSEEN, protocols=PROTOCOLS[1:])
    beside, _ = compare(results, UNSEEN, STANDARD, protocols=PROTOCOLS[1:])

    assert 0 < alone.p < 0.5
    assert beside.p == pytest.approx(2 * alone.p)


def test_the_smallest_difference_is_found_in_four_of_five_samples():
    """Where images change one way only, k flips have p = 2^-k: the binomial distribution is the oracle."""
    standard = {"atop": 1.0, "at": 0.0}
    more = replace(STANDARD, name="again")

    (alone,) = compare(results_of({}, clean=standard), STANDARD)
    twice = compare(results_of({}, clean=standard), STANDARD, more)

    assert (alone.n, alone.noise) == (N, 0)
    # 2 x 2^-6 is the first below 5 %, and 2 x 2^-7 the first below 2.5 %.
    assert binom.sf(5, N, alone.smallest) == pytest.approx(0.8)
    assert [binom.sf(6, N, each.smallest) for each in twice] == pytest.approx([0.8, 0.8])


def test_changes_both_ways_make_the_smallest_difference_larger():
    shares = {(name, attack, "L2"): 0.5 for name in ("atop", "at") for attack in ("pgd-20", "apgd-ce")}

    (noisy,) = compare(results_of(shares), UNSEEN, protocols=PROTOCOLS[1:])
    (quiet,) = compare(results_of({}, clean={"atop": 1.0, "at": 0.0}), STANDARD)

    assert noisy.noise > 0.1
    assert noisy.smallest > quiet.smallest


def test_a_claim_as_plain_data_has_its_numbers_or_none():
    measured, *_ = compare(results_of({}), UNSEEN)
    (missing,) = compare([], STANDARD)

    told = measured.to_json()
    assert told["claim"] == {"name": "above AT", "better": "atop", "worse": "at", "on": "unseen"}
    assert told["better"]["value"] - told["worse"]["value"] == pytest.approx(told["difference"])
    assert told["better"]["low"] < told["better"]["value"] < told["better"]["high"]
    assert (told["n"], told["p"], told["smallest"]) == (N, measured.p, measured.smallest)
    assert json.loads(json.dumps(told)) == told
    nothing = missing.to_json()
    assert (nothing["verdict"], nothing["reason"], nothing["n"]) == ("not measured", "atop is not in this run", 0)
    assert {nothing[name] for name in ("better", "worse", "difference", "p", "smallest")} == {None}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[claims]]\nname='a'\nbetter='atop'\nworse='at'\non='seen'", r"no \[\[protocols\]\]"),
        ("[[claims]]\nname='a'\nbetter='atop'\nworse='at'", "a claim has name, better, worse, on"),
        ("[[claims]]\nname='a'\nbetter='atop'\nworse='at'\non='unsen'", "did you mean unseen"),
        ("[[protocols]]\nname='a'", "a protocol has name, attacks"),
        (
            "attacks='fgsm'\n[[claims]]\nname='a'\nbetter='x'\nworse='y'\non='standard'",
            "its protocols name the attacks",
        ),
    ],
)
def test_a_mistake_in_a_claim_is_named(tmp_path, text, says):
    path = tmp_path / "mine.toml"
    path.write_text(text)

    with pytest.raises(BenchError, match=says):
        study.read(str(path))


def test_the_claims_of_atop_run_as_a_study(tmp_path, monkeypatch, capsys):
    """Three claims, two of them under both protocols, after the table they are read from."""
    monkeypatch.chdir(tmp_path)
    words = ["--n", "8", "--threat", "Linf:0.2,L2:1", "--executor", "local", "--checks", "none"]
    found = study.read("atop-claims")
    cheap = [AttackProtocol("official", ("blind",), ("fgsm",)), AttackProtocol("adaptive", ("fgsm",))]
    options = {**found.options, "attacks": "blind,fgsm"}
    monkeypatch.setattr(study, "read", lambda name: Study(found.title, options, (), (), tuple(cheap), found.claims))

    assert main(["run", "--study", "atop-claims", *words]) == 0

    told = capsys.readouterr().out
    assert "What AToP claims" in told
    assert told.count("AToP above AP on seen attacks") == 2
    assert told.count("standard accuracy above AT's") == 1
    assert all(len(line) <= 200 for line in told.splitlines())
